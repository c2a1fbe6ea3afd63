package account

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/hashing"
)

// cheap are the lowest costs, for tests that are not about costs.
var cheap = HashParameters{MemoryKiB: 8, Time: 1, Threads: 1}

// counted returns a Hasher with these costs and the costs of all hashes that it
// has made.
func counted(p HashParameters) (*Hasher, *[]HashParameters) {
	var (
		mu   sync.Mutex
		made []HashParameters
	)
	return NewHasher(p, 4, 4, func(j hashing.Job) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		made = append(made, HashParameters{MemoryKiB: j.MemoryKiB, Time: j.Time, Threads: j.Threads})
		return hashing.Here(j)
	}), &made
}

func hashed(t *testing.T, p HashParameters, password string) string {
	t.Helper()
	stored, err := NewHasher(p, 1, 0, hashing.Here).Hash(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func TestHash(t *testing.T) {
	stored := hashed(t, DefaultHashParameters, "correct horse")
	if !strings.HasPrefix(stored, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hashed as %s", stored)
	}
	if again := hashed(t, DefaultHashParameters, "correct horse"); again == stored {
		t.Error("two hashes of one password are the same: no fresh salt")
	}
	h := NewHasher(DefaultHashParameters, 1, 0, hashing.Here)
	for password, want := range map[string]bool{"correct horse": true, "wrong horse": false} {
		if ok, upgraded, err := h.Check(t.Context(), stored, password); ok != want || upgraded != "" || err != nil {
			t.Errorf("%q: %v %q %v, want %v and no upgrade", password, ok, upgraded, err, want)
		}
	}
	for _, password := range []string{"", strings.Repeat("x", 513)} {
		if stored, err := h.Hash(t.Context(), password); err == nil || stored != "" {
			t.Errorf("%d bytes were hashed: %q", len(password), stored)
		}
	}
}

// The reference implementation's own test (argon2 20190702, src/test.c).
func TestHashOfTheReferenceImplementation(t *testing.T) {
	const stored = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	h := NewHasher(cheap, 1, 0, hashing.Here)
	if ok, _, err := h.Check(t.Context(), stored, "password"); !ok || err != nil {
		t.Errorf("the reference's hash: %v, %v", ok, err)
	}
	if ok, _, err := h.Check(t.Context(), stored, "Password"); ok || err != nil {
		t.Errorf("another password: %v, %v", ok, err)
	}
}

func TestExactBytes(t *testing.T) { // ASVS-6.2.8, ASVS-6.2.9, V-94
	password := strings.Repeat("correct horse battery staple ", 5)[:140] + " end"
	h := NewHasher(cheap, 1, 0, hashing.Here)
	stored := hashed(t, cheap, password)
	change := func(at int) string { return password[:at] + "#" + password[at+1:] }
	for name, typed := range map[string]string{
		"byte 1": change(0), "byte 73": change(72), "byte 128": change(127), "last byte": change(len(password) - 1),
		"case": strings.ToUpper(password), "first letter's case": "C" + password[1:],
		"trailing space": password + " ", "leading space": " " + password,
		"cut to 72": password[:72], "cut to 128": password[:128], "NUL and more": password + "\x00",
	} {
		if ok, _, err := h.Check(t.Context(), stored, typed); ok || err != nil {
			t.Errorf("changed at %s: %v, %v", name, ok, err)
		}
	}
	if ok, _, err := h.Check(t.Context(), stored, password); !ok || err != nil {
		t.Errorf("unchanged: %v, %v", ok, err)
	}
}

func TestExactlyOneCurrentHash(t *testing.T) { // V-80
	current, old := HashParameters{16, 1, 1}, HashParameters{8, 2, 1}
	now, then := hashed(t, current, "right"), hashed(t, old, "right")
	short, err := parsePHC(now)
	if err != nil {
		t.Fatal(err)
	}
	short.sum = short.sum[:16]
	one := []HashParameters{current}
	for _, c := range []struct {
		name, stored, password string
		ok, upgrade, fails     bool
		made                   []HashParameters
	}{
		{"unknown", "", "right", false, false, false, one},
		{"wrong", now, "wrong", false, false, false, one},
		{"right", now, "right", true, false, false, one},
		{"empty", now, "", false, false, false, one},
		{"too long", now, strings.Repeat("x", 513), false, false, false, one},
		{"unusable", "$2y$10$abcdefghijklmnopqrstuu", "right", false, false, true, one},
		{"old and right", then, "right", true, true, false, []HashParameters{old, current}},
		{"old and wrong", then, "wrong", false, false, false, []HashParameters{old, current}},
		{"old and empty", then, "", false, false, false, []HashParameters{old, current}},
		{"another length", short.String(), "wrong", false, false, false, []HashParameters{current, current}},
	} {
		h, made := counted(current)
		ok, upgraded, err := h.Check(t.Context(), c.stored, c.password)
		if ok != c.ok || (upgraded != "") != c.upgrade || (err != nil) != c.fails {
			t.Errorf("%s: %v, %q, %v", c.name, ok, upgraded, err)
		}
		if !slices.Equal(*made, c.made) {
			t.Errorf("%s: made the hashes %v, want %v", c.name, *made, c.made)
		}
		if err != nil && (strings.Contains(err.Error(), "2y") || fault.Of(err) != fault.ErrInternal) {
			t.Errorf("%s: shows %v", c.name, err)
		}
	}
}

func TestNothingMatchesAnEmptyPassword(t *testing.T) {
	h := NewHasher(cheap, 1, 0, hashing.Here)
	stored, err := h.fresh("")
	if err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{"", strings.Repeat("x", 513)} {
		if ok, upgraded, err := h.Check(t.Context(), stored, password); ok || upgraded != "" || err != nil {
			t.Errorf("%d bytes against a hash of nothing: %v, %q, %v", len(password), ok, upgraded, err)
		}
	}
}

// Where hashes cannot be made nobody is let in, and nobody is told that they are wrong.
func TestNoHashes(t *testing.T) {
	h := NewHasher(cheap, 1, 0, func(hashing.Job) ([]byte, error) { return nil, errors.New("no process") })
	if stored, err := h.Hash(t.Context(), "right"); stored != "" || fault.Of(err) != fault.ErrUnavailable {
		t.Errorf("hashed as %q, %v", stored, err)
	}
	for _, stored := range []string{"", hashed(t, cheap, "right"), hashed(t, HashParameters{16, 1, 1}, "right"), "no hash"} {
		if ok, upgraded, err := h.Check(t.Context(), stored, "right"); ok || upgraded != "" || err == nil {
			t.Errorf("against %q: %v, %q, %v", stored, ok, upgraded, err)
		}
	}
	if busy, _, _ := h.Slots(); busy != 0 {
		t.Errorf("%d slots are still held", busy)
	}
}

func TestUpgradedHash(t *testing.T) {
	current := HashParameters{16, 1, 1}
	h := NewHasher(current, 1, 0, hashing.Here)
	_, upgraded, err := h.Check(t.Context(), hashed(t, cheap, "right"), "right")
	if err != nil {
		t.Fatal(err)
	}
	if parsed, err := parsePHC(upgraded); err != nil || parsed.parameters != current {
		t.Errorf("upgraded to %s", upgraded)
	}
	for password, want := range map[string]bool{"right": true, "wrong": false} {
		if ok, again, err := h.Check(t.Context(), upgraded, password); ok != want || again != "" || err != nil {
			t.Errorf("%s after the upgrade: %v, %q, %v", password, ok, again, err)
		}
	}
}

func TestStoredCostsAreCapped(t *testing.T) { // V-94
	for _, stored := range []string{
		"$argon2id$v=19$m=262145,t=1,p=1$", "$argon2id$v=19$m=4294967295,t=1,p=1$", "$argon2id$v=19$m=4294967296,t=1,p=1$",
		"$argon2id$v=19$m=64,t=17,p=1$", "$argon2id$v=19$m=64,t=0,p=1$", "$argon2id$v=19$m=64,t=4294967295,p=1$",
		"$argon2id$v=19$m=1024,t=1,p=17$", "$argon2id$v=19$m=1024,t=1,p=0$", "$argon2id$v=19$m=1024,t=1,p=257$",
		"$argon2id$v=19$m=7,t=1,p=1$", "$argon2id$v=19$m=0,t=1,p=1$", "$argon2id$v=19$m=15,t=1,p=2$",
	} {
		h, made := counted(cheap)
		ok, _, err := h.Check(t.Context(), stored+"c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password")
		if ok || !errors.Is(err, errUnusable) || !slices.Equal(*made, []HashParameters{cheap}) {
			t.Errorf("%s: %v, %v, made %v", stored, ok, err, *made)
		}
	}
}

func TestParsePHC(t *testing.T) {
	octets := func(n int) string { return base64.RawStdEncoding.EncodeToString(make([]byte, n)) }
	for _, good := range []string{
		"$argon2id$v=19$m=19456,t=2,p=1$" + octets(16) + "$" + octets(32),
		"$argon2id$v=19$m=262144,t=16,p=16$" + octets(64) + "$" + octets(64),
		"$argon2id$v=19$m=8,t=1,p=1$" + octets(8) + "$" + octets(16),
	} {
		if parsed, err := parsePHC(good); err != nil || parsed.String() != good {
			t.Errorf("%s: %v, %v", good, parsed, err)
		}
	}
	tail := "$" + octets(16) + "$" + octets(32)
	for _, bad := range []string{
		"", "$", "$$$$$", "password", "argon2id$v=19$m=8,t=1,p=1" + tail,
		"$argon2i$v=19$m=8,t=1,p=1" + tail, "$argon2d$v=19$m=8,t=1,p=1" + tail, "$ARGON2ID$v=19$m=8,t=1,p=1" + tail,
		"$argon2id$m=8,t=1,p=1" + tail, "$argon2id$v=16$m=8,t=1,p=1" + tail, "$argon2id$v=19 $m=8,t=1,p=1" + tail,
		"$argon2id$v=19$t=1,m=8,p=1" + tail, "$argon2id$v=19$m=8,t=1" + tail, "$argon2id$v=19$m=8,t=1,p=1,x=1" + tail,
		"$argon2id$v=19$m=08,t=1,p=1" + tail, "$argon2id$v=19$m=+8,t=1,p=1" + tail, "$argon2id$v=19$m=8,t=01,p=1" + tail,
		"$argon2id$v=19$m=8,t=-1,p=1" + tail, "$argon2id$v=19$m=,t=1,p=1" + tail, "$argon2id$v=19$m=8,t=1,p=0x1" + tail,
		"$argon2id$v=19$m=8,t=1,p=1" + tail + "$", " $argon2id$v=19$m=8,t=1,p=1" + tail, "$argon2id$v=19$m=8,t=1,p=1" + tail + "\n",
		"$argon2id$v=19$m=8,t=1,p=1$" + octets(7) + "$" + octets(32), "$argon2id$v=19$m=8,t=1,p=1$" + octets(65) + "$" + octets(32),
		"$argon2id$v=19$m=8,t=1,p=1$" + octets(16) + "$" + octets(15), "$argon2id$v=19$m=8,t=1,p=1$" + octets(16) + "$" + octets(65),
		"$argon2id$v=19$m=8,t=1,p=1$$", "$argon2id$v=19$m=8,t=1,p=1$" + octets(16) + "==$" + octets(32),
		"$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAB$" + octets(32),    // not canonical
		"$argon2id$v=19$m=8,t=1,p=1$AAAA\nAAAAAAAAAAAAAAAAAA$" + octets(32),  // a line break inside
		"$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAA_A$" + octets(32),    // base64url
		"$argon2id$v=19$m=8,t=1,p=1$" + strings.Repeat("A", 100_000) + "$AA", // long
	} {
		if parsed, err := parsePHC(bad); !errors.Is(err, errUnusable) {
			t.Errorf("%.120q was read as %v, %v", bad, parsed, err)
		}
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add("$argon2id$v=19$m=4294967296,t=1,p=257$c29tZXNhbHQ$CTFh")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := parsePHC(text)
		if err != nil {
			return
		}
		if parsed.String() != text || !parsed.parameters.acceptable() || parsed.parameters.MemoryKiB > 256*1024 ||
			len(parsed.salt) < 8 || len(parsed.salt) > 64 || len(parsed.sum) < 16 || len(parsed.sum) > 64 {
			t.Fatalf("%q was read as %v", text, parsed)
		}
	})
}

// blocked returns a Hasher of which every hash waits for a value on next, after
// it has sent one on begun.
func blocked(slots, queue int) (h *Hasher, begun, next chan struct{}) {
	begun, next = make(chan struct{}, 1000), make(chan struct{})
	return NewHasher(cheap, slots, queue, func(j hashing.Job) ([]byte, error) {
		begun <- struct{}{}
		<-next
		return hashing.Here(j)
	}), begun, next
}

// until waits for a goroutine to have got as far as held says.
func until(t *testing.T, what string, held func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !held() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("waited in vain for " + what)
		}
	}
}

