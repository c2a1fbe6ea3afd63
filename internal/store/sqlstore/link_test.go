package sqlstore

import (
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
)

// begun adds a sign-up as it is kept until its address is proven.
func (w *world) begun(t *testing.T, key string) account.Link {
	t.Helper()
	l, err := w.AddLink(t.Context(), account.Link{
		ID: credential.NewID(credential.Link), Kind: account.LinkSignUp, Email: key, EmailKey: key,
		Name: "Bob", Password: "typed first",
	}, audit.Entry{})
	must(t, err)
	return l
}

const linkTexts = `SELECT name || password FROM link WHERE name || password <> ''`

// Nothing of a sign-up is kept longer than it can be of use.
func TestASpentLinkKeepsNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		first, second := w.begun(t, "bob@example.com"), w.begun(t, "bob@example.com")
		kept := func() int {
			rows, err := w.engine.read().QueryContext(t.Context(), linkTexts)
			texts, err := collect(rows, err, scanText)
			must(t, err)
			if strings.Contains(strings.Join(texts, ""), "typed first") != (len(texts) > 0) {
				t.Errorf("kept %q", texts)
			}
			return len(texts)
		}
		if n := kept(); n != 2 {
			t.Errorf("%d sign-ups are kept, want 2", n)
		}
		u := account.User{ID: credential.NewID(credential.User), Email: first.Email, EmailKey: first.EmailKey}
		_, err := w.AddUserByLink(t.Context(), second.ID, u, second.Password, audit.New(audit.SignedUp, audit.OK, audit.Origin{}))
		must(t, err)
		if n := kept(); n != 0 {
			t.Errorf("%d sign-ups are kept after one was finished", n)
		}
	})
}

// A link that a clock far ahead has dated does not live until that time comes. I-10
func TestAcceptClockEndsLinks(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		w.pass(1000 * time.Hour)
		must(t, w.Hold(t.Context(), time.Minute))
		l := w.begun(t, "bob@example.com")
		w.pass(-1000 * time.Hour)
		if _, err := w.FindLink(t.Context(), l.ID); err != nil {
			t.Errorf("before the clock is accepted: %v", err)
		}
		must(t, w.AcceptClock(t.Context(), audit.New(audit.KeyRotated, audit.OK, audit.Origin{})))
		if _, err := w.FindLink(t.Context(), l.ID); err == nil {
			t.Error("it lives for another thousand hours")
		}
	})
}
