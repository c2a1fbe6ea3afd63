package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

// Look-ups of sessions and rotations of grants are most of what nodes ask a database
// for, and most of their cost is the round trip, and the commit, not the rows. So those
// that wait while others are under way go together: one statement for many of them.

// A sharing has what waits performed in batches, one at a time, because the fewer there
// are the more go together. Only where one takes long does the next one begin beside it,
// so that neither a distant database nor a broken connection stops the others.
//
// Who comes when very many wait is refused at once: to wait would be in vain.
type sharing struct {
	*batcher
	batches chan sharedBatch
}

type sharedBatch struct {
	all  []*operation
	done chan struct{}
}

const (
	// shareFor is how long the next batch gathers at most while one is under way.
	shareFor = 5 * time.Millisecond
	// gatherFor is how long rotations wait at most for as many as shared the commit
	// before: a commit costs the database as much as a dozen rotations in it.
	gatherFor = 2 * time.Millisecond
	// mostRotated is how many share a commit at most.
	mostRotated = 64
	// mostUnderWay leaves half of the connections to others.
	mostUnderWay = poolSize / 4
)

var errBusy = fmt.Errorf("%w: too many wait for the database", fault.ErrUnavailable)

// share makes a sharing whose batches have such patience: see [batcher].
func share(patience time.Duration, perform func([]*operation)) *sharing {
	s := &sharing{newBatcher(patience), make(chan sharedBatch)}
	s.idle.Go(func() {
		s.each(s.begin)
		close(s.batches)
	})
	for range mostUnderWay { // they stay, because a driver needs a deep stack, which a new one would have to grow
		s.idle.Go(func() {
			for batch := range s.batches {
				perform(batch.all)
				close(batch.done)
			}
		})
	}
	return s
}

// do is that of the batcher, for who may be refused.
func (s *sharing) do(ctx context.Context, one *step) error {
	if len(s.queue) == cap(s.queue) {
		return errBusy
	}
	return s.batcher.do(ctx, one)
}

// begin performs a batch, and returns when the next one may begin.
func (s *sharing) begin(batch []*operation) {
	done := make(chan struct{})
	s.batches <- sharedBatch{slices.Clone(batch), done}
	late := time.NewTimer(shareFor)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
	}
}

// lookUps are the queries of one row by an id that can be asked for many ids at once,
// with the id as a further column in front, by their own text.
var lookUps = map[string]string{
	ofSession: manyOf(ofSession, "s.id"),
	ofGrant:   manyOf(ofGrant, "g.id"),
	ofCode:    manyOf(ofCode, "k.id"),
	ofClient:  manyOf(ofClient, "c.id"),
}

// manyOf is a query that ends in WHERE, the column and = $2, for many at once.
func manyOf(query, column string) string {
	many := strings.TrimSuffix(query, " = $2") + " = ANY(CAST($2 AS TEXT[]))"
	return strings.Replace(many, "SELECT ", "SELECT "+column+", ", 1)
}

// A look is somebody's look-up.
type look struct {
	query string // of many, from lookUps
	clock any
	id    string
	dest  []any
	found bool
}

// lookUp performs look-ups in one round trip. It begins after all of them have asked, so
// each sees what was committed before it did.
func (e *postgresEngine) lookUp(batch []*operation) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	slices.SortStableFunc(batch, func(a, b *operation) int {
		return strings.Compare(a.step.look.query, b.step.look.query)
	})
	err := e.again(ctx, func() error { return e.lookUpAll(ctx, batch) })
	for _, op := range batch {
		switch {
		case err != nil:
			op.err = err
		case !op.step.look.found:
			op.err = sql.ErrNoRows
		}
		close(op.done)
	}
}

func (e *postgresEngine) lookUpAll(ctx context.Context, batch []*operation) error {
	var queries pgx.Batch
	var parts [][]*operation
	for rest := batch; len(rest) > 0; {
		query := rest[0].step.look.query
		var ids []string
		for _, op := range rest {
			if op.step.look.query == query {
				ids = append(ids, op.step.look.id)
			}
		}
		part := rest[:len(ids)]
		parts, rest = append(parts, part), rest[len(ids):]
		queries.Queue(query, part[len(part)-1].step.look.clock, ids)
	}
	return e.send(ctx, &queries, func(results pgx.BatchResults) error {
		for _, part := range parts {
			if err := readLooks(results, part); err != nil {
				return err
			}
		}
		return nil
	})
}

// send sends what is queued in one round trip.
func (e *postgresEngine) send(ctx context.Context, queries *pgx.Batch, read func(pgx.BatchResults) error) error {
	results := e.pool.SendBatch(ctx, queries)
	err := read(results)
	if closed := results.Close(); err == nil {
		err = closed
	}
	return err
}

func readLooks(results pgx.BatchResults, part []*operation) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		id := rows.RawValues()[0]
		for _, op := range part {
			l := op.step.look
			if l.id != string(id) {
				continue
			}
			var again string
			if err := rows.Scan(append([]any{&again}, l.dest...)...); err != nil {
				return err
			}
			l.found = true
		}
	}
	return rows.Err()
}