func TestSlotsAndQueueAreBounded(t *testing.T) { // V-93
	const slots, queue, more = 2, 3, 500
	h, begun, next := blocked(slots, queue)
	results := make(chan error, slots+queue)
	check := func() { _, _, err := h.Check(t.Context(), "", "password"); results <- err }
	for range slots {
		go check()
		<-begun
	}
	for range queue {
		go check()
	}
	until(t, "a full queue", func() bool { _, waiting, _ := h.Slots(); return waiting == queue })
	for range more {
		_, _, err := h.Check(t.Context(), "", "password")
		var retry *fault.Retry
		if !errors.Is(err, ErrBusy) || !errors.As(err, &retry) || retry.After != time.Second {
			t.Fatalf("beyond slots and queue: %v", err)
		}
		if _, err := h.Hash(t.Context(), "password"); !errors.Is(err, ErrBusy) {
			t.Fatalf("Hash beyond slots and queue: %v", err)
		}
	}
	if busy, waiting, total := h.Slots(); busy != slots || waiting != queue || total != slots {
		t.Errorf("%d busy, %d waiting, %d slots", busy, waiting, total)
	}
	if len(begun) != 0 {
		t.Errorf("%d hashes beyond the slots have begun", len(begun))
	}
	close(next)
	for range slots + queue {
		if err := <-results; err != nil {
			t.Errorf("a caller with a slot or a place: %v", err)
		}
	}
	if busy, waiting, _ := h.Slots(); busy != 0 || waiting != 0 {
		t.Errorf("%d busy, %d waiting after all is done", busy, waiting)
	}
}

