package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/session"
)

// live says that a session s of the account a is not over at t.now: the rule of
// the package session, repeated where a decision and a write are one step. It
// wants the tables of liveTables. The issuer's one row is asked for by its id: see
// storeTime.
const live = `i.id = 1 AND s.ended_at IS NULL AND NOT s.closed AND NOT a.disabled
	AND s.expires_at > t.now AND s.last_seen_at + s.idle_ms > t.now
	AND s.created_at / 1000 > a.over_before AND s.created_at / 1000 > i.over_before`

const liveTables = `session s JOIN account a ON a.id = s.account_id CROSS JOIN issuer i CROSS JOIN ` + storeTime

var terms = `
	SELECT ` + userColumns("a.") + `, ` + clientColumns + `, i.over_before, t.now
	FROM account a CROSS JOIN client c CROSS JOIN issuer i CROSS JOIN ` + storeTime + `
	WHERE i.id = 1 AND a.id = $2 AND c.id = $3`

// Terms reads what decides before there is a session. See [session.Store].
func (db *DB) Terms(ctx context.Context, userID, clientID string) (session.Standing, error) {
	defer db.measure("terms", time.Now())
	var st session.Standing
	var user, client string
	var now int64
	err := db.engine.read().one(ctx, terms, []any{db.clock(), userID, clientID}, &user, &client, &st.OverBefore, &now)
	if errors.Is(err, sql.ErrNoRows) {
		return session.Standing{}, session.ErrNone
	}
	if err != nil {
		return session.Standing{}, fmt.Errorf("read the terms of a session: %w", err)
	}
	st.Now = instant(now)
	return st, unpackTerms(&st, user, client)
}

func unpackTerms(st *session.Standing, user, client string) (err error) {
	if st.User, err = unpackUser(user); err == nil {
		st.Client, err = unpackClient(client)
	}
	return err
}

// sessionColumns are of a session s and its user a. A session whose user was ended
// counts as ended by itself where it began after what the user's OverBefore says.
var sessionColumns = packed([]string{
	"s.created_at", "s.last_seen_at", "s.idle_ms", "s.expires_at", "s.auth_time", "s.remember", "s.changed_before",
	`COALESCE(CASE WHEN s.closed AND s.ended_at IS NULL AND s.created_at / 1000 > a.over_before THEN s.created_at ELSE s.ended_at END, -1)`,
}, []string{"s.id", "s.account_id", "s.amr", "s.acr", "s.ip", "s.user_agent", "s.device", "s.client_id", "s.end_reason"}) + `, s.secret_hash`

// unpackSession reads sessionColumns.
func unpackSession(text string, secret []byte) (session.Session, error) {
	var s session.Session
	var amr string
	u := unpacker{rest: text}
	s.CreatedAt, s.LastSeenAt = instant(u.number()), instant(u.number())
	s.Idle, s.ExpiresAt = time.Duration(u.number())*time.Millisecond, instant(u.number())
	s.AuthTime, s.Remember, s.ChangedBefore, s.EndedAt = u.number(), u.flag(), u.number(), maybe(u.number())
	err := u.texts(&s.ID, &s.UserID, &amr, &s.ACR, &s.IP, &s.UserAgent, &s.Device, &s.ClientID, &s.EndReason)
	s.AMR = splitList(amr)
	copy(s.SecretHash[:], secret)
	return s, err
}

var ofSession = `
	SELECT ` + sessionColumns + `, ` + userColumns("a.") + `, ` + clientColumns + `, ` + grantColumns + `, i.over_before, t.now
	FROM session s JOIN account a ON a.id = s.account_id
	LEFT JOIN client c ON c.id = 'first-party'
	LEFT JOIN session_grant g ON g.session_id = s.id AND g.client_id = 'first-party'
	CROSS JOIN issuer i CROSS JOIN ` + storeTime + `
	WHERE i.id = 1 AND s.id = $2`

// OfSession reads a session. See [session.Store].
func (db *DB) OfSession(ctx context.Context, id string) (session.Standing, error) {
	defer db.measure("of_session", time.Now())
	return db.standing(ctx, ofSession, id)
}

var ofGrant = `
	SELECT ` + sessionColumns + `, ` + userColumns("a.") + `, ` + clientColumns + `, ` + grantColumns + `, i.over_before, t.now
	FROM session_grant g JOIN session s ON s.id = g.session_id JOIN account a ON a.id = s.account_id
	JOIN client c ON c.id = g.client_id
	CROSS JOIN issuer i CROSS JOIN ` + storeTime + `
	WHERE i.id = 1 AND g.id = $2`

// OfGrant reads a grant with its session. See [session.Store].
func (db *DB) OfGrant(ctx context.Context, id string) (session.Standing, error) {
	defer db.measure("of_grant", time.Now())
	return db.standing(ctx, ofGrant, id)
}

// standing reads a standing, and before it whatever else the query begins with.
func (db *DB) standing(ctx context.Context, query, id string, more ...any) (session.Standing, error) {
	var st session.Standing
	var held, user, client string
	var secret []byte
	var grant grantFields
	var now int64
	err := db.engine.read().one(ctx, query, []any{db.clock(), id}, append(more, &held, &secret, &user, &client,
		&grant.record, &grant.hash, &grant.salt, &grant.rotations, &st.OverBefore, &now)...)
	if errors.Is(err, sql.ErrNoRows) {
		return session.Standing{}, session.ErrNone
	}
	if err == nil {
		st.Session, err = unpackSession(held, secret)
	}
	if err == nil {
		err = unpackTerms(&st, user, client)
	}
	if err == nil {
		st.Grant, err = grant.value()
	}
	if err != nil {
		return session.Standing{}, fmt.Errorf("read a standing: %w", err)
	}
	st.Now = instant(now)
	return st, nil
}

