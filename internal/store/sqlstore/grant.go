package sqlstore

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/coatcheck/coatcheck/internal/session"
)

const grantColumns = `g.id, g.session_id, g.client_id, g.audience, g.scope, g.generation, g.refresh_hash, g.salt,
	g.rotated_at, g.rotations, g.created_at, g.ended_at, g.end_reason`

// grantFields receives grantColumns, or nulls where there is no grant.
type grantFields struct {
	id, sessionID, clientID, audience, scope, reason sql.NullString
	generation, rotated, created, ended              sql.NullInt64
	hash, salt, rotations                            []byte
}

func (f *grantFields) dest() []any {
	return []any{
		&f.id, &f.sessionID, &f.clientID, &f.audience, &f.scope, &f.generation, &f.hash, &f.salt,
		&f.rotated, &f.rotations, &f.created, &f.ended, &f.reason,
	}
}

func (f *grantFields) value() (session.Grant, error) {
	if !f.id.Valid {
		return session.Grant{}, nil
	}
	g := session.Grant{
		ID: f.id.String, SessionID: f.sessionID.String, ClientID: f.clientID.String,
		Audience: f.audience.String, Scope: f.scope.String, Generation: uint32(f.generation.Int64),
		RotatedAt: maybe(f.rotated), CreatedAt: maybe(f.created), EndedAt: maybe(f.ended), EndReason: f.reason.String,
	}
	copy(g.RefreshHash[:], f.hash)
	copy(g.Salt[:], f.salt)
	var err error
	if g.Rotations, err = unpackRotations(f.rotations); err != nil {
		return session.Grant{}, err
	}
	if len(g.Rotations) > 0 {
		g.Rotations[0].At = g.RotatedAt
	}
	return g, nil
}

// A rotation is kept as the hash of its key and eight bytes of milliseconds. The
// time of the newest stays open: the statement that writes it knows it, and keeps
// it in rotated_at.
const packedRotation = 32 + 8

func packRotations(rotations []session.Rotation) []byte {
	if len(rotations) == 0 {
		return nil
	}
	packed := make([]byte, 0, packedRotation*len(rotations))
	for i, r := range rotations {
		var at int64
		if i > 0 && !r.At.IsZero() {
			at = r.At.UnixMilli()
		}
		packed = append(packed, r.Key[:]...)
		packed = binary.BigEndian.AppendUint64(packed, uint64(at))
	}
	return packed
}

func unpackRotations(packed []byte) ([]session.Rotation, error) {
	if len(packed) == 0 {
		return nil, nil
	}
	if len(packed)%packedRotation != 0 {
		return nil, errors.New("the rotations of a grant are damaged")
	}
	rotations := make([]session.Rotation, len(packed)/packedRotation)
	for i := range rotations {
		one := packed[i*packedRotation:][:packedRotation]
		copy(rotations[i].Key[:], one)
		rotations[i].At = instant(int64(binary.BigEndian.Uint64(one[32:])))
	}
	return rotations, nil
}

const addGrant = `
	INSERT INTO session_grant (id, session_id, client_id, audience, scope, generation, refresh_hash, salt, rotated_at, rotations, created_at)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`

func (s *step) addGrant(g session.Grant) error {
	_, err := s.exec(addGrant, g.ID, g.SessionID, g.ClientID, g.Audience, g.Scope, int64(g.Generation),
		g.RefreshHash[:], g.Salt[:], orNull(g.RotatedAt), packRotations(g.Rotations), g.CreatedAt.UnixMilli())
	if err != nil {
		return fmt.Errorf("add a grant: %w", err)
	}
	return nil
}

// holdLive notes presence if $3 says so, and holds the row of a live session in any
// case: who ends it meanwhile waits, and who has ended it is seen.
const holdLive = `
	UPDATE session AS s
	SET last_seen_at = CASE WHEN $3 AND s.last_seen_at < t.now THEN t.now ELSE s.last_seen_at END
	FROM session_grant g, account a, issuer i, ` + storeTime + `
	WHERE g.id = $2 AND s.id = g.session_id AND a.id = s.account_id AND ` + live

const rotateGrant = `
	UPDATE session_grant AS g
	SET generation = g.generation + 1, refresh_hash = $5, salt = $6, rotations = $7, rotated_at = t.now
	FROM client c, ` + storeTime + `
	WHERE g.id = $2 AND g.generation = $3 AND g.refresh_hash = $4 AND g.ended_at IS NULL
		AND c.id = g.client_id AND NOT c.disabled AND g.created_at / 1000 > c.over_before`

// Rotate spends a generation. See [session.Store]. The session comes before the
// grant, as in every step, and both statements are conditions of one.
func (db *DB) Rotate(ctx context.Context, w session.Swap) error {
	return db.bare(ctx, "rotate", func(s *step) error {
		n, err := s.exec(holdLive, db.clock(), w.GrantID, w.Seen)
		if err == nil && n == 1 {
			n, err = s.exec(rotateGrant, db.clock(), w.GrantID, int64(w.Generation), w.Presented[:],
				w.Next[:], w.Salt[:], packRotations(w.Rotations))
		}
		if err != nil {
			return fmt.Errorf("rotate a grant: %w", err)
		}
		if n == 0 {
			return session.ErrLost
		}
		return nil
	})
}