func TestAbandonedCallers(t *testing.T) { // V-93
	h, begun, next := blocked(1, 1)
	done := make(chan error, 3)
	running, leaveRunning := context.WithCancel(t.Context())
	go func() { _, _, err := h.Check(running, "", "password"); done <- err }()
	<-begun
	waiting, leaveQueue := context.WithCancel(t.Context())
	go func() { _, _, err := h.Check(waiting, "", "password"); done <- err }()
	until(t, "a full queue", func() bool { _, waiting, _ := h.Slots(); return waiting == 1 })

	leaveQueue()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("who left the queue: %v", err)
	}
	if _, waiting, _ := h.Slots(); waiting != 0 {
		t.Error("who left still has a place in the queue")
	}
	leaveRunning()
	go func() { _, _, err := h.Check(t.Context(), "", "password"); done <- err }()
	until(t, "a place in the queue", func() bool { _, waiting, _ := h.Slots(); return waiting == 1 })
	if busy, _, _ := h.Slots(); busy != 1 || len(begun) != 0 {
		t.Error("an abandoned hash gave its slot away before it was done")
	}
	next <- struct{}{}
	if err := <-done; err != nil {
		t.Errorf("the abandoned hash: %v", err)
	}
	<-begun
	next <- struct{}{}
	if err := <-done; err != nil {
		t.Errorf("the next in the queue: %v", err)
	}
	if _, _, err := h.Check(waiting, "", "password"); !errors.Is(err, context.Canceled) || len(begun) != 0 {
		t.Errorf("who had left before: %v, %d hashes begun", err, len(begun))
	}
}

func BenchmarkHash(b *testing.B) {
	h := NewHasher(DefaultHashParameters, 1, 0, hashing.Here)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Hash(b.Context(), "correct horse"); err != nil {
			b.Fatal(err)
		}
	}
}
