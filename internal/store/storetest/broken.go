package storetest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/keyring"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/session"
)

// ErrBroken is what a store fails with when a proof breaks it.
var ErrBroken = errors.New("the store was broken by a proof")

// A Break is what is to fail next, once.
type Break int

// What can fail. From Statement on it is a statement within the next write:
// Statement the first of them, Statement+1 the second, and so on.
const (
	Nothing     Break = iota // statements of the next write are counted, and that is all
	BeforeWrite              // the next write fails, and nothing of it has happened
	AfterWrite               // the next write is durable, and fails all the same
	AnyRead                  // the next query outside of a write fails
	Statement
)

// String tells of a break for the message of a failed proof.
func (b Break) String() string {
	switch b {
	case Nothing:
		return "nowhere"
	case BeforeWrite:
		return "before it began"
	case AfterWrite:
		return "after it was durable"
	case AnyRead:
		return "at a read"
	}
	return "at statement " + strconv.Itoa(int(b-Statement)+1)
}

// A Broken says what came of it.
type Broken struct {
	Happened   bool // it has failed
	Statements int  // of the write
}

// A Row is one row of a table as it is kept, its values as text.
type Row struct {
	Table  string
	Values map[string]string
}

// A faultyStep is one write of a store that is broken at each of its statements,
// before it and after it.
type faultyStep struct {
	method string
	name   string
	ready  func(t *testing.T, f *fixture, c *cast) // what has to be so before
	take   func(ctx context.Context, f *fixture, c *cast) error
	again  error // what a second call returns
}

// errAny is any error: that of an id which is there already.
var errAny = errors.New("any")

// returned reports whether a call returned what it should.
func returned(err, want error) bool {
	return errors.Is(err, want) || errors.Is(want, errAny) && err != nil
}

// A cast is who and what is in the store of a faulty step. Two stores with the same
// cast hold the same rows.
type cast struct {
	user, newcomer account.User
	in, other      signIn
	partners       signIn // by the pairwise partner
	links          map[account.LinkKind]account.Link
	letter         mail.Message
	apiKey         account.APIKey
	key            keyring.StoredKey
}

const lease = "lease"

func newCast(f *fixture) *cast {
	c := &cast{user: draftUser("ada@example.com"), newcomer: draftUser("bob@example.com"), links: map[account.LinkKind]account.Link{}}
	c.in, c.other, c.partners = f.draft(c.user.ID), f.draft(c.user.ID), f.draft(c.user.ID)
	c.partners.Grant.ClientID = pairwise.ID
	for kind, about := range map[account.LinkKind]account.User{
		account.LinkSignUp: c.newcomer, account.LinkInvite: c.newcomer,
		account.LinkReset: c.user, account.LinkVerify: c.user, account.LinkEmail: c.user,
	} {
		l := account.Link{ID: credential.NewID(credential.Link), Kind: kind, Email: about.Email, EmailKey: about.EmailKey}
		if about.ID == c.user.ID {
			l.UserID = about.ID
		}
		c.links[kind] = l
	}
	email := c.links[account.LinkEmail]
	email.Email, email.EmailKey = "countess@example.com", "countess@example.com"
	c.links[account.LinkEmail] = email
	c.letter = mail.New(mail.PasswordChanged, c.user.Email, "en")
	c.apiKey = account.APIKey{ID: credential.NewID(credential.APIKey), Name: "orders", Scopes: []string{"introspect"}, Hash: hashOf("key")}
	c.key = keyring.StoredKey{ID: "key_1", Algorithm: "ES256", Sealed: []byte("sealed"), Public: []byte("public"), CreatedAt: start, ActiveAt: start}
	return c
}

// enter puts the cast into a store.
func (c *cast) enter(t *testing.T, f *fixture) {
	t.Helper()
	ctx := t.Context()
	_, err := f.Users.AddUser(ctx, c.user, "old", noted(audit.UserAdded))
	must(t, err)
	f.add(t, c.in)
	f.add(t, c.other)
	f.add(t, c.partners)
	f.offer(t, link, true)
	_, err = f.APIKeys.AddAPIKey(ctx, c.apiKey, noted(audit.APIKeyAdded))
	must(t, err)
	for _, kind := range []account.LinkKind{account.LinkSignUp, account.LinkReset, account.LinkVerify, account.LinkEmail} {
		_, err := f.Links.AddLink(ctx, c.links[kind], audit.Entry{})
		must(t, err)
	}
	_, err = f.Clients.AddClient(ctx, c.app(""), noted(audit.ClientAdded))
	must(t, err)
	f.allow(t, c.user.ID, partner.ID, "openid")
	must(t, f.Mail.Post(ctx, c.letter))
	must(t, f.Keys.Change(ctx, 0, keyring.Change{Put: []keyring.StoredKey{c.key}}, nil))
	_, _, err = f.Mail.Claim(ctx, lease, time.Minute, 1)
	must(t, err)
}