// rotateMany is holdLive and rotateGrant for many grants at once, in one statement: the
// arrays hold for each its id, the generation, the presented hash, what is to be written,
// and whether the person was there. A session that somebody changes is waited for, and
// looked at anew when they have; then the grant is, likewise. It is waited for as long as
// $2 says, or, where that is null, as long as the connection does.
const rotateMany = `
	WITH asked (id, generation, presented, next, salt, rotations, seen) AS MATERIALIZED (
		SELECT a.* FROM unnest(CAST($3 AS TEXT[]), CAST($4 AS BIGINT[]), CAST($5 AS BYTEA[]), CAST($6 AS BYTEA[]),
				CAST($7 AS BYTEA[]), CAST($8 AS BYTEA[]), CAST($9 AS BOOLEAN[])) a
			CROSS JOIN (SELECT set_config('lock_timeout', COALESCE($2, current_setting('lock_timeout')), TRUE) OFFSET 0) bound),
	held AS (
		UPDATE session AS s
		SET last_seen_at = CASE WHEN v.seen AND s.last_seen_at < t.now THEN t.now ELSE s.last_seen_at END
		FROM asked v, session_grant g, client c, account a, issuer i, ` + storeTime + `
		WHERE ` + rotatable + ` AND s.id = g.session_id AND a.id = s.account_id AND ` + live + `
		RETURNING s.id, t.now)
	UPDATE session_grant AS g
	SET generation = g.generation + 1, refresh_hash = v.next, salt = v.salt, rotations = v.rotations, rotated_at = s.now
	FROM asked v, client c, held s
	WHERE ` + rotatable + ` AND s.id = g.session_id
	RETURNING g.id`

const rotatable = `g.id = v.id AND g.generation = v.generation AND g.refresh_hash = v.presented AND g.ended_at IS NULL
	AND c.id = g.client_id AND NOT c.disabled AND g.created_at / 1000 > c.over_before`

// A swapping is somebody's rotation.
type swapping struct {
	session.Swap
	clock     any
	rotations []byte
	done      bool
}

// rotate performs rotations, those of different grants in one commit.
func (e *postgresEngine) rotate(batch []*operation) {
	slices.SortStableFunc(batch, func(a, b *operation) int { return strings.Compare(a.step.swap.GrantID, b.step.swap.GrantID) })
	for rest := batch; len(rest) > 0; {
		var now, later []*operation
		for _, op := range rest {
			if len(now) == mostRotated || len(now) > 0 && now[len(now)-1].step.swap.GrantID == op.step.swap.GrantID {
				later = append(later, op)
			} else {
				now = append(now, op)
			}
		}
		e.rotateTogether(now)
		rest = later
	}
}

// rotateTogether performs rotations of different grants. Where the database refused all
// of them, because of one or because of somebody who holds its row, each goes on alone.
func (e *postgresEngine) rotateTogether(batch []*operation) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	err := e.rotateAll(ctx, batch)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && (len(batch) > 1 || passing(refused)) {
		for _, op := range batch {
			go e.rotateAlone(op)
		}
		return
	}
	for _, op := range batch {
		op.finish(e.looked(err))
	}
}

func (e *postgresEngine) rotateAlone(op *operation) {
	ctx, cancel := context.WithTimeout(op.ctx, callTimeout)
	defer cancel()
	op.finish(e.retry(ctx, func() error { return e.rotateAll(ctx, []*operation{op}) }))
}

func (op *operation) finish(err error) {
	switch {
	case err != nil:
		op.err = fmt.Errorf("rotate a grant: %w", err)
	case !op.step.swap.done:
		op.err = session.ErrLost
	}
	close(op.done)
}

// lockWait is how long many wait for the row of one.
const lockWait = "100ms"

// rotateAll is one round trip, and what it sends is one transaction. All is committed,
// or nothing; if the connection broke, nobody knows.
func (e *postgresEngine) rotateAll(ctx context.Context, batch []*operation) error {
	n := len(batch)
	var wait any
	if n > 1 {
		wait = lockWait
	}
	ids, generations, seen := make([]string, n), make([]int64, n), make([]bool, n)
	presented, next := make([][]byte, n), make([][]byte, n)
	salts, rotations := make([][]byte, n), make([][]byte, n)
	for i, op := range batch {
		w := op.step.swap
		ids[i], generations[i], seen[i] = w.GrantID, int64(w.Generation), w.Seen
		presented[i], next[i], salts[i], rotations[i] = w.Presented[:], w.Next[:], w.Salt[:], w.rotations
	}
	rows, err := e.pool.Query(ctx, rotateMany, batch[n-1].step.swap.clock, wait, ids, generations, presented, next, salts, rotations, seen)
	if err != nil {
		return err
	}
	rotated, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, op := range batch {
		op.step.swap.done = slices.Contains(rotated, op.step.swap.GrantID)
	}
	return nil
}
