package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// ErrCarried means that a database is not to be used, because a move into it has not
// finished, or because what it held was moved to another. The error says which.
var ErrCarried = errors.New("this database is not to be served")

// A transfer is the mark that a move leaves: on the target from its beginning, so that
// nobody serves half of a database, and on the source from its end, so that nobody
// serves a second one.
type transfer struct {
	role        string // source or target
	peer        string // the other database, without a password
	fingerprint string // of what is carried
	begun       time.Time
	finished    time.Time // zero: it goes on
}

const readTransfer = `SELECT role, peer, fingerprint, begun_at, COALESCE(finished_at, -1) FROM transfer`

func findTransfer(ctx context.Context, run runner) (t transfer, found bool, err error) {
	var begun, finished int64
	err = run.QueryRowContext(ctx, readTransfer).Scan(&t.role, &t.peer, &t.fingerprint, &begun, &finished)
	if errors.Is(err, sql.ErrNoRows) {
		return transfer{}, false, nil
	}
	if err != nil {
		return transfer{}, false, fmt.Errorf("look for the mark of a move: %w", err)
	}
	t.begun, t.finished = instant(begun), maybe(finished)
	return t, true, nil
}

// checkTransfer refuses a database that half of another was moved to, or all of which
// was moved away.
func (db *DB) checkTransfer(ctx context.Context) error {
	t, found, err := findTransfer(ctx, db.engine.read())
	switch {
	case err != nil || !found:
		return err
	case t.role == "source":
		return fmt.Errorf("%w: it was moved to %s on %s, and is kept as it was then. Serve that one; to go back to this one, see docs/moving.md",
			ErrCarried, t.peer, t.begun.Format(time.DateTime))
	case t.finished.IsZero():
		return fmt.Errorf("%w: the move from %s, which began on %s, has not finished. Run coatcheck move once more, and it goes on; to give it up, serve the old database and drop this one",
			ErrCarried, t.peer, t.begun.Format(time.DateTime))
	}
	return nil
}

const addTransfer = `
	INSERT INTO transfer (id, role, peer, fingerprint, begun_at, finished_at) VALUES (1, $1, $2, $3, $4, $5)
	ON CONFLICT (id) DO UPDATE SET role = excluded.role, peer = excluded.peer, fingerprint = excluded.fingerprint,
		begun_at = excluded.begun_at, finished_at = excluded.finished_at`

// markTransfer puts a mark in the place of the one before.
func (s *step) markTransfer(t transfer) error {
	if _, err := s.exec(addTransfer, t.role, t.peer, t.fingerprint, t.begun.UnixMilli(), orNull(t.finished)); err != nil {
		return fmt.Errorf("leave the mark of a move: %w", err)
	}
	return nil
}
