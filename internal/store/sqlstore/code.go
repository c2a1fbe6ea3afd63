package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/session"
)

const addCode = `
	INSERT INTO authorization_code (id, secret_hash, request_id, session_id, client_id, redirect_uri, challenge, audience,
		scope, nonce, claims, offline, created_at, expires_at)
	SELECT $2, $3, $4, s.id, c.id, $7, $8, $9, $10, $11, $12, $13, t.now, t.now + $14
	FROM ` + liveTables + ` CROSS JOIN client c
	WHERE s.id = $5 AND c.id = $6 AND NOT c.disabled AND t.now / 1000 > c.over_before AND ` + live + `
		AND $15 > (SELECT count(*) FROM authorization_code k WHERE k.session_id = $5 AND k.spent_at IS NULL)
	ON CONFLICT (request_id) DO NOTHING`

const removeOldCodes = `
	DELETE FROM authorization_code WHERE id IN (
		SELECT k.id FROM authorization_code k WHERE k.session_id = $1 AND k.spent_at IS NULL
		ORDER BY k.created_at DESC, k.id DESC LIMIT 1000 OFFSET $2)`

const isAnswered = `SELECT count(*) FROM authorization_code WHERE request_id = $1`

// AddCode adds an authorization code. See [session.CodeStore]. In most cases that is
// one statement: a session has few codes that wait.
func (db *DB) AddCode(ctx context.Context, c session.Code, life time.Duration, maxOpen int) error {
	args := []any{
		db.clock(), c.ID, c.SecretHash[:], c.RequestID, c.SessionID, c.ClientID, c.RedirectURI, c.Challenge, c.Audience,
		c.Scope, c.Nonce, c.Claims, c.Offline, life.Milliseconds(), maxOpen,
	}
	n, err := db.change(ctx, "add_code", addCode, args...)
	if err != nil {
		return fmt.Errorf("add a code: %w", err)
	}
	if n > 0 {
		return nil
	}
	return db.bare(ctx, "add_code_again", func(s *step) error {
		var answered int
		if err := s.scan(isAnswered, []any{c.RequestID}, &answered); err != nil {
			return fmt.Errorf("look whether a request was answered: %w", err)
		}
		if answered > 0 {
			return session.ErrAnswered
		}
		if err := s.later(removeOldCodes, c.SessionID, maxOpen-1); err != nil {
			return fmt.Errorf("remove the oldest codes: %w", err)
		}
		n, err := s.exec(addCode, args...)
		if err != nil {
			return fmt.Errorf("add a code: %w", err)
		}
		if n == 0 {
			return session.ErrLost
		}
		return nil
	})
}

var codeColumns = packed(
	[]string{"k.offline", "k.created_at", "k.expires_at", "COALESCE(k.spent_at, -1)"},
	[]string{"k.id", "k.request_id", "k.client_id", "k.redirect_uri", "k.challenge", "k.audience", "k.scope", "k.nonce", "k.claims", "k.grant_id"}) +
	`, k.secret_hash`

// unpackCode reads codeColumns, of a code of that session.
func unpackCode(text string, secret []byte, sessionID string) (session.Code, error) {
	c := session.Code{SessionID: sessionID}
	u := unpacker{rest: text}
	c.Offline, c.CreatedAt, c.ExpiresAt, c.SpentAt = u.flag(), instant(u.number()), instant(u.number()), maybe(u.number())
	err := u.texts(&c.ID, &c.RequestID, &c.ClientID, &c.RedirectURI, &c.Challenge, &c.Audience, &c.Scope, &c.Nonce, &c.Claims, &c.GrantID)
	copy(c.SecretHash[:], secret)
	return c, err
}

var ofCode = `
	SELECT ` + codeColumns + `, ` + sessionColumns + `, ` + userColumns("a.") + `, ` + clientColumns + `, ` + grantColumns + `, i.over_before, t.now
	FROM authorization_code k JOIN session s ON s.id = k.session_id JOIN account a ON a.id = s.account_id
	JOIN client c ON c.id = k.client_id LEFT JOIN session_grant g ON g.id = k.grant_id
	CROSS JOIN issuer i CROSS JOIN ` + storeTime + `
	WHERE i.id = 1 AND k.id = $2`

// OfCode reads a code with its standing. See [session.CodeStore].
func (db *DB) OfCode(ctx context.Context, id string) (session.Code, session.Standing, error) {
	defer db.measure("of_code", time.Now())
	var code string
	var hash []byte
	st, err := db.standing(ctx, ofCode, id, &code, &hash)
	if err != nil {
		return session.Code{}, session.Standing{}, err
	}
	c, err := unpackCode(code, hash, st.Session.ID)
	if err != nil {
		return session.Code{}, session.Standing{}, fmt.Errorf("read a code: %w", err)
	}
	return c, st, nil
}

