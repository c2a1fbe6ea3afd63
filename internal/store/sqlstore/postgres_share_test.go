package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

func waitingFor(s *step) *operation {
	return &operation{ctx: context.Background(), step: s, done: make(chan struct{})}
}

func (w *postgresWorld) rotation(g session.Grant, generation uint32, next string) *operation {
	swap := session.Swap{GrantID: g.ID, Generation: generation, Next: credential.Hash{0: next[0]}, Seen: true}
	return waitingFor(&step{swap: &swapping{Swap: swap, clock: w.clock()}})
}

// Look-ups of both kinds that wait for each other share a round trip, and each has its
// own answer.
func TestPostgresSharesLookUps(t *testing.T) {
	w := newPostgresWorld(t)
	e := w.engine.(*postgresEngine)
	type asked struct {
		*operation
		id    string
		found [2]string
		dest  []any
	}
	var all []*asked
	ask := func(query, id string) {
		a := &asked{id: id}
		var hash, refresh, salt, rotations []byte
		var client, user string
		var over, now int64
		a.dest = []any{&a.found[0], &hash, &user, &client, &a.found[1], &refresh, &salt, &rotations, &over, &now}
		a.operation = waitingFor(&step{look: &look{query: lookUps[query], clock: w.clock(), id: id, dest: a.dest}})
		all = append(all, a)
	}
	for range 70 {
		s, g := w.begin(t)
		ask(ofSession, s.ID)
		ask(ofGrant, g.ID)
		ask(ofGrant, g.ID)
	}
	ask(ofSession, credential.NewID(credential.Session))
	ask(ofGrant, "")
	ops := func() (batch []*operation) {
		for _, a := range all {
			a.done, a.err, a.step.look.found = make(chan struct{}), nil, false
			batch = append(batch, a.operation)
		}
		return batch
	}
	e.lookUp(ops()) // the texts are prepared the first time
	w.trips.Store(0)
	e.lookUp(ops())
	if trips := w.trips.Load(); trips != 1 {
		t.Errorf("%d look-ups took %d round trips, want 1", len(all), trips)
	}
	for i, a := range all {
		<-a.done
		if i >= len(all)-2 {
			if !errors.Is(a.err, sql.ErrNoRows) {
				t.Errorf("who looks for %q gets %v", a.id, a.err)
			}
			continue
		}
		must(t, a.err)
		if s, err := unpackSession(a.found[0], nil); err != nil || s.ID != a.id {
			f := grantFields{record: a.found[1]}
			if g, err := f.value(); err != nil || g.ID != a.id {
				t.Fatalf("who looks for %s finds %s and %s", a.id, a.found[0], a.found[1])
			}
		}
	}
}

// Rotations of different grants share a commit; of those of one grant one wins. V-45
func TestPostgresSharesRotations(t *testing.T) {
	w := newPostgresWorld(t)
	e := w.engine.(*postgresEngine)
	var batch []*operation
	want := map[*operation]error{}
	add := func(op *operation, err error) {
		batch = append(batch, op)
		want[op] = err
	}
	for range 70 {
		_, g := w.begin(t)
		add(w.rotation(g, 1, "a"), nil)
	}
	over, ended := w.begin(t)
	_, err := w.End(t.Context(), session.Ending{Kind: feed.Session, ID: over.ID, Reason: "test"}, audit.New(audit.SessionEnded, audit.OK, audit.Origin{}))
	must(t, err)
	add(w.rotation(ended, 1, "b"), session.ErrLost)
	_, spent := w.begin(t)
	add(w.rotation(spent, 2, "c"), session.ErrLost)
	seen, twice := w.begin(t)
	add(w.rotation(twice, 1, "d"), nil)
	add(w.rotation(twice, 1, "e"), session.ErrLost)
	add(w.rotation(twice, 1, "f"), session.ErrLost)
	e.rotate(batch)
	for op, err := range want {
		<-op.done
		if !errors.Is(op.err, err) {
			t.Errorf("the rotation of %s: %v, want %v", op.step.swap.GrantID, op.err, err)
		}
	}
	st, err := w.OfGrant(t.Context(), twice.ID)
	must(t, err)
	if st.Grant.Generation != 2 || st.Grant.RefreshHash[0] != 'd' || !st.Session.LastSeenAt.After(seen.LastSeenAt) {
		t.Errorf("it is %+v of %+v", st.Grant, st.Session)
	}
}

// Grants of one session that are rotated together are both rotated.
func TestPostgresRotatesTwoGrantsOfASession(t *testing.T) {
	ctx := context.Background()
	w := newPostgresWorld(t)
	must(t, w.SetTerms(ctx, session.ClientTerms{ID: "other", Access: 10 * time.Minute}))
	s, first := w.begin(t)
	_, second := w.begin(t)
	e := w.engine.(*postgresEngine)
	_, err := e.db.ExecContext(ctx, `UPDATE session_grant SET session_id = $1, client_id = 'other' WHERE id = $2`, s.ID, second.ID)
	must(t, err)
	batch := []*operation{w.rotation(first, 1, "a"), w.rotation(second, 1, "b")}
	e.rotate(batch)
	for _, op := range batch {
		<-op.done
		must(t, op.err)
	}
}

