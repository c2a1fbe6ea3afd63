package app

import (
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/store/storetest"
)

// nodes are servers on one PostgreSQL, which serve nothing yet.
func nodes(t *testing.T, n int, settings map[string]string) []*App {
	t.Helper()
	all := map[string]string{"database": storetest.Postgres(t), "secret": otherSecret, "verify_email": "optional"}
	for name, text := range settings {
		all[name] = text
	}
	apps := make([]*App, n)
	for i := range apps {
		var err error
		if apps[i], err = New(t.Context(), options(configure(t, all))); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := apps[i].Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return apps
}

func at(ip string) audit.Origin { return audit.Origin{IP: ip} }

const rightPassword = "rain on a tin roof at night"

// outcomes has a person prove a password at the nodes in turn, and counts by code.
func outcomes(t *testing.T, apps []*App, n int, email, password string, from audit.Origin) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for i := range n {
		_, err := apps[i%len(apps)].Accounts.CheckPassword(t.Context(), email, password, from)
		code := "ok"
		if err != nil {
			code = fault.Of(err).Code
		}
		counts[code]++
	}
	return counts
}

func wantCounts(t *testing.T, what string, got map[string]int, want map[string]int) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// A guesser has as many guesses at three nodes as at one, whichever is asked, and
// whoever is known at one is known at all. ASVS-6.1.1, V-82
func TestNodesCountTogether(t *testing.T) {
	apps := nodes(t, 3, nil)
	const ada = "ada@example.com"
	signIn(t, apps[0], ada)
	wantCounts(t, "from one address", outcomes(t, apps, 100, ada, "a wrong one", at("192.0.2.1")),
		map[string]int{"invalid_credentials": 10, "too_many_attempts": 90})
	wantCounts(t, "the person at home", outcomes(t, apps, 30, ada, rightPassword, at("198.51.100.7")), map[string]int{"ok": 30})
	guesses := 0
	for i := range 60 {
		guesses += outcomes(t, apps, 1, ada, "a wrong one", at(fmt.Sprintf("203.0.113.%d", i)))["invalid_credentials"]
		apps = append(apps[1:], apps[0])
	}
	if guesses != 40 { // fifty, of which the first address had ten
		t.Errorf("%d guesses from 60 more addresses, want 40", guesses)
	}
	wantCounts(t, "the person at home, while strangers have used the account up",
		outcomes(t, apps, 6, ada, rightPassword, at("198.51.100.7")), map[string]int{"ok": 6})
	wantCounts(t, "the person elsewhere", outcomes(t, apps, 3, ada, rightPassword, at("198.51.100.8")), map[string]int{"too_many_attempts": 3})
}

// What strangers may ask for, and what may be mailed, is counted together as well.
func TestNodesCountWhatIsAskedFor(t *testing.T) {
	apps := nodes(t, 2, nil)
	asked := 0
	for i := range 100 {
		err := apps[i%2].Accounts.Forgot(t.Context(), fmt.Sprintf("ada%d@example.com", i), at("192.0.2.1"))
		switch {
		case err == nil:
			asked++
		case !errors.Is(err, account.ErrTooMany):
			t.Fatal(err)
		}
	}
	if asked != 30 {
		t.Errorf("one address asked %d times, want 30", asked)
	}
}

// What cannot be counted is not tried: no answer, and none that tells who has an
// account. I-7
func TestWithoutItsDatabaseNobodyTries(t *testing.T) {
	apps := nodes(t, 1, nil)
	const ada = "ada@example.com"
	signIn(t, apps[0], ada)
	if err := apps[0].Store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, email := range []string{ada, "nobody@example.com"} {
		wantCounts(t, email, outcomes(t, apps, 20, email, rightPassword, at("192.0.2.1")), map[string]int{"unavailable": 20})
		for what, ask := range map[string]func() error{
			"forgot": func() error { return apps[0].Accounts.Forgot(t.Context(), email, at("192.0.2.1")) },
			"code": func() error {
				_, err := apps[0].Accounts.Verify(t.Context(), account.Verification{Email: email, Code: "123456"}, at("192.0.2.1"))
				return err
			},
		} {
			if err := ask(); !errors.Is(err, fault.ErrUnavailable) {
				t.Errorf("%s for %s: %v", what, email, err)
			}
		}
	}
}

// The table holds no address and no name.
func TestCountersTellNothing(t *testing.T) {
	a := nodes(t, 1, nil)[0]
	outcomes(t, []*App{a}, 12, "ada@example.com", "a wrong one", at("192.0.2.1"))
	db, err := sql.Open("pgx", a.config.Database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var keys, unlike, logged int
	err = db.QueryRowContext(t.Context(), `
		SELECT (SELECT count(*) FROM allowance),
		       (SELECT count(*) FROM allowance WHERE length(key) <> 16 OR encode(key, 'escape') ~ 'ada|192'),
		       (SELECT count(*) FROM pg_class WHERE relname LIKE 'allowance%' AND relpersistence <> 'u')`).Scan(&keys, &unlike, &logged)
	if err != nil || keys != 3 || unlike != 0 || logged != 0 {
		t.Errorf("%d counters, %d of them not hashes, and %d parts that are logged: %v", keys, unlike, logged, err)
	}
}
