package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/session"
)

// V-39: who knows the id of a session that is remembered, and not its secret, is
// refused like anybody else, and does not disturb its holder.
func TestARememberedSessionOpensByItsSecretAlone(t *testing.T) {
	w := newWorld(t, defaults())
	ada, bob := w.begin("ada@example.com"), w.begin("bob@example.com")
	for range 2 {
		for _, mine := range []session.Opened{ada, bob} {
			if h, err := w.CheckCookie(t.Context(), mine.Cookie); err != nil || h.SessionID() != mine.Standing.Session.ID || h.UserID() != mine.Standing.User.ID {
				t.Errorf("a holder is answered %v", err)
			}
		}
		secretLength := credential.SecretLength
		for name, forged := range map[string]string{
			"a secret of nobody":   ada.Cookie[:len(ada.Cookie)-secretLength] + credential.NewSecret().Encode(),
			"another one's secret": ada.Cookie[:len(ada.Cookie)-secretLength] + bob.Cookie[len(bob.Cookie)-secretLength:],
			"no secret":            ada.Cookie[:len(ada.Cookie)-secretLength] + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
			"no text of a secret":  ada.Cookie[:len(ada.Cookie)-1] + "+",
			"a shorter one":        ada.Cookie[:len(ada.Cookie)-1],
			"nothing":              "",
		} {
			if _, err := w.CheckCookie(t.Context(), forged); !errors.Is(err, session.ErrInvalidToken) {
				t.Errorf("%s is answered %v", name, err)
			}
		}
	}
}

// ASVS-7.3.1, ASVS-7.3.2: both limits hold for what is remembered, too, to the instant.
func TestLimitsOfWhatIsRemembered(t *testing.T) {
	for name, c := range map[string]struct {
		wait []time.Duration // between visits
		want error
	}{
		"just before idle":         {[]time.Duration{30 * time.Minute, time.Hour - time.Millisecond}, nil},
		"at idle":                  {[]time.Duration{30 * time.Minute, time.Hour}, session.ErrEnded},
		"just before the absolute": {[]time.Duration{50 * time.Minute, 50 * time.Minute, 20*time.Minute - time.Millisecond}, nil},
		"at the absolute":          {[]time.Duration{50 * time.Minute, 50 * time.Minute, 20 * time.Minute}, session.ErrEnded},
	} {
		t.Run(name, func(t *testing.T) {
			config := defaults()
			config.Idle, config.Absolute, config.Access = time.Hour, 2*time.Hour, 24*time.Hour
			w := newWorld(t, config)
			opened := w.begin("ada@example.com")
			_, err := w.CheckCookie(t.Context(), opened.Cookie)
			w.must(err)
			for _, d := range c.wait {
				w.pass(d)
				_, err = w.CheckCookie(t.Context(), opened.Cookie)
			}
			if !errors.Is(err, c.want) {
				t.Errorf("the last visit is answered %v, want %v", err, c.want)
			}
		})
	}
}

// A session whose use is known to memory alone lives on when its record is evicted.
func TestAnEvictedSessionIsStillKnownToBeInUse(t *testing.T) {
	config := defaults()
	config.Idle, config.Cached = time.Hour, 1 // one for each shard
	w := newWorld(t, config)
	proof := w.person("ada@example.com")
	opened := w.beginFor(proof)
	w.pass(40 * time.Minute)
	_, err := w.CheckCookie(t.Context(), opened.Cookie)
	w.must(err)
	proof, err = w.accounts.CheckPassword(t.Context(), "ada@example.com", password, here)
	w.must(err)
	for range 300 {
		_, err := w.CheckCookie(t.Context(), w.beginFor(proof).Cookie)
		w.must(err)
	}
	w.pass(40 * time.Minute)
	if _, err := w.CheckCookie(t.Context(), opened.Cookie); err != nil {
		t.Errorf("seen 40 minutes ago, and answered %v", err)
	}
}
