package docs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/keyring"
	"github.com/coatcheck/coatcheck/internal/revocation"
	"github.com/coatcheck/coatcheck/internal/session"
	"github.com/coatcheck/coatcheck/internal/throttle"
)

// says fails if the page does not hold the text.
func says(t *testing.T, page, text string) {
	t.Helper()
	if !strings.Contains(readPage(t, page), text) {
		t.Errorf("%s does not say %q", page, text)
	}
}

// defaultOf returns a setting's default as one would write it.
func defaultOf(t *testing.T, name string) string {
	t.Helper()
	for _, k := range config.Keys() {
		if k.Name == name {
			return k.Default
		}
	}
	t.Fatalf("there is no setting %s", name)
	return ""
}

// load returns the configuration of the given variables.
func load(t *testing.T, environ ...string) config.Config {
	t.Helper()
	loaded, err := config.Load(config.Options{Path: "/dev/null", Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	return loaded.Config
}

// ASVS-6.1.1: every throttle, its key and its limit, as configured.
func TestThrottleNumbers(t *testing.T) {
	c := load(t)
	for _, row := range []struct {
		setting, key string
		rate         throttle.Rate
		configured   config.Rate
	}{
		{"throttle.pair", "one account from one address", throttle.DefaultRates.Pair, c.Throttle.Pair},
		{"throttle.account", "one account from all addresses that are new to it", throttle.DefaultRates.Account, c.Throttle.Account},
		{"throttle.address", "one address, over all accounts", throttle.DefaultRates.Address, c.Throttle.Address},
	} {
		if throttle.Rate(row.configured) != row.rate || defaultOf(t, row.setting) != fmt.Sprintf("%d/%s", row.rate.Burst, row.rate.Every) {
			t.Errorf("%s: the configuration's default %v is not the code's %v", row.setting, row.configured, row.rate)
		}
		full := time.Duration(row.rate.Burst) * row.rate.Every
		says(t, "docs/passwords.md", fmt.Sprintf("| `%s` | %s | %d at once, then one every %s | %s |", row.setting, row.key, row.rate.Burst, row.rate.Every, full))
	}
	c = load(t)
	if pair, whole := c.Throttle.Pair, c.Throttle.Account; pair.Every <= whole.Every {
		t.Error("ASVS-6.1.1: one address alone could keep an account's limit used up, which the page denies")
	}
	// Numbers that no setting changes stand in the source alone.
	for _, n := range []struct{ file, source, text string }{
		{"internal/throttle/signin.go", "remembered = 30 * 24 * time.Hour", "within the last 30 days"},
		{"internal/account/link.go", "askRate = throttle.Rate{Burst: 30, Every: 20 * time.Second}", "| | sign-ups, forgotten passwords and codes from one address | 30 at once, then one every 20s | 10m0s |"},
		{"internal/account/link.go", "codeRate = throttle.Rate{Burst: 10, Every: 10 * time.Minute}", "| | codes for one email | 10 at once, then one every 10m0s | 1h40m0s |"},
		{"internal/account/link.go", "mailRate = throttle.Rate{Burst: 5, Every: 15 * time.Minute}", "| | mails of one kind to one email | 5 at once, then one every 15m0s | 1h15m0s |"},
		{"internal/account/link.go", "personRate = throttle.Rate{Burst: 5, Every: 15 * time.Minute}", "| | addresses that one account may ask to have instead | 5 at once, then one every 15m0s | 1h15m0s |"},
		{"internal/account/link.go", "LinkLife = time.Hour", "for an hour"},
		{"internal/app/app.go", "queuePerSlot = 8", "8 sign-ins wait for each slot"},
		{"internal/account/password.go", "maxPassword = 512", "at most 512 bytes"},
	} {
		says(t, n.file, n.source)
		says(t, "docs/passwords.md", n.text)
	}
}

// ASVS-7.1.1, ASVS-7.1.2, ASVS-7.1.3: the limits of sessions, as configured.
func TestSessionNumbers(t *testing.T) {
	page := "docs/sessions.md"
	strong := load(t, "COATCHECK_SESSION_PROFILE=aal2").Session
	says(t, page, fmt.Sprintf("| not used for | %s | `session.idle` | %dh at most |", defaultOf(t, "session.idle"), strong.Idle/time.Hour))
	says(t, page, fmt.Sprintf("| since sign-in, used or not | %s | `session.absolute` | %dh at most |", defaultOf(t, "session.absolute"), strong.Absolute/time.Hour))
	if c := load(t); c.Session.Max != 0 || defaultOf(t, "session.max") != "none" {
		t.Errorf("session.max is %d by default, and the page says that there is no limit", c.Session.Max)
	}
	says(t, page, "| sessions of one person | no limit | `session.max` |")
	says(t, page, "the next sign-in ends the oldest session")
	says(t, page, "No other server's sign-out is heard; applications are told of ours")
	says(t, page, fmt.Sprintf("up to %d KiB", session.MaxAttachment>>10))
	if cached := load(t).Session.Cached; cached != 1_000_000 {
		t.Errorf("session.cached is %d by default, and the page says a million", cached)
	}
	says(t, page, "`session.cached` of them (1,000,000)")
}

// The other numbers in the pages are those of the code, too.
func TestOtherNumbers(t *testing.T) {
	c := load(t)
	for page, texts := range map[string][]string{
		"docs/tokens.md": {
			fmt.Sprintf("It lasts %d minutes (`token.access`)", c.Token.Access/time.Minute),
			fmt.Sprintf("over 1,%03d bytes (`token.max_bytes`; 1,%03d with RS256)", c.Token.MaxBytes-1000, load(t, "COATCHECK_TOKEN_ALGORITHM=RS256").Token.MaxBytes-1000),
			fmt.Sprintf("cached for %d minutes", keyring.MaxAge/time.Minute),
			fmt.Sprintf("A key signs for %d days", keyring.Period/(24*time.Hour)),
			fmt.Sprintf("for %d minutes at least", keyring.Lead/time.Minute),
		},
		"docs/revocation.md": {
			fmt.Sprintf("every %d s (`revocation.heartbeat`)", c.Revocation.Heartbeat/time.Second),
			fmt.Sprintf("after %d s without one it can vouch for", c.Revocation.Staleness/time.Second),
			fmt.Sprintf("a node that cannot read the log for %d s", revocation.FreshFor/time.Second),
			fmt.Sprintf("the longest life of a token and %d s", revocation.Margin/time.Second),
		},
		"docs/passwords.md": {
			fmt.Sprintf("At least %d characters", c.Password.MinLength),
			fmt.Sprintf("%d MiB, %d passes and %d lane", account.DefaultHashParameters.MemoryKiB>>10, account.DefaultHashParameters.Time, account.DefaultHashParameters.Threads),
		},
		"docs/signing-in.md": {fmt.Sprintf("within `refresh.grace` (%d s)", c.Refresh.Grace/time.Second)},
		"docs/many-nodes.md": {fmt.Sprintf("more than %d s away", revocation.MaxDrift/time.Second)},
	} {
		for _, text := range texts {
			says(t, page, text)
		}
	}
}