// holdCodesUser and holdCodesSession hold the rows of the user and the session of a
// code: who ends them meanwhile waits, and who has ended them is seen.
const holdCodesUser = `
	UPDATE account SET name = name WHERE id = (
		SELECT s.account_id FROM authorization_code k JOIN session s ON s.id = k.session_id WHERE k.id = $1)`

const holdCodesSession = `
	UPDATE session SET closed = closed WHERE id = (SELECT k.session_id FROM authorization_code k WHERE k.id = $1)`

// spendCode also counts what the client draws on already: on this session, or for
// itself with this user. SQLite knows no alias of what is updated where it returns it.
const spendCode = `
	UPDATE authorization_code SET spent_at = t.now, grant_id = $3
	FROM client c, ` + liveTables + `
	WHERE authorization_code.id = $2 AND authorization_code.spent_at IS NULL AND authorization_code.expires_at > t.now
		AND s.id = authorization_code.session_id AND ` + live + `
		AND c.id = authorization_code.client_id AND NOT c.disabled AND authorization_code.created_at / 1000 > c.over_before
		AND (a.over_before + 1) * 1000 <= $4 AND (c.over_before + 1) * 1000 <= $4 AND (i.over_before + 1) * 1000 <= $4
	RETURNING authorization_code.spent_at,
		(SELECT count(*) FROM session_grant o
			WHERE o.session_id = authorization_code.session_id AND o.client_id = authorization_code.client_id AND o.ended_at IS NULL),
		(SELECT count(*) FROM session h JOIN session o ON o.account_id = h.account_id
			WHERE h.id = authorization_code.session_id AND o.client_id = authorization_code.client_id AND o.ended_at IS NULL AND NOT o.closed)`

const addOffline = `
	INSERT INTO session (id, account_id, secret_hash, created_at, last_seen_at, idle_ms, expires_at, auth_time,
		amr, acr, ip, user_agent, device, remember, changed_before, sweep_at, client_id)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`

// maxDrawn is how many live grants a client may have on one session, and how many live
// sessions of its own with one user.
const maxDrawn = 16

const surplusGrants = `
	SELECT g.id FROM session_grant g WHERE g.session_id = $1 AND g.client_id = $2 AND g.ended_at IS NULL AND g.id <> $3
	ORDER BY g.created_at DESC, g.id DESC LIMIT 1000 OFFSET $4`

const surplusOffline = `
	SELECT s.id FROM ` + liveTables + `
	WHERE s.account_id = $2 AND s.client_id = $3 AND s.id <> $4 AND ` + live + `
	ORDER BY s.created_at DESC, s.id DESC LIMIT 1000 OFFSET $5`

// Redeem spends a code. See [session.CodeStore].
func (db *DB) Redeem(ctx context.Context, codeID string, offline *session.Session, g session.Grant, e audit.Entry) error {
	amr := ""
	if offline != nil {
		var err error
		if amr, err = joinList(offline.AMR); err != nil {
			return fmt.Errorf("write methods: %w", err)
		}
	}
	return db.bare(ctx, "redeem", func(s *step) error {
		err := errors.Join(s.later(holdCodesUser, codeID), s.later(holdCodesSession, codeID))
		var now int64
		var grants, sessions int
		if err == nil {
			args := []any{db.clock(), codeID, g.ID, g.CreatedAt.UnixMilli()}
			err = s.scan(spendCode, args, &now, &grants, &sessions)
		}
		if errors.Is(err, sql.ErrNoRows) {
			return session.ErrLost
		}
		if err != nil {
			return fmt.Errorf("spend a code: %w", err)
		}
		s.at, s.dirty = instant(now), true
		if offline != nil {
			if err := s.addOffline(offline, amr); err != nil {
				return err
			}
		}
		if err := s.addGrant(g); err != nil {
			return err
		}
		s.audit(e)
		switch {
		case offline == nil && grants >= maxDrawn:
			return s.endSurplusGrants(g)
		case offline != nil && sessions >= maxDrawn:
			return s.endSurplusOffline(offline)
		}
		return nil
	})
}

