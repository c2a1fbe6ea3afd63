package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

// A session that a browser keeps beside another one is held to the store, whatever is
// remembered of it here, and by its secret (V-39).
func TestBesideIsHeldToTheStore(t *testing.T) {
	w := newWorld(t, defaults())
	ada, bob := w.begin("ada@example.com"), w.begin("bob@example.com")
	if _, err := w.CheckCookie(t.Context(), ada.Cookie); err != nil { // it is remembered
		t.Fatal(err)
	}
	st, err := w.Beside(t.Context(), ada.Cookie)
	if err != nil || st.User.Email != "ada@example.com" || st.Session.ID != ada.Standing.Session.ID {
		t.Fatalf("a good one is %+v, %v", st.User, err)
	}
	for name, forged := range map[string]string{
		"a secret of nobody":   ada.Cookie[:len(ada.Cookie)-credential.SecretLength] + credential.NewSecret().Encode(),
		"another one's secret": ada.Cookie[:len(ada.Cookie)-credential.SecretLength] + bob.Cookie[len(bob.Cookie)-credential.SecretLength:],
		"a shorter one":        ada.Cookie[:len(ada.Cookie)-1],
		"a token":              ada.Tokens.Access,
		"nothing":              "",
	} {
		if st, err := w.Beside(t.Context(), forged); !errors.Is(err, session.ErrInvalidToken) || st.User.ID != "" {
			t.Errorf("%s is answered %v", name, err)
		}
	}
	w.faults.before = errors.New("the disk is gone")
	if st, err := w.Beside(t.Context(), ada.Cookie); !errors.Is(err, fault.ErrUnavailable) || st.User.ID != "" {
		t.Errorf("what nobody can vouch for is answered %v", err)
	}
	w.faults.before = nil
	h, err := w.CheckCookie(t.Context(), ada.Cookie)
	w.must(err)
	w.must(w.SignOut(t.Context(), h, here))
	if st, err := w.Beside(t.Context(), ada.Cookie); !errors.Is(err, session.ErrEnded) || st.User.ID != "" {
		t.Errorf("one that is over is answered %v", err)
	}
	if _, err := w.Beside(t.Context(), bob.Cookie); err != nil {
		t.Errorf("the other one is answered %v", err)
	}
}

// ASVS-7.3.1: to be looked at is not to be used, and a visit that only this node knows of
// counts.
func TestBesideIsNoVisit(t *testing.T) {
	config := defaults()
	config.Idle = time.Hour
	w := newWorld(t, config)
	ada := w.begin("ada@example.com")
	w.pass(40 * time.Minute)
	if _, err := w.CheckCookie(t.Context(), ada.Cookie); err != nil { // not written yet
		t.Fatal(err)
	}
	w.pass(40 * time.Minute)
	if _, err := w.Beside(t.Context(), ada.Cookie); err != nil {
		t.Errorf("40 minutes after a visit: %v", err)
	}
	w.pass(20 * time.Minute)
	if _, err := w.Beside(t.Context(), ada.Cookie); !errors.Is(err, session.ErrEnded) {
		t.Errorf("an hour after the last visit, and 20 minutes after being looked at: %v", err)
	}
}
