package drill

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/coatcheck/coatcheck/internal/feed"
)

// A scene is a node with people in its database, that can be put back to how it
// was: so each round of a drill starts from the same state.
type scene struct {
	*node

	base    string // a copy of the folder
	history []*operation
	record  *recorder
	ada     *holder // with tokens
	tablet  *holder // ada's second session, with a cookie
	bob     *holder // with tokens; nothing is done to him
	spent   string  // a refresh token of ada's that was exchanged
	calls   calls   // of the last rehearsal
}

// prepare makes the people and keeps a copy of the folder. The node has the shortest
// grace there is, and is dead then.
func prepare(t *testing.T) *scene {
	t.Helper()
	s := &scene{
		node: startNode(t, nodeOptions{Settings: map[string]string{"refresh.grace": "2s"}}),
		base: t.TempDir(), record: newRecorder(),
	}
	s.record.Grace = 2 * time.Second
	w, ctx := s.witness(s.record), t.Context()
	var a answer
	if s.ada, a = w.signUp(ctx, newEmail(), "token"); !a.OK() {
		t.Fatalf("sign up: %v", a)
	}
	if s.tablet, a = w.signIn(ctx, s.ada.Email, password, "cookie"); !a.OK() {
		t.Fatalf("sign in: %v", a)
	}
	if s.bob, a = w.signUp(ctx, newEmail(), "token"); !a.OK() {
		t.Fatalf("sign up: %v", a)
	}
	s.spent = s.ada.Refresh
	// Refresh tokens that were never spent have not seen the whole of rotation.
	for _, h := range []*holder{s.ada, s.bob} {
		if a := w.renew(ctx, h); !a.OK() {
			t.Fatalf("refresh: %v", a)
		}
	}
	renewed := time.Now()
	until(t, time.Minute, "the grace of the spent token is over", func() bool {
		return time.Since(renewed) > s.record.Grace+100*time.Millisecond
	})
	// Killed, so that each round begins by recovering a log as well.
	s.Kill(t)
	copyFolder(t, s.Dir, s.base)
	s.history = s.record.operations
	return s
}

// A round is one go at a scene.
type round struct {
	witness

	ada, tablet, bob holder
	spent            string    // ada's refresh token before the one she has
	begun            []*holder // by the drill
	step             int       // that an act of several got to
}

func (s *scene) witness(r *recorder) witness { return witness{s.client, r} }

// reset puts the folder back, with the node dead, and returns a round whose recorder
// knows how it came about.
func (s *scene) reset(t testing.TB) *round {
	t.Helper()
	s.kill()
	emptyFolder(t, s.Dir)
	copyFolder(t, s.base, s.Dir)
	r := newRecorder()
	r.Grace, r.start, r.operations = s.record.Grace, s.record.start, slices.Clone(s.history)
	maps.Copy(r.owners, s.record.owners)
	maps.Copy(r.spent, s.record.spent)
	return &round{witness: s.witness(r), ada: *s.ada, tablet: *s.tablet, bob: *s.bob, spent: s.spent}
}

