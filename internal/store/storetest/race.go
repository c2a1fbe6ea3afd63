package storetest

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/keyring"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/revocation"
	"github.com/coatcheck/coatcheck/internal/session"
)

// race calls f n times at once and returns what each call returned.
func race(n int, f func(i int) error) []error {
	begin := make(chan struct{})
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-begin
			errs[i] = f(i)
		})
	}
	close(begin)
	all.Wait()
	return errs
}

// oneWinner fails unless exactly one of the racers got nil and all others got lost.
func oneWinner(t *testing.T, errs []error, lost error) {
	t.Helper()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, lost):
			t.Errorf("a racer got %v, want nil or %v", err, lost)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d racers won, want 1", won, len(errs))
	}
}

// allWon fails on every error of a race that everyone can win.
func allWon(t *testing.T, errs []error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

// wantErr fails unless err is the one wanted.
func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || (err == nil) != (want == nil) {
		t.Errorf("%s returned %v, want %v", what, err, want)
	}
}

// A state is everything that a store holds, as far as its methods tell.
type state struct {
	Head     revocation.Position
	Log      []revocation.Logged
	Audit    []audit.Entry
	Users    map[string]userState
	Sessions map[string]sessionState
	Grants   map[string]session.Standing
	APIKeys  []account.APIKey
	Links    map[string]account.Link
	Keys     []keyring.StoredKey
	Version  int64
	Live     []session.Listed
	Count    int
	Mail     mail.Counts
}

type userState struct {
	User     account.User
	Password string
}

type sessionState struct {
	Standing session.Standing
	Document []byte
	Version  int64
}

// state reads everything that the fixture knows of.
func (f *fixture) state(t *testing.T) state {
	t.Helper()
	ctx := t.Context()
	page, err := f.Revocation.Since(ctx, 0, 100_000)
	must(t, err)
	s := state{
		Head: page.Head, Log: page.Rows, Audit: f.audits(t),
		Users: map[string]userState{}, Sessions: map[string]sessionState{}, Grants: map[string]session.Standing{},
		Links: map[string]account.Link{},
	}
	for _, id := range f.users {
		if u, password, err := f.Users.FindUser(ctx, id); !errors.Is(err, account.ErrNoUser) {
			must(t, err)
			s.Users[id] = userState{u, password}
		}
	}
	for _, id := range f.sessions {
		st, err := f.Sessions.OfSession(ctx, id)
		if errors.Is(err, session.ErrNone) {
			continue
		}
		must(t, err)
		document, version, err := f.Attachments.Attachment(ctx, id)
		must(t, err)
		s.Sessions[id] = sessionState{timeless(st), document, version}
	}
	for _, id := range f.grants {
		if st, err := f.Sessions.OfGrant(ctx, id); !errors.Is(err, session.ErrNone) {
			must(t, err)
			s.Grants[id] = timeless(st)
		}
	}
	for _, id := range f.links {
		if l, err := f.Links.FindLink(ctx, id); !errors.Is(err, account.ErrLinkOver) {
			must(t, err)
			s.Links[id] = l
		}
	}
	s.APIKeys, err = f.APIKeys.APIKeys(ctx)
	must(t, err)
	s.Keys, s.Version, _, err = f.Keys.Keys(ctx)
	must(t, err)
	s.Live, err = f.Sessions.List(ctx, "", "", 1000)
	must(t, err)
	s.Count, err = f.Upkeep.Count(ctx)
	must(t, err)
	s.Mail, err = f.Mail.Counts(ctx)
	must(t, err)
	slices.SortFunc(s.Keys, byKeyID)
	return s
}

// timeless drops when a standing was read.
func timeless(st session.Standing) session.Standing {
	st.Now = start
	return st
}

// unchanged runs step and fails if the store holds anything else afterwards.
func (f *fixture) unchanged(t *testing.T, what string, step func()) {
	t.Helper()
	before := f.state(t)
	step()
	if t.Failed() {
		return
	}
	if diff := cmp.Diff(before, f.state(t)); diff != "" {
		t.Errorf("%s left a trace (-before +after):\n%s", what, diff)
	}
}