// contents is all that a store keeps, in a fixed order. What is drawn at random for
// the log counts only in so far as it changes.
func (f *fixture) contents(t *testing.T, epoch string) []string {
	t.Helper()
	var all []string
	for _, row := range f.Rows(t) {
		delete(row.Values, "bits")
		if now, logs := row.Values["epoch"]; logs {
			row.Values["epoch"] = "new"
			if now == epoch {
				row.Values["epoch"] = "old"
			}
		}
		var cells []string
		for column, value := range row.Values {
			cells = append(cells, column+"="+value)
		}
		slices.Sort(cells)
		all = append(all, row.Table+": "+strings.Join(cells, " "))
	}
	slices.Sort(all)
	return all
}

func (f *fixture) epoch(t *testing.T) string {
	t.Helper()
	page, err := f.Revocation.Since(t.Context(), 0, 1)
	must(t, err)
	return page.Head.Epoch
}

// A course is what a step that nothing happens to makes of a store.
type course struct {
	before, once, twice []string // its contents: without the step, after it, and after a second one
	statements          int      // of the step
}

// staged puts the cast and what else the step needs into a store, and returns the
// epoch of its log.
func (step faultyStep) staged(t *testing.T, f *fixture, c *cast) (epoch string) {
	t.Helper()
	c.enter(t, f)
	if step.ready != nil {
		step.ready(t, f, c)
	}
	return f.epoch(t)
}

// run takes the step twice, and nothing fails.
func (step faultyStep) run(t *testing.T, f *fixture, c *cast) course {
	t.Helper()
	epoch := step.staged(t, f, c)
	way := course{before: f.contents(t, epoch)}
	count := f.Fail(Nothing)
	must(t, step.take(t.Context(), f, c))
	way.statements = count().Statements
	way.once = f.contents(t, epoch)
	if slices.Equal(way.before, way.once) {
		t.Fatal("the step changes nothing: there is nothing to break")
	}
	if err := step.take(t.Context(), f, c); !returned(err, step.again) {
		t.Errorf("a second call returned %v, want %v", err, step.again)
	}
	way.twice = f.contents(t, epoch)
	return way
}

// broken proves of a step that a failure leaves nothing or all of it, and that
// taking it again does no harm. I-3, I-4, I-5
func (step faultyStep) broken(t *testing.T, f *fixture) {
	ctx, c := t.Context(), newCast(f)
	way := step.run(t, f, c)
	f = f.again(t)
	epoch := step.staged(t, f, c)
	breaks := []Break{BeforeWrite}
	for n := range way.statements {
		breaks = append(breaks, Statement+Break(n))
	}
	for _, at := range breaks {
		what := f.Fail(at)
		err := step.take(ctx, f, c)
		if !what().Happened || !errors.Is(err, ErrBroken) {
			t.Fatalf("broken %s, of %d statements, it returned %v", at, way.statements, err)
		}
		if diff := cmp.Diff(way.before, f.contents(t, epoch)); diff != "" {
			t.Fatalf("broken %s, of %d statements, it left a trace (-before +after):\n%s", at, way.statements, diff)
		}
	}
	what, heard := f.Fail(AfterWrite), len(f.ear.entries)
	if err := step.take(ctx, f, c); !what().Happened || !errors.Is(err, ErrBroken) {
		t.Fatalf("broken after it was durable, it returned %v", err)
	}
	if len(f.ear.entries) != heard {
		t.Error("somebody was told of what nobody knew")
	}
	if diff := cmp.Diff(way.once, f.contents(t, epoch)); diff != "" {
		t.Errorf("broken after it was durable it is not whole (-whole +kept):\n%s", diff)
	}
	if err := step.take(ctx, f, c); !returned(err, step.again) {
		t.Errorf("taken again it returned %v, want %v", err, step.again)
	}
	if diff := cmp.Diff(way.twice, f.contents(t, epoch)); diff != "" {
		t.Errorf("taken again it is not what two calls leave (-two +kept):\n%s", diff)
	}
}

// A faultyRead is a method that reads. Broken, it says so, and never that there is
// nothing.
type faultyRead struct {
	method string
	read   func(ctx context.Context, f *fixture, c *cast) error
}

// readsBroken proves that a read that fails is never taken for an answer. I-7
func readsBroken(t *testing.T, f *fixture, reads []faultyRead) {
	c := newCast(f)
	c.enter(t, f)
	for _, r := range reads {
		t.Run(r.method, func(t *testing.T) {
			what := f.Fail(AnyRead)
			err := r.read(t.Context(), f, c)
			if !what().Happened || !errors.Is(err, ErrBroken) {
				t.Errorf("it returned %v", err)
			}
			if errors.Is(err, session.ErrNone) || errors.Is(err, account.ErrNoUser) || errors.Is(err, account.ErrLinkOver) || errors.Is(err, oauth.ErrNoConsent) {
				t.Errorf("a failure is said to be an answer: %v", err)
			}
			must(t, r.read(t.Context(), f, c))
		})
	}
}
