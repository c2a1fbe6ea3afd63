package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/coatcheck/coatcheck/internal/session"
)

const readAttachment = `SELECT document, version FROM attachment WHERE session_id = $1`

// Attachment reads a document. See [session.AttachmentStore].
func (db *DB) Attachment(ctx context.Context, sessionID string) (document []byte, version int64, err error) {
	defer db.measure("read_attachment", time.Now())
	err = db.engine.read().QueryRowContext(ctx, readAttachment, sessionID).Scan(&document, &version)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read an attachment: %w", err)
	}
	return document, version, nil
}

const isLive = `SELECT count(*) FROM ` + liveTables + ` WHERE s.id = $2 AND ` + live

const firstAttachment = `
	INSERT INTO attachment (session_id, document, version) VALUES ($1, $2, 1) ON CONFLICT (session_id) DO NOTHING`

const swapAttachment = `UPDATE attachment SET document = $2, version = version + 1 WHERE session_id = $1 AND version = $3`

// SwapAttachment replaces a document. See [session.AttachmentStore].
func (db *DB) SwapAttachment(ctx context.Context, sessionID string, document []byte, version int64) (int64, error) {
	if document == nil {
		document = []byte{}
	}
	err := db.bare(ctx, "swap_attachment", func(s *step) error {
		var sessions int
		if err := s.row(isLive, db.clock(), sessionID).Scan(&sessions); err != nil {
			return fmt.Errorf("find a session: %w", err)
		}
		if sessions == 0 {
			return session.ErrNone
		}
		query, args := swapAttachment, []any{sessionID, document, version}
		if version == 0 {
			query, args = firstAttachment, args[:2]
		}
		n, err := s.exec(query, args...)
		if err != nil {
			return fmt.Errorf("write an attachment: %w", err)
		}
		if n == 0 {
			return session.ErrLost
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return version + 1, nil
}