// addOffline adds a session that is a client's own.
func (s *step) addOffline(o *session.Session, amr string) error {
	ends := min(o.ExpiresAt.UnixMilli(), o.LastSeenAt.Add(o.Idle).UnixMilli())
	err := s.later(addOffline, o.ID, o.UserID, o.SecretHash[:], o.CreatedAt.UnixMilli(), o.LastSeenAt.UnixMilli(),
		o.Idle.Milliseconds(), o.ExpiresAt.UnixMilli(), o.AuthTime, amr, o.ACR, o.IP, o.UserAgent, o.Device, o.Remember,
		o.ChangedBefore, ends, o.ClientID)
	if err != nil {
		return fmt.Errorf("add a session of a client: %w", err)
	}
	return nil
}

func (s *step) endSurplusGrants(newest session.Grant) error {
	surplus, err := s.ids(surplusGrants, newest.SessionID, newest.ClientID, newest.ID, maxDrawn-1)
	if err != nil {
		return fmt.Errorf("find the oldest grants of a client: %w", err)
	}
	for _, id := range surplus {
		if _, err := s.endGrant(id, "", "replaced"); err != nil {
			return err
		}
	}
	return nil
}

func (s *step) endSurplusOffline(newest *session.Session) error {
	surplus, err := s.ids(surplusOffline, s.at.UnixMilli(), newest.UserID, newest.ClientID, newest.ID, maxDrawn-1)
	if err != nil {
		return fmt.Errorf("find the oldest sessions of a client: %w", err)
	}
	_, err = s.endEach(surplus, "replaced")
	return err
}

// sweepCodes removes the first n codes that were made before $1.
func sweepCodes(n int) string {
	return `
	DELETE FROM authorization_code WHERE id IN (
		SELECT k.id FROM authorization_code k WHERE k.created_at < $1 ORDER BY k.created_at LIMIT ` + strconv.Itoa(n) + `)`
}

// SweepCodes removes old codes. See [session.CodeStore].
func (db *DB) SweepCodes(ctx context.Context, keep time.Duration, limit int) (removed int, more bool, err error) {
	var n int64
	err = db.step(ctx, "sweep_codes", func(s *step) (err error) {
		n, err = s.exec(sweepCodes(limit), s.at.Add(-keep).UnixMilli())
		if err != nil {
			return fmt.Errorf("sweep codes: %w", err)
		}
		return nil
	})
	if err != nil {
		return 0, false, err
	}
	return int(n), n >= int64(limit), nil
}

var ofClient = `
	SELECT ` + clientColumns + `, i.over_before, t.now
	FROM client c CROSS JOIN issuer i CROSS JOIN ` + storeTime + `
	WHERE i.id = 1 AND c.id = $2`

// OfClient reads what decides about a client. See [session.CodeStore].
func (db *DB) OfClient(ctx context.Context, id string) (session.Standing, error) {
	defer db.measure("of_client", time.Now())
	var st session.Standing
	var client string
	var now int64
	err := db.engine.read().one(ctx, ofClient, []any{db.clock(), id}, &client, &st.OverBefore, &now)
	if errors.Is(err, sql.ErrNoRows) {
		return session.Standing{}, session.ErrNone
	}
	if err == nil {
		st.Client, err = unpackClient(client)
	}
	if err != nil {
		return session.Standing{}, fmt.Errorf("read the terms of a client: %w", err)
	}
	st.Now = instant(now)
	return st, nil
}

var grantsOf = `
	SELECT ` + sessionColumns + `, ` + clientColumns + `, ` + grantColumns + `
	FROM ` + liveTables + ` JOIN session_grant g ON g.session_id = s.id JOIN client c ON c.id = g.client_id
	WHERE s.account_id = $2 AND ` + live + ` AND g.ended_at IS NULL AND NOT c.first_party AND NOT c.disabled
		AND g.created_at / 1000 > c.over_before
	ORDER BY g.created_at DESC, g.id DESC LIMIT $3`

// GrantsOf lists what applications may draw on a user's sessions. See [session.CodeStore].
func (db *DB) GrantsOf(ctx context.Context, userID string, limit int) ([]session.Standing, error) {
	defer db.measure("grants_of", time.Now())
	rows, err := db.engine.read().QueryContext(ctx, grantsOf, db.clock(), userID, limit)
	return collect(rows, err, func(r row) (st session.Standing, err error) {
		var held, client string
		var secret []byte
		var grant grantFields
		if err := r.Scan(&held, &secret, &client, &grant.record, &grant.hash, &grant.salt, &grant.rotations); err != nil {
			return st, err
		}
		if st.Session, err = unpackSession(held, secret); err == nil {
			st.Client, err = unpackClient(client)
		}
		if err == nil {
			st.Grant, err = grant.value()
		}
		return st, err
	})
}