const addSession = `
	INSERT INTO session (id, account_id, secret_hash, created_at, last_seen_at, idle_ms, expires_at, auth_time,
		amr, acr, ip, user_agent, device, remember, changed_before, sweep_at)
	SELECT $1, a.id, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17
	FROM account a CROSS JOIN client c CROSS JOIN issuer i
	WHERE i.id = 1 AND a.id = $2 AND c.id = $3 AND NOT a.disabled AND NOT c.disabled
		AND (a.over_before + 1) * 1000 <= $5 AND (c.over_before + 1) * 1000 <= $5 AND (i.over_before + 1) * 1000 <= $5`

const oldestBeyond = `
	SELECT s.id FROM ` + liveTables + `
	WHERE s.account_id = $2 AND s.id <> $3 AND s.client_id = '' AND ` + live + `
	ORDER BY s.created_at DESC, s.id DESC LIMIT 1000 OFFSET $4`

// Add adds a session with its first grant. See [session.Store].
func (db *DB) Add(ctx context.Context, begun session.Session, g session.Grant, limit int, e audit.Entry, notices ...mail.Message) error {
	amr, err := joinList(begun.AMR)
	if err != nil {
		return fmt.Errorf("write methods: %w", err)
	}
	return db.step(ctx, "add_session", func(s *step) error {
		if limit > 0 { // of two that are added at once, the later one has to see the other
			if _, err := s.holdUser(begun.UserID); errors.Is(err, account.ErrNoUser) {
				return session.ErrLost
			} else if err != nil {
				return err
			}
		}
		ends := min(begun.ExpiresAt.UnixMilli(), begun.LastSeenAt.Add(begun.Idle).UnixMilli())
		n, err := s.exec(addSession, begun.ID, begun.UserID, g.ClientID, begun.SecretHash[:], begun.CreatedAt.UnixMilli(),
			begun.LastSeenAt.UnixMilli(), begun.Idle.Milliseconds(), begun.ExpiresAt.UnixMilli(), begun.AuthTime,
			amr, begun.ACR, begun.IP, begun.UserAgent, begun.Device, begun.Remember, begun.ChangedBefore, ends)
		if err != nil {
			return fmt.Errorf("add a session: %w", err)
		}
		if n == 0 {
			return session.ErrLost
		}
		if err := s.addGrant(g); err != nil {
			return err
		}
		s.audit(e)
		s.post(notices...)
		if limit > 0 {
			return s.endBeyond(limit, begun)
		}
		return nil
	})
}

// endBeyond ends the oldest sessions of the user of the newest.
func (s *step) endBeyond(limit int, newest session.Session) error {
	surplus, err := s.ids(oldestBeyond, s.at.UnixMilli(), newest.UserID, newest.ID, limit-1)
	if err != nil {
		return fmt.Errorf("find the oldest sessions: %w", err)
	}
	_, err = s.endEach(surplus, "max")
	return err
}

const renewSession = `
	UPDATE session AS s SET secret_hash = $2, amr = $3, acr = $4, auth_time = $5
	FROM account a, issuer i, ` + storeTime + `
	WHERE s.id = $6 AND s.secret_hash = $7 AND a.id = s.account_id AND ` + live

// Renew gives a session a new secret. See [session.Store].
func (db *DB) Renew(ctx context.Context, r session.Renewal, e audit.Entry) error {
	amr, err := joinList(r.AMR)
	if err != nil {
		return fmt.Errorf("write methods: %w", err)
	}
	return db.step(ctx, "renew_session", func(s *step) error {
		n, err := s.exec(renewSession, s.at.UnixMilli(), r.Next[:], amr, r.ACR, s.at.Unix(), r.SessionID, r.Presented[:])
		if err != nil {
			return fmt.Errorf("renew a session: %w", err)
		}
		if n == 0 {
			return session.ErrLost
		}
		s.end(feed.Changed, r.SessionID, "renewed")
		s.audit(e)
		return nil
	})
}

var listedColumns = `
	SELECT ` + sessionColumns + `, a.email, COALESCE((
		SELECT string_agg(g.client_id, ' ') FROM session_grant g JOIN client c ON c.id = g.client_id
		WHERE g.session_id = s.id AND g.ended_at IS NULL AND NOT c.disabled
			AND g.created_at / 1000 > c.over_before), '')
	FROM ` + liveTables + ` WHERE s.id < $2 AND s.client_id = '' AND ` + live

var listSessions = listedColumns + ` ORDER BY s.id DESC LIMIT $3`

var listSessionsOfUser = listedColumns + ` AND s.account_id = $4 ORDER BY s.id DESC LIMIT $3`

// aboveIDs lies above every id.
const aboveIDs = "~"

// List lists live sessions. See [session.Store].
func (db *DB) List(ctx context.Context, userID, before string, limit int) ([]session.Listed, error) {
	defer db.measure("list_sessions", time.Now())
	if before == "" {
		before = aboveIDs
	}
	query, args := listSessions, []any{db.clock(), before, limit}
	if userID != "" {
		query, args = listSessionsOfUser, append(args, userID)
	}
	rows, err := db.engine.read().QueryContext(ctx, query, args...)
	return collect(rows, err, func(r row) (session.Listed, error) {
		var l session.Listed
		var held, clients string
		var secret []byte
		err := r.Scan(&held, &secret, &l.Email, &clients)
		if err == nil {
			l.Session, err = unpackSession(held, secret)
		}
		l.Clients = strings.Fields(clients)
		slices.Sort(l.Clients)
		l.Clients = slices.Compact(l.Clients)
		return l, err
	})
}