// A rotation that has to wait for somebody is decided by what they did. I-3
func TestPostgresRotationSeesWhatItWaitedFor(t *testing.T) {
	ctx := context.Background()
	w := newPostgresWorld(t)
	e := w.engine.(*postgresEngine)
	for _, c := range []struct {
		name, done, of string
		want           error
	}{
		{"nothing of importance", `UPDATE session SET device = 'other' WHERE id = $1`, "session", nil},
		{"the session's end", `UPDATE session SET ended_at = 1 WHERE id = $1`, "session", session.ErrLost},
		{"the user's end", `UPDATE session SET closed = TRUE WHERE id = $1`, "session", session.ErrLost},
		{"the grant's end", `UPDATE session_grant SET ended_at = 1 WHERE id = $1`, "grant", session.ErrLost},
		{"another's rotation", `UPDATE session_grant SET generation = 2 WHERE id = $1`, "grant", session.ErrLost},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, g := w.begin(t)
			op := w.rotation(g, 1, "a")
			must(t, e.transact(ctx, func(run runner) error {
				id := map[string]string{"session": s.ID, "grant": g.ID}[c.of]
				if _, err := run.ExecContext(ctx, c.done, id); err != nil {
					return err
				}
				var holder int
				if err := run.QueryRowContext(ctx, `SELECT pg_backend_pid()`).Scan(&holder); err != nil {
					return err
				}
				go e.rotate([]*operation{op})
				until(t, "the rotation waits", func() bool {
					var waiting int
					must(t, e.db.QueryRowContext(ctx, `SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))`, holder).Scan(&waiting))
					return waiting > 0
				})
				return nil
			}))
			<-op.done
			if !errors.Is(op.err, c.want) {
				t.Errorf("it answers %v, want %v", op.err, c.want)
			}
		})
	}
}

// One whose row somebody holds does not keep the others waiting. I-8
func TestPostgresRotationsDoNotWaitForOne(t *testing.T) {
	ctx := context.Background()
	w := newPostgresWorld(t)
	e := w.engine.(*postgresEngine)
	var batch []*operation
	var stuck *operation
	held, release := make(chan struct{}), make(chan struct{})
	holder := make(chan error, 1)
	for i := range 3 {
		s, g := w.begin(t)
		batch = append(batch, w.rotation(g, 1, "a"))
		if i != 1 {
			continue
		}
		stuck = batch[i]
		go func() {
			holder <- e.transact(ctx, func(run runner) error {
				_, err := run.ExecContext(ctx, `UPDATE session SET device = 'held' WHERE id = $1`, s.ID)
				close(held)
				<-release
				return err
			})
		}()
	}
	<-held
	e.rotate(batch)
	for _, op := range batch {
		if op != stuck {
			<-op.done
			must(t, op.err)
		}
	}
	select {
	case <-stuck.done:
		t.Errorf("the rotation whose row is held was answered: %v", stuck.err)
	default:
	}
	close(release)
	must(t, <-holder)
	<-stuck.done
	must(t, stuck.err)
}

// A database that has been away costs nobody who reads an error, and those who write
// one at most. I-5
func TestPostgresForgetsBrokenConnections(t *testing.T) {
	ctx := context.Background()
	w := newPostgresWorld(t)
	e := w.engine.(*postgresEngine)
	s, g := w.begin(t)
	failures := 0
	for round := range 3 {
		each(8, 8, func(int) { // more than one connection
			if _, err := w.Terms(ctx, w.user.ID, session.FirstParty); err != nil {
				t.Error(err)
			}
		})
		admin, err := sql.Open("pgx", w.database)
		must(t, err)
		_, err = admin.ExecContext(ctx, `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()`)
		must(t, err)
		must(t, admin.Close())
		e.reset.Store(0)
		if round == 2 {
			for i := range 10 {
				if err := w.Rotate(ctx, session.Swap{GrantID: g.ID, Generation: uint32(i + 1 - failures)}); err != nil {
					failures++
				}
			}
			continue
		}
		for range 10 {
			if _, err = w.OfSession(ctx, s.ID); round == 1 {
				_, _, err = w.FindByEmail(ctx, w.user.EmailKey)
			}
			must(t, err)
		}
	}
	if failures > 1 {
		t.Error(fmt.Sprint(failures, " rotations failed, want one at most"))
	}
}

// A round trip that hangs keeps nobody else waiting, and where very many wait who comes
// is refused at once. I-9
func TestSharingGoesOnBesideWhatHangs(t *testing.T) {
	ctx := context.Background()
	hang, started := make(chan struct{}), make(chan struct{})
	s := share(0, func(batch []*operation) {
		for _, op := range batch {
			if op.step.bare {
				started <- struct{}{}
				<-hang
			}
			close(op.done)
		}
	})
	var all sync.WaitGroup
	for i := range mostUnderWay {
		if i > 0 {
			must(t, s.do(ctx, &step{}))
		}
		all.Go(func() {
			if err := s.do(ctx, &step{bare: true}); err != nil {
				t.Error(err)
			}
		})
		<-started
	}
	var refused atomic.Int64
	most := cap(s.queue) + 2*maxBatch
	for range most {
		all.Go(func() {
			if err := s.do(ctx, &step{}); errors.Is(err, fault.ErrUnavailable) {
				refused.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	until(t, "somebody is refused", func() bool { return refused.Load() > 0 })
	close(hang)
	all.Wait()
	s.close()
}

// What a step refuses by itself says nothing about connections.
func TestRefusalsBreakNoConnection(t *testing.T) {
	for _, err := range []error{nil, sql.ErrNoRows, session.ErrLost, session.ErrNone, errBusy, &pgconn.PgError{Code: "23505"}, &pgconn.PgError{Code: "57014"}} {
		if broken(err) {
			t.Errorf("%v breaks a connection", err)
		}
	}
	for _, err := range []error{io.EOF, io.ErrUnexpectedEOF, context.DeadlineExceeded, &pgconn.PgError{Code: "57P01"}, &pgconn.PgError{Code: "25P03"}} {
		if !broken(err) {
			t.Errorf("%v breaks no connection", err)
		}
	}
}
