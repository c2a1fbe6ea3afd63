package drill

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
)

// D-06: sixty-four people renew, sign out and are checked, while somebody reads the
// database for a long time and operators write to it with commands of their own.
// Nobody gets a wrong answer; the log beside the database grows only while the long
// reader needs it. I-1, I-3, I-9
func TestManyWriters(t *testing.T) {
	t.Parallel()
	n := startNode(t, nodeOptions{})
	w, ctx := witness{n.client, newRecorder()}, t.Context()
	people := w.crowd(t, 64)

	release := longReader(t, n.Dir)
	load := w.load(ctx, people)
	for range size(3, 60) {
		w.operate(t, n)
	}
	load.pass(t, size(3000, 60_000))
	release()
	// The log is copied back, and used again from its beginning, once no reader
	// needs it: from here on it has its size.
	load.pass(t, size(1500, 20_000))
	before := logSize(t, n.Dir)
	load.pass(t, size(1500, 20_000))
	w.Bound("the log beside the database in bytes, once the long reader has gone", logSize(t, n.Dir), before)
	load.stop(t)
	for _, h := range people {
		w.check(ctx, h)
	}
	w.follow(t, func([]feed.Entry) bool { return true })
	n.Kill(t)
	n.Restart(t)
	for _, h := range people {
		w.check(ctx, h)
		w.renew(ctx, h)
	}
	w.verify(t)
	n.Kill(t)
	checkWhole(t, n.Dir)
}

// D-06: another process holds the database's lock for longer than anybody waits.
// Writes are answered by 503, reads go on, and afterwards all is well. I-5, I-7, I-8
func TestLockedDatabase(t *testing.T) {
	t.Parallel()
	n := startNode(t, nodeOptions{})
	w, ctx := witness{n.client, newRecorder()}, t.Context()
	h, a := w.signUp(ctx, newEmail(), "token")
	if !a.OK() {
		t.Fatal(a)
	}
	release := hold(t, n.Dir, "BEGIN IMMEDIATE")
	var all sync.WaitGroup
	all.Go(func() {
		if _, a := w.spend(ctx, h, h.Refresh, oneKey); a.Status != http.StatusServiceUnavailable {
			t.Errorf("I-7 a refresh while the database is locked: %v", a)
		}
	})
	for range 100 {
		if a := w.check(ctx, h); !a.OK() {
			t.Errorf("I-8 a check while the database is locked: %v", a)
		}
	}
	all.Wait()
	release()
	next, a := w.spend(ctx, h, h.Refresh, oneKey)
	if !a.OK() {
		t.Errorf("I-5 the retry: %v", a)
	}
	h.Access, h.Refresh = next.Access, next.Refresh
	w.renew(ctx, h)
	w.signOut(ctx, h)
	w.check(ctx, h)
	w.verify(t)
	n.Kill(t)
	checkWhole(t, n.Dir)
}