func emptyFolder(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

func copyFolder(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// inspect looks at a server after the worst has happened: what everybody sees is
// recorded, twice, with a change of everything in between, so that what is wrong but
// hidden comes to light.
func (s *scene) inspect(t testing.TB, r *round) {
	t.Helper()
	ctx := t.Context()
	holders := []*holder{&r.ada, &r.tablet, &r.bob}
	for _, h := range holders {
		r.check(ctx, h)
	}
	r.followed(t, s)
	if a := r.renew(ctx, &r.bob); !a.OK() {
		t.Errorf("I-8 a bystander cannot renew: %v", a)
	}
	if a := r.check(ctx, &r.bob); !a.OK() {
		t.Errorf("I-8 a bystander is signed out: %v", a)
	}
	h, a := r.signUp(ctx, newEmail(), "token")
	if !a.OK() {
		t.Fatalf("sign up after recovery: %v", a)
	}
	if a := r.end(ctx, h); !a.OK() {
		t.Errorf("end after recovery: %v", a)
	}
	holders = append(holders, h)
	for _, h := range holders {
		r.check(ctx, h)
	}
	r.followed(t, s)
}

// conclude holds the node to all that was recorded: what clients are told, what the
// recorder makes of it, and, with the node killed, what lies on the disk.
func (s *scene) conclude(t testing.TB, r *round) {
	t.Helper()
	s.inspect(t, r)
	s.Kill(t)
	r.verify(t)
	checkWhole(t, s.Dir)
}

// surviveAKill concludes after the node was looked at, killed, and started once more.
func (s *scene) surviveAKill(t testing.TB, r *round) {
	t.Helper()
	s.inspect(t, r)
	s.Kill(t)
	s.Restart(t)
	r.settle()
	s.conclude(t, r)
}

// followed reads the revocation stream from its beginning, and holds what is said
// there to what the sessions' holders are told: both are one step. I-1, I-5
func (r *round) followed(t testing.TB, s *scene) {
	t.Helper()
	ctx := t.Context()
	over := map[string]bool{}
	for _, h := range []*holder{&r.ada, &r.tablet, &r.bob} {
		a := s.call(ctx, http.MethodGet, "/v1/admin/sessions/"+h.SessionID, nil, bearer(s.APIKey))
		if !a.OK() && a.Status != http.StatusNotFound {
			t.Errorf("read session %s: %v", h.SessionID, a)
		}
		over[h.SessionID] = a.Status == http.StatusNotFound
	}
	logged := func(entries []feed.Entry, session string) bool {
		return slices.ContainsFunc(entries, func(e feed.Entry) bool { return e.Kind == feed.Session && e.ID == session })
	}
	entries := r.follow(t, func(entries []feed.Entry) bool {
		for session := range over {
			if over[session] && !logged(entries, session) {
				return false
			}
		}
		return true
	})
	for session := range over {
		if !over[session] && logged(entries, session) {
			t.Errorf("I-1 session %s is live, and the revocation log says it is over", session)
		}
	}
}

// follow reads the revocation log, at least its snapshot, until it says enough. The
// test fails if that takes longer than 10 s.
func (w witness) follow(t testing.TB, enough func([]feed.Entry) bool) []feed.Entry {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL+"/v1/revocations", nil)
	if err != nil {
		t.Fatal(err)
	}
	bearer(w.APIKey)(request)
	response, err := w.client.http.Do(request)
	if err != nil {
		t.Fatalf("follow the revocation log: %v", err)
	}
	defer response.Body.Close()
	stream := fmt.Sprintf("follow %d", w.now())
	w.Connected(stream, false)
	var entries []feed.Entry
	whole := false
	for reader := feed.NewReader(response.Body); !whole || !enough(entries); {
		e, err := reader.Next()
		if err != nil {
			t.Fatalf("I-1 the revocation log does not say in time what is over: %d, %v", response.StatusCode, err)
		}
		w.Heard(stream, e)
		switch e.Name {
		case feed.EventSnapshot:
			var snapshot feed.Snapshot
			if err := e.Decode(&snapshot); err != nil {
				t.Fatal(err)
			}
			entries, whole = append(entries, snapshot.Entries...), !snapshot.More
		case feed.EventRevocation:
			var entry feed.Entry
			if err := e.Decode(&entry); err != nil {
				t.Fatal(err)
			}
			entries = append(entries, entry)
		}
	}
	return entries
}

// whole are questions to the database that nothing may answer: each finds a step
// that was done by half.
var whole = map[string]string{
	"the revocation log has a gap": `SELECT count(*) FROM revocation HAVING count(*) <> COALESCE(max(seq) - min(seq) + 1, 0)`,
	"the counter of the revocation log is not its last number": `SELECT h.seq FROM revocation_head h
		WHERE EXISTS (SELECT 1 FROM revocation) AND h.seq <> (SELECT max(seq) FROM revocation)`,
	"the audit log has a gap, or a counter that is not its last number": `SELECT h.seq FROM audit_head h
		WHERE h.seq <> (SELECT count(*) FROM audit) OR h.seq <> COALESCE((SELECT max(seq) FROM audit), 0)`,
	"a session was ended without an entry": `SELECT id FROM session
		WHERE ended_at IS NOT NULL AND id NOT IN (SELECT subject FROM revocation WHERE kind = 'session')`,
	"an entry names a session that was not ended": `SELECT subject FROM revocation
		WHERE kind = 'session' AND subject IN (SELECT id FROM session WHERE ended_at IS NULL)`,
	"a session has no grant": `SELECT id FROM session WHERE id NOT IN (SELECT session_id FROM session_grant)`,
	"a session began without an entry in the audit log": `SELECT id FROM session
		WHERE id NOT IN (SELECT session_id FROM audit WHERE event IN ('signed_in', 'signed_up'))`,
	"I-11 a session was ended by itself without an entry in the audit log": `SELECT id FROM session
		WHERE ended_at IS NOT NULL AND end_reason <> 'password'
		AND id NOT IN (SELECT session_id FROM audit WHERE event IN ('session_ended', 'refresh_reused'))
		AND id NOT IN (SELECT subject FROM audit WHERE event = 'session_ended')`,
	"foreign keys":    `PRAGMA foreign_key_check`,
	"integrity check": `SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'`,
}

// checkWhole opens a dead node's database and asks all of them. I-4, I-5, I-11
func checkWhole(t testing.TB, dir string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "coatcheck.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for what, question := range whole {
		for _, found := range answers(t, db, question) {
			t.Errorf("after the crash, %s: %s", what, found)
		}
	}
}

// answers returns the rows that a question finds.
func answers(t testing.TB, db *sql.DB, question string) (found []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), question)
	if err != nil {
		t.Errorf("%s: %v", question, err)
		return nil
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Error(err)
	}
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			t.Error(err)
		}
		text, err := json.Marshal(values)
		if err != nil {
			t.Error(err)
		}
		found = append(found, string(text))
	}
	if err := rows.Err(); err != nil {
		t.Errorf("%s: %v", question, err)
	}
	return found
}
