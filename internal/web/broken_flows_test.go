package web_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/store/sqlstore"
	"github.com/coatcheck/coatcheck/internal/store/storetest"
)

// errInner is what the database fails with. No answer may show it.
var errInner = errors.New("canary: the connection to the database was reset")

// aside are the steps that no request takes: what goes on beside them.
var aside = []string{
	"", "migrate", "hold", "touch", "sweep", "sweep_codes", "sweep_assertions", "sweep_links", "claim_mail", "postpone_mail", "bury_mail", "forget_dead_mail",
	"claim_notices", "sent_notice", "postpone_notice", "bury_notice", "forget_notices", "lapse",
}

// breaks makes the database fail at the writes of a flow's requests.
type breaks struct {
	after  bool         // when the write is durable; else before
	spared map[int]bool // requests, by the line of what is expected, that nothing happens to
	broken []int        // those to which something has happened, in order

	mu       sync.Mutex
	left     int    // writes until one fails; 0: none does
	last     string // the step before
	happened string // the step that failed
}

func (b *breaks) decide(op sqlstore.Operation) (after bool, err error) {
	if op.Kind != sqlstore.Write || slices.Contains(aside, op.Step) {
		return false, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.last
	b.last = op.Step
	if b.left == 0 || before == "add_user" && op.Step == "add_link" { // the mail to a new account can be asked for again
		return false, nil
	}
	if b.left--; b.left > 0 {
		return false, nil
	}
	b.happened = op.Step
	return b.after, errInner
}

// arm lets the n-th write from now on fail; 0 lets none.
func (b *breaks) arm(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left, b.last, b.happened = n, "", ""
}

func (b *breaks) failed() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.happened
}

// errWrong says that a request was not refused as it should, or its retry neither ended
// well nor said why not.
var errWrong = errors.New("with a broken database")

// request sends a message while its first write fails, then while its second does, and
// so on; each is refused as what it is. The last try, at which nothing fails, is the
// retry that ends well. Where writes were durable, it may be refused for a reason.
func (b *breaks) request(r *run, m *message, expects []expectation) error {
	line := expects[0].line
	defer b.arm(0)
	if m.times > 1 || m.stream != "" || b.spared[line] {
		answers, err := r.sendAll(m)
		if err != nil {
			return err
		}
		return r.meet(answers, expects)
	}
	for n := 1; ; n++ {
		b.arm(n)
		answer, err := r.send(m)
		if err != nil {
			return fmt.Errorf("%w: %w", errWrong, err)
		}
		step := b.failed()
		if step == "" || b.after && reasoned(answer) {
			err := r.meet([]exchanged{answer}, expects)
			if err != nil && n > 1 && !reasoned(answer) {
				return fmt.Errorf("%w, the retry: %w", errWrong, err)
			}
			return err
		}
		if n == 1 {
			b.broken = append(b.broken, line)
		}
		if err := refused(answer, step); err != nil {
			return fmt.Errorf("%w at %s: %w", errWrong, step, err)
		}
	}
}

var heldOut = regexp.MustCompile(`c(ks|kr|ka|kl|kc)_[0-9a-z]{26}|eyJ[A-Za-z0-9_-]{20,}\.|(?i)canary|sql|postgres`)

// refused demands that an answer accepts nothing, gives nothing away and says that it
// is worth a retry. What is refused for a reason may be so although nobody could write
// down that it was. I-5, I-7
func refused(a exchanged, step string) error {
	if a.status != "500" && a.status != "503" && (step != "record_audit" || !reasoned(a)) {
		return fmt.Errorf("the answer is %s %.300s", a.status, a.body)
	}
	if found := heldOut.FindString(string(a.body) + strings.Join(a.header.Values("Set-Cookie"), "\n")); found != "" {
		return fmt.Errorf("the answer holds %.12s…", found)
	}
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	if !tells(kind) {
		return fmt.Errorf("the answer is %s", kind)
	}
	return nil
}

// reasoned reports whether an answer refuses, and says why. A page sends to sign-in who
// is not signed in any more.
func reasoned(a exchanged) bool {
	if a.status == "303" && strings.HasPrefix(a.header.Get("Location"), "/sign-in") {
		return true
	}
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	return a.status[0] == '4' && tells(kind) && len(a.body) > 0
}

// tells reports whether an answer of this content type says what went wrong.
func tells(kind string) bool {
	return kind == "application/problem+json" || kind == "application/json" || kind == "text/html"
}

// afterwards are the flows that are held with writes that fail when they are durable.
// Such a flow is held again and again, because what was done twice is seen later on.
var afterwards = []string{
	"admin-keys", "cookie-session", "invitations", "oauth-authorize", "oauth-code", "pages-account", "pages-reset", "refresh", "session-max", "token-cookies", "verified-sign-up",
}

// costly are the flows that take long when all is tried twice: about hashes that cost
// much, and about how often mails are sent. What they write others write, too.
var costly = []string{"busy", "password-race", "password-reset"}

// failing is the flow that has the database fail by itself.
const failing = "store-fails"

// Every flow is held while the database fails at each write of each request: before it
// is durable, and some after. Nothing is accepted that failed, and a retry ends well or
// says why not. I-3, I-4, I-5, I-7
func TestFlowsOnABrokenDatabase(t *testing.T) {
	paths, err := filepath.Glob("testdata/flows/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("there are no flows: %v", err)
	}
	sqlite := func() string { return "" }
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		if name == failing || slices.Contains(costly, name) {
			continue
		}
		t.Run("before/"+name, func(t *testing.T) { holdBroken(t, path, false, sqlite) })
	}
	for _, name := range afterwards {
		path := filepath.Join("testdata/flows", name+".txt")
		t.Run("after/"+name, func(t *testing.T) { holdBroken(t, path, true, sqlite) })
	}
	for _, name := range []string{"refresh", "token-cookies"} {
		path := filepath.Join("testdata/flows", name+".txt")
		t.Run("postgres/before/"+name, func(t *testing.T) { holdBroken(t, path, false, func() string { return storetest.Postgres(t) }) })
	}
}

// holdBroken holds a flow. Where it cannot go on, because what was tried twice was
// counted or done twice, it is held anew, and spares the last request that was broken.
func holdBroken(t *testing.T, path string, after bool, database func() string) {
	b := &breaks{after: after, spared: map[int]bool{}}
	for {
		b.broken = nil
		at, err := b.hold(t, path, database())
		if err == nil {
			return
		}
		if errors.Is(err, errWrong) || len(b.broken) == 0 {
			t.Fatalf("%s:%d: %s: %v", path, at.line, strings.Join(at.words, " "), err)
		}
		b.spared[b.broken[len(b.broken)-1]] = true
	}
}

// hold holds a flow once, and returns the step at which it could not go on.
func (b *breaks) hold(t *testing.T, path, database string) (step, error) {
	steps, err := parseFlow(path)
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, database)
	s.made = func(a *app.App) { a.Store.Interfere(b.decide) }
	r := &run{stage: s, vars: variables{}, streams: map[string]*stream{}, secrets: map[string]bool{}, breaks: b, witness: newContract(t).check}
	defer func() {
		for _, stream := range r.streams {
			stream.cancel()
		}
		s.end()
		r.searchLog(t)
	}()
	for _, step := range steps {
		if err := r.perform(step); err != nil {
			return step, err
		}
	}
	return step{}, nil
}