// crowd signs in people with tokens, eight times each.
func (w witness) crowd(t testing.TB, count int) []*holder {
	t.Helper()
	people := make([]*holder, count)
	var all sync.WaitGroup
	places := make(chan struct{}, 4) // more might be told to come again
	var email string
	for i := range people {
		if i%8 == 0 {
			email = newEmail()
			a := w.addUser(t.Context(), email)
			for range 10 { // a server that is short of something may not answer
				if a.OK() || a.Code == "email_taken" {
					break
				}
				a = w.addUser(t.Context(), email)
			}
			if !a.OK() && a.Code != "email_taken" {
				t.Fatalf("add a user: %v", a)
			}
		}
		places <- struct{}{}
		whose := email
		all.Go(func() {
			defer func() { <-places }()
			var a answer
			for range 10 {
				if people[i], a = w.signIn(t.Context(), whose, password, "token"); a.OK() {
					return
				}
			}
			t.Errorf("sign in: %v", a)
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return people
}

// A loading is a crowd that renews and is checked until it is stopped.
type loading struct {
	cancel context.CancelFunc
	all    sync.WaitGroup
	done   chan struct{} // one for each renewal
	mu     sync.Mutex
	wrong  []answer
}

func (w witness) load(ctx context.Context, people []*holder) *loading {
	ctx, cancel := context.WithCancel(ctx)
	l := &loading{cancel: cancel, done: make(chan struct{}, 1024)}
	for _, h := range people {
		l.all.Go(func() {
			for ctx.Err() == nil {
				call := context.WithoutCancel(ctx)
				for _, a := range []answer{w.renew(call, h), w.check(call, h)} {
					if !a.OK() {
						l.mu.Lock()
						l.wrong = append(l.wrong, a)
						l.mu.Unlock()
					}
				}
				select {
				case l.done <- struct{}{}:
				case <-ctx.Done():
				}
			}
		})
	}
	return l
}

// pass returns when so many more renewals are done.
func (l *loading) pass(t testing.TB, count int) {
	t.Helper()
	end := time.NewTimer(5 * time.Minute)
	defer end.Stop()
	for range count {
		select {
		case <-l.done:
		case <-end.C:
			t.Fatal("the load has come to a halt")
		}
	}
}

// stop ends the load, and fails the test for what was not answered well.
func (l *loading) stop(t testing.TB) {
	t.Helper()
	l.cancel()
	l.all.Wait()
	if len(l.wrong) > 0 {
		t.Errorf("%d answers under load are not OK, the first: %v", len(l.wrong), l.wrong[0])
	}
}

// operate does with commands what operators do beside a running server: it adds a
// person, who signs in, and ends the session, which the server soon refuses.
func (w witness) operate(t testing.TB, n *node) {
	t.Helper()
	var made struct{ Key string }
	out := n.Run(t, "apikey", "add", "--name", "beside", "--scope", "introspect", "--json")
	if err := json.Unmarshal(out, &made); err != nil {
		t.Fatal(err)
	}
	a := w.call(t.Context(), http.MethodGet, "/v1/admin/users", nil, bearer(made.Key))
	if a.Status != http.StatusForbidden {
		t.Errorf("a key that was made beside the server: %v", a)
	}
	email := newEmail()
	w.addUser(t.Context(), email)
	h, a := w.signIn(t.Context(), email, password, "cookie")
	if !a.OK() {
		t.Errorf("sign in: %v", a)
		return
	}
	w.check(t.Context(), h)
	call := w.now()
	n.Run(t, "session", "end", h.SessionID)
	w.Ended(h.SessionID, true, call)
	// The command is another node: the server may be behind it by two seconds.
	until(t, 10*time.Second, "I-1 a session that a command has ended is refused", func() bool {
		call := w.now()
		a := w.client.session(t.Context(), h.as())
		if a.OK() || slices.Contains(overCodes, a.Code) {
			w.Used(h.SessionID, a.OK(), call, 2*time.Second)
		}
		return !a.OK()
	})
}

// longReader holds a reading transaction open on the database of a node.
func longReader(t testing.TB, dir string) (release func()) {
	t.Helper()
	return hold(t, dir, "BEGIN", "SELECT count(*) FROM audit")
}

// hold opens the database as another process would, and holds the transaction that
// the statements begin.
func hold(t testing.TB, dir string, statements ...string) (release func()) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "coatcheck.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range statements {
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	release = sync.OnceFunc(func() {
		_, err := conn.ExecContext(context.Background(), "ROLLBACK")
		if err == nil {
			err = conn.Close()
		}
		if err == nil {
			err = db.Close()
		}
		if err != nil {
			t.Errorf("release the database: %v", err)
		}
	})
	t.Cleanup(release)
	return release
}

// logSize returns the size of the log beside the database in bytes.
func logSize(t testing.TB, dir string) float64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, "coatcheck.db-wal"))
	if err != nil {
		t.Fatal(err)
	}
	return float64(info.Size())
}
