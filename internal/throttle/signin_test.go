package throttle

import (
	"context"
	"fmt"
	"testing"
	"time"
)

func TestAddressGroup(t *testing.T) { // V-100
	for address, want := range map[string]string{
		"192.0.2.1":                 "192.0.2.1",
		"::ffff:192.0.2.1":          "192.0.2.1",
		"::ffff:c000:201":           "192.0.2.1",
		"0:0:0:0:0:ffff:192.0.2.1":  "192.0.2.1",
		"2001:db8:1:2::1":           "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff:ffff::9": "2001:db8:1:2::/64",
		"2001:DB8:1:2::1":           "2001:db8:1:2::/64",
		"2001:db8:1:3::1":           "2001:db8:1:3::/64",
		"fe80::1%eth0":              "fe80::/64",
		"fe80::2%eth1":              "fe80::/64",
		"::1":                       "::/64",
		"":                          "unknown",
		"192.0.2.1:80":              "unknown",
		"[2001:db8::1]":             "unknown",
		"192.0.2.01":                "unknown",
		" 192.0.2.1":                "unknown",
		"example.com":               "unknown",
		"2001:db8::1, 192.0.2.1":    "unknown",
	} {
		if got := AddressGroup(address); got != want {
			t.Errorf("%q counts as %q, want %q", address, got, want)
		}
	}
}

func signIns(now func() time.Time) *SignIn { return NewSignIn(New(now, 10_000), Rates{}) }

// try returns false after an error, which a Limiter never has; so do the others.
func try(s *SignIn, account, address string) (ok bool, retry time.Duration) {
	retry, err := s.Take(context.Background(), account, address)
	return err == nil && retry == 0, retry
}

func succeeded(s *SignIn, account, address string) {
	_ = s.Succeeded(context.Background(), account, address)
}

func returned(s *SignIn, account, address string) {
	_ = s.Return(context.Background(), account, address)
}

func attempts(s *SignIn, account, address string, n int) (passed int) {
	for range n {
		if ok, _ := try(s, account, address); ok {
			passed++
		}
	}
	return passed
}

func TestGuesserIsStoppedAtHisOwnAddress(t *testing.T) { // ASVS-6.1.1
	var c clock
	s := signIns(c.now)
	if got := attempts(s, "ada@example.com", "192.0.2.1", 1000); got != 10 {
		t.Errorf("%d guesses at once from one address, want 10", got)
	}
	if ok, _ := try(s, "ada@example.com", "198.51.100.7"); !ok {
		t.Error("one guesser locked the person out at another address")
	}
	if ok, _ := try(s, "bob@example.com", "192.0.2.1"); !ok {
		t.Error("one account's guesses locked out another account behind the same address")
	}
}

func TestOneAddressNeverUsesUpAnAccount(t *testing.T) { // ASVS-6.1.1
	var c clock
	s := signIns(c.now)
	for range 24 * 60 {
		attempts(s, "ada@example.com", "192.0.2.1", 20)
		c.advance(time.Minute)
	}
	if ok, _ := try(s, "ada@example.com", "198.51.100.7"); !ok {
		t.Error("a day of guesses from one address locked the person out at another")
	}
}

func TestDistributedGuesses(t *testing.T) { // ASVS-6.1.1
	var c clock
	s := signIns(c.now)
	try(s, "ada@example.com", "198.51.100.7")
	succeeded(s, "ada@example.com", "198.51.100.7")
	guesses := 0
	for i := range 200 {
		guesses += attempts(s, "ada@example.com", fmt.Sprintf("192.0.2.%d", i), 10)
	}
	if guesses != 50 {
		t.Errorf("%d guesses at once from 200 addresses, want 50", guesses)
	}
	if ok, _ := try(s, "ada@example.com", "198.51.100.7"); !ok {
		t.Error("strangers locked the person out at an address where she had signed in")
	}
	if ok, retry := try(s, "ada@example.com", "203.0.113.9"); ok || retry != 20*time.Second {
		t.Errorf("from an unfamiliar address: %v, retry in %s; want refused, 20s", ok, retry)
	}
	for range 20 {
		try(s, "ada@example.com", "198.51.100.7")
		succeeded(s, "ada@example.com", "198.51.100.7")
	}
	if ok, _ := try(s, "ada@example.com", "203.0.113.9"); ok {
		t.Error("the person's successes gave strangers more guesses")
	}
	c.advance(20 * 24 * time.Hour)
	try(s, "ada@example.com", "198.51.100.7")
	succeeded(s, "ada@example.com", "198.51.100.7") // familiar for 30 days from now
	c.advance(29 * 24 * time.Hour)
	for i := range 200 {
		attempts(s, "ada@example.com", fmt.Sprintf("192.0.2.%d", i), 10)
	}
	if ok, _ := try(s, "ada@example.com", "198.51.100.7"); !ok {
		t.Error("signing in again did not keep the address familiar")
	}
	c.advance(2 * 24 * time.Hour)
	for i := range 200 {
		attempts(s, "ada@example.com", fmt.Sprintf("192.0.2.%d", i), 10)
	}
	if ok, _ := try(s, "ada@example.com", "198.51.100.7"); ok {
		t.Error("an address was still familiar after 31 days")
	}
}

func TestManyAccountsFromOneAddress(t *testing.T) {
	var c clock
	s := signIns(c.now)
	passed := 0
	for i := range 1000 {
		passed += attempts(s, fmt.Sprintf("user%d@example.com", i), fmt.Sprintf("2001:db8::%x", i), 1)
	}
	if passed != 100 {
		t.Errorf("%d attempts at once from one /64, want 100", passed)
	}
}

func TestSuccessDoesNotWipeOutFailures(t *testing.T) { // V-82
	var c clock
	s := signIns(c.now)
	attempts(s, "ada@example.com", "192.0.2.1", 9)
	for range 50 {
		if ok, _ := try(s, "ada@example.com", "192.0.2.1"); !ok {
			t.Fatal("successes were counted")
		}
		succeeded(s, "ada@example.com", "192.0.2.1")
	}
	if got := attempts(s, "ada@example.com", "192.0.2.1", 10); got != 1 {
		t.Errorf("%d more failures were let through, want 1", got)
	}
}

func TestOtherAccountsSuccessDoesNotHelpAGuesser(t *testing.T) { // V-82
	var c clock
	s := signIns(c.now)
	guesses := 0
	for range 200 {
		guesses += attempts(s, "ada@example.com", "192.0.2.1", 1)
		if ok, _ := try(s, "mallory@example.com", "192.0.2.1"); ok {
			succeeded(s, "mallory@example.com", "192.0.2.1")
		}
	}
	if guesses != 10 {
		t.Errorf("%d guesses between successes of an account of his own, want 10", guesses)
	}
}

func TestUntriedPasswordsAreNotCounted(t *testing.T) {
	var c clock
	s := signIns(c.now)
	for range 200 {
		if ok, _ := try(s, "ada@example.com", "192.0.2.1"); !ok {
			t.Fatal("attempts that never came to a password were counted")
		}
		returned(s, "ada@example.com", "192.0.2.1")
	}
	if _, known := s.limits("ada@example.com", "192.0.2.1"); s.store.(*Limiter).marks.isSet(known.Key) {
		t.Error("an attempt that never came to a password made its address familiar")
	}
}
