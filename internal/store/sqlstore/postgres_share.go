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
	perform func([]*operation)
	under   chan struct{} // a place for each batch under way
}

const (
	// shareFor is how long the next batch gathers at most while one is under way.
	shareFor = 5 * time.Millisecond
	// mostUnderWay leaves half of the connections to others.
	mostUnderWay = poolSize / 4
)

var errBusy = fmt.Errorf("%w: too many wait for the database", fault.ErrUnavailable)

func share(perform func([]*operation)) *sharing {
	s := &sharing{newBatcher(), perform, make(chan struct{}, mostUnderWay)}
	s.idle.Go(func() { s.each(s.begin) })
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
	batch = slices.Clone(batch)
	done := make(chan struct{})
	s.under <- struct{}{}
	s.idle.Go(func() {
		s.perform(batch)
		<-s.under
		close(done)
	})
	late := time.NewTimer(shareFor)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
	}
}

// sharedSizes are the numbers of rows for which there is a text; the rest is padding.
var sharedSizes = [...]int{1, 2, 4, 8, 16, 32, 64}

const mostShared = 64

// sizeFor returns the index of the text for n rows.
func sizeFor(n int) int {
	return slices.IndexFunc(sharedSizes[:], func(size int) bool { return size >= n })
}

// A lookUpKind is a query of one row by an id, as texts for so many ids as sharedSizes
// says, with the id as a further column in front.
type lookUpKind struct{ texts [len(sharedSizes)]string }

// lookUps are the queries that can be asked for many ids at once, by their own text.
var lookUps = map[string]*lookUpKind{
	ofSession: newLookUpKind(ofSession, "s.id"),
	ofGrant:   newLookUpKind(ofGrant, "g.id"),
	ofCode:    newLookUpKind(ofCode, "k.id"),
	ofClient:  newLookUpKind(ofClient, "c.id"),
}

// newLookUpKind makes the kind of a query that ends in WHERE, the column and = $2.
func newLookUpKind(query, column string) *lookUpKind {
	kind := new(lookUpKind)
	for i, size := range sharedSizes {
		var ids strings.Builder
		for n := range size {
			fmt.Fprintf(&ids, ", $%d", n+2)
		}
		many := strings.TrimSuffix(query, " = $2") + " IN (" + ids.String()[2:] + ")"
		kind.texts[i] = strings.Replace(many, "SELECT ", "SELECT "+column+", ", 1)
	}
	return kind
}

// A look is somebody's look-up.
type look struct {
	kind  *lookUpKind
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
		return strings.Compare(a.step.look.kind.texts[0], b.step.look.kind.texts[0])
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
		kind := rest[0].step.look.kind
		n := 1
		for n < min(len(rest), mostShared) && rest[n].step.look.kind == kind {
			n++
		}
		part := rest[:n]
		parts, rest = append(parts, part), rest[n:]
		size := sizeFor(n)
		args := append(make([]any, 0, 1+sharedSizes[size]), part[n-1].step.look.clock)
		for i := range sharedSizes[size] {
			args = append(args, part[min(i, n-1)].step.look.id)
		}
		queries.Queue(kind.texts[size], args...)
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

// holdMany and rotateMany are holdLive and rotateGrant for many grants at once, each row
// of VALUES being one: its id, the generation, the presented hash, and what is to be
// written. They travel together: whatever the first one does not hold was over, and is
// over for the second one, too.
func holdMany(n int) string {
	return `
	UPDATE session AS s
	SET last_seen_at = CASE WHEN v.column4 AND s.last_seen_at < t.now THEN t.now ELSE s.last_seen_at END
	FROM (VALUES ` + valuesOf(n, "TEXT", "BIGINT", "BYTEA", "BOOLEAN") + `) v, session_grant g, client c, account a, issuer i, ` + storeTime + `
	WHERE ` + rotatable + ` AND ` + live
}

func rotateMany(n int) string {
	return `
	UPDATE session_grant AS g
	SET generation = g.generation + 1, refresh_hash = v.column4, salt = v.column5, rotations = v.column6, rotated_at = t.now
	FROM (VALUES ` + valuesOf(n, "TEXT", "BIGINT", "BYTEA", "BYTEA", "BYTEA", "BYTEA") + `) v, session s, client c, account a, issuer i, ` + storeTime + `
	WHERE ` + rotatable + ` AND ` + live + `
	RETURNING g.id`
}

const rotatable = `g.id = v.column1 AND g.generation = v.column2 AND g.refresh_hash = v.column3 AND g.ended_at IS NULL
	AND c.id = g.client_id AND NOT c.disabled AND g.created_at / 1000 > c.over_before
	AND s.id = g.session_id AND a.id = s.account_id`

// valuesOf is n rows of parameters of these types, from $2 on.
func valuesOf(n int, types ...string) string {
	var list strings.Builder
	for row := range n {
		values := make([]string, len(types))
		for i, kind := range types {
			values[i] = fmt.Sprintf("CAST($%d AS %s)", row*len(types)+i+2, kind)
		}
		list.WriteString(", (" + strings.Join(values, ", ") + ")")
	}
	return list.String()[2:]
}

var heldTexts, rotatedTexts = textsOf(holdMany), textsOf(rotateMany)

func textsOf(text func(n int) string) (all [len(sharedSizes)]string) {
	for i, size := range sharedSizes {
		all[i] = text(size)
	}
	return all
}

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
			if len(now) == mostShared || len(now) > 0 && now[len(now)-1].step.swap.GrantID == op.step.swap.GrantID {
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
const lockWait = `SELECT set_config('lock_timeout', '100ms', TRUE)`

// rotateAll is one round trip, and what it sends is one transaction. All is committed,
// or nothing; if the connection broke, nobody knows.
func (e *postgresEngine) rotateAll(ctx context.Context, batch []*operation) error {
	size := sizeFor(len(batch))
	rows := sharedSizes[size]
	last := batch[len(batch)-1].step.swap
	held := append(make([]any, 0, 1+4*rows), last.clock)
	rotated := append(make([]any, 0, 1+6*rows), last.clock)
	for _, op := range batch {
		w := op.step.swap
		held = append(held, w.GrantID, int64(w.Generation), w.Presented[:], w.Seen)
		rotated = append(rotated, w.GrantID, int64(w.Generation), w.Presented[:], w.Next[:], w.Salt[:], w.rotations)
		w.done = false
	}
	for range rows - len(batch) {
		held = append(held, nil, nil, nil, nil)
		rotated = append(rotated, nil, nil, nil, nil, nil, nil)
	}
	var queries pgx.Batch
	if len(batch) > 1 {
		queries.Queue(lockWait)
	}
	queries.Queue(heldTexts[size], held...)
	queries.Queue(rotatedTexts[size], rotated...)
	var ids []string
	err := e.send(ctx, &queries, func(results pgx.BatchResults) error {
		for range queries.Len() - 1 {
			if _, err := results.Exec(); err != nil {
				return err
			}
		}
		rows, err := results.Query()
		if err != nil {
			return err
		}
		ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return err
	}
	for _, op := range batch {
		op.step.swap.done = slices.Contains(ids, op.step.swap.GrantID)
	}
	return nil
}
