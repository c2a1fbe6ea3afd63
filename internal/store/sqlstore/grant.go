package sqlstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/coatcheck/coatcheck/internal/session"
)

// grantColumns tell of generation -1 where there is no grant. -1 stands for no time.
var grantColumns = packed(
	[]string{"COALESCE(g.generation, -1)", "COALESCE(g.rotated_at, -1)", "COALESCE(g.created_at, -1)", "COALESCE(g.ended_at, -1)"},
	[]string{"g.id", "g.session_id", "g.client_id", "g.audience", "g.scope", "g.claims", "g.end_reason"}) +
	`, g.refresh_hash, g.salt, g.rotations`

// grantFields receives grantColumns.
type grantFields struct {
	record                string
	hash, salt, rotations []byte
}

func (f *grantFields) value() (session.Grant, error) {
	var g session.Grant
	u := unpacker{rest: f.record}
	generation := u.number()
	if generation < 0 {
		return g, nil
	}
	g.Generation, g.RotatedAt = uint32(generation), maybe(u.number())
	g.CreatedAt, g.EndedAt = maybe(u.number()), maybe(u.number())
	if err := u.texts(&g.ID, &g.SessionID, &g.ClientID, &g.Audience, &g.Scope, &g.Claims, &g.EndReason); err != nil {
		return session.Grant{}, err
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
	INSERT INTO session_grant (id, session_id, client_id, audience, scope, generation, refresh_hash, salt, rotated_at, rotations, created_at, claims)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`

func (s *step) addGrant(g session.Grant) error {
	err := s.later(addGrant, g.ID, g.SessionID, g.ClientID, g.Audience, g.Scope, int64(g.Generation),
		g.RefreshHash[:], g.Salt[:], orNull(g.RotatedAt), packRotations(g.Rotations), g.CreatedAt.UnixMilli(), g.Claims)
	if err != nil {
		return fmt.Errorf("add a grant: %w", err)
	}
	if g.ClientID == session.FirstParty {
		return nil
	}
	if err := s.later(watchGrant, g.ID); err != nil {
		return fmt.Errorf("watch a grant: %w", err)
	}
	return nil
}

// holdLive notes presence if $5 says so, and holds the row of a live session in any
// case: who ends it meanwhile waits, and who has ended it is seen. It finds no session
// where the grant cannot be rotated, so that in a transaction of its own, or with no
// other writer, rotateGrant succeeds after it.
const holdLive = `
	UPDATE session AS s
	SET last_seen_at = (SELECT CASE WHEN $5 AND s.last_seen_at < t.now THEN t.now ELSE s.last_seen_at END FROM ` + storeTime + `)
	WHERE s.id = (SELECT g.session_id FROM session_grant g JOIN client c ON c.id = g.client_id
			WHERE g.id = $2 AND g.generation = $3 AND g.refresh_hash = $4 AND g.ended_at IS NULL
				AND NOT c.disabled AND g.created_at / 1000 > c.over_before)
		AND EXISTS (SELECT 1 FROM account a CROSS JOIN issuer i CROSS JOIN ` + storeTime + ` WHERE a.id = s.account_id AND ` + live + `)`

const rotateGrant = `
	UPDATE session_grant AS g
	SET generation = g.generation + 1, refresh_hash = $5, salt = $6, rotations = $7,
		rotated_at = (SELECT t.now FROM ` + storeTime + `)
	WHERE g.id = $2 AND g.generation = $3 AND g.refresh_hash = $4 AND g.ended_at IS NULL AND EXISTS (
		SELECT 1 FROM client c WHERE c.id = g.client_id AND NOT c.disabled AND g.created_at / 1000 > c.over_before)`

// Rotate spends a generation. See [session.Store]. The session comes before the
// grant, as in every step, and both statements are conditions of one.
func (db *DB) Rotate(ctx context.Context, w session.Swap) error {
	defer db.measure("rotate", time.Now())
	rotations := packRotations(w.Rotations)
	s := &step{db: db, name: "rotate", bare: true, lean: true, swap: &swapping{Swap: w, clock: db.clock(), rotations: rotations}}
	s.body = func(s *step) error {
		n, err := s.exec(holdLive, db.clock(), w.GrantID, int64(w.Generation), w.Presented[:], w.Seen)
		if err == nil && n == 1 {
			n, err = s.exec(rotateGrant, db.clock(), w.GrantID, int64(w.Generation), w.Presented[:],
				w.Next[:], w.Salt[:], rotations)
		}
		if err != nil {
			return fmt.Errorf("rotate a grant: %w", err)
		}
		if n == 0 {
			return session.ErrLost
		}
		return nil
	}
	return db.noticed(db.engine.write(ctx, s))
}
