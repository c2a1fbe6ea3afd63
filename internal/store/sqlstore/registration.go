package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/oauth"
)

// A registration is what is kept of a client beside its terms.
type registration struct {
	Revision               int64           `json:"revision"`
	Name                   string          `json:"name"`
	Type                   string          `json:"type"`
	AuthMethod             string          `json:"auth_method"`
	SecretHash             []byte          `json:"secret_hash,omitempty"`
	JWKS                   json.RawMessage `json:"jwks,omitempty"`
	JWKSURI                string          `json:"jwks_uri,omitempty"`
	RedirectURIs           []string        `json:"redirect_uris,omitempty"`
	PostLogoutRedirectURIs []string        `json:"post_logout_redirect_uris,omitempty"`
	BackchannelLogoutURI   string          `json:"backchannel_logout_uri,omitempty"`
	HomeURI                string          `json:"client_uri,omitempty"`
	PolicyURI              string          `json:"policy_uri,omitempty"`
	TermsURI               string          `json:"tos_uri,omitempty"`
	Grants                 []string        `json:"grant_types"`
	AccessSeconds          int64           `json:"access_s,omitempty"`
	Trusted                bool            `json:"trusted,omitempty"`
	WithoutPKCE            bool            `json:"without_pkce,omitempty"`
}

// unlimitedAccess stands in the terms of a client that has no limit of its own: its tokens
// live as long as any.
const unlimitedAccess = 100 * 365 * 24 * time.Hour

// clientRow returns what is kept of a client, in the order of addClient from $2 on.
func clientRow(c *oauth.Client) ([]any, error) {
	r := registration{
		Revision: c.Revision, Name: c.Name, Type: string(c.Type), AuthMethod: string(c.AuthMethod),
		JWKS: c.JWKS, JWKSURI: c.JWKSURI, RedirectURIs: c.RedirectURIs, PostLogoutRedirectURIs: c.PostLogoutRedirectURIs,
		BackchannelLogoutURI: c.BackchannelLogoutURI, HomeURI: c.HomeURI, PolicyURI: c.PolicyURI, TermsURI: c.TermsURI,
		Grants: c.Grants, AccessSeconds: int64(c.AccessLifetime / time.Second), Trusted: c.Trusted, WithoutPKCE: c.WithoutPKCE,
	}
	if c.SecretHash != (credential.Hash{}) {
		r.SecretHash = c.SecretHash[:]
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write a registration: %w", err)
	}
	audiences, err := joinList(c.Audiences)
	if err != nil {
		return nil, fmt.Errorf("write the audiences of a client: %w", err)
	}
	scopes, err := joinList(c.Scopes)
	if err != nil {
		return nil, fmt.Errorf("write the scopes of a client: %w", err)
	}
	access := c.AccessLifetime
	if access == 0 {
		access = unlimitedAccess
	}
	return []any{
		c.Pairwise, audiences, scopes, access.Milliseconds(), c.Disabled, string(text), c.Sector,
		string(c.IDAlgorithm), c.BackchannelLogoutURI != "",
	}, nil
}

// A one is the row of a query that has one.
type one func(dest ...any) error

func (f one) Scan(dest ...any) error { return f(dest...) }

const registrationColumns = `c.id, c.pairwise, c.audiences, c.scopes, c.disabled, c.registration, c.sector, c.id_algorithm, c.created_at`

// registered are the clients that are there.
const registered = `c.registration <> '' AND c.removed_at IS NULL`

func scanClient(r row) (oauth.Client, error) { return scanClientAnd(r) }

// scanClientAnd reads registrationColumns and what stands behind them.
func scanClientAnd(from row, more ...any) (oauth.Client, error) {
	var c oauth.Client
	var audiences, scopes, text, algorithm string
	var created int64
	into := []any{&c.ID, &c.Pairwise, &audiences, &scopes, &c.Disabled, &text, &c.Sector, &algorithm, &created}
	if err := from.Scan(append(into, more...)...); err != nil {
		return oauth.Client{}, err
	}
	var r registration
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return oauth.Client{}, fmt.Errorf("read a registration: %w", errDamaged)
	}
	c.Revision, c.Name, c.Type, c.AuthMethod = r.Revision, r.Name, oauth.Type(r.Type), oauth.AuthMethod(r.AuthMethod)
	c.JWKS, c.JWKSURI, c.RedirectURIs, c.PostLogoutRedirectURIs = r.JWKS, r.JWKSURI, r.RedirectURIs, r.PostLogoutRedirectURIs
	c.BackchannelLogoutURI, c.HomeURI, c.PolicyURI, c.TermsURI = r.BackchannelLogoutURI, r.HomeURI, r.PolicyURI, r.TermsURI
	c.Grants, c.AccessLifetime = r.Grants, time.Duration(r.AccessSeconds)*time.Second
	c.Trusted, c.WithoutPKCE = r.Trusted, r.WithoutPKCE
	copy(c.SecretHash[:], r.SecretHash)
	c.Audiences, c.Scopes = splitList(audiences), splitList(scopes)
	c.IDAlgorithm, c.CreatedAt = jwt.Algorithm(algorithm), instant(created)
	return c, nil
}

const addClient = `
	INSERT INTO client (id, first_party, pairwise, audiences, scopes, access_ms, disabled, registration, sector, id_algorithm, told, created_at)
	VALUES ($1, FALSE, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
	ON CONFLICT (id) DO NOTHING`

// AddClient registers a client. See [oauth.ClientStore].
func (db *DB) AddClient(ctx context.Context, c oauth.Client, e audit.Entry) (oauth.Client, error) {
	c.Revision = 1
	row, err := clientRow(&c)
	if err != nil {
		return oauth.Client{}, err
	}
	err = db.step(ctx, "add_client", func(s *step) error {
		c.CreatedAt = s.at
		n, err := s.exec(addClient, append(append([]any{c.ID}, row...), s.at.UnixMilli())...)
		if err != nil {
			return fmt.Errorf("add a client: %w", err)
		}
		if n == 0 {
			return oauth.ErrClientChanged
		}
		s.audit(e)
		return nil
	})
	if err != nil {
		return oauth.Client{}, err
	}
	return c, nil
}

const findClient = `
	SELECT ` + registrationColumns + `, t.now FROM client c CROSS JOIN ` + storeTime + `
	WHERE c.id = $2 AND ` + registered

// FindClient reads a client. See [oauth.ClientStore].
func (db *DB) FindClient(ctx context.Context, id string) (oauth.Client, time.Time, error) {
	defer db.measure("find_client", time.Now())
	var now int64
	c, err := scanClientAnd(one(func(dest ...any) error {
		return db.engine.read().one(ctx, findClient, []any{db.clock(), id}, dest...)
	}), &now)
	if errors.Is(err, sql.ErrNoRows) {
		return oauth.Client{}, time.Time{}, oauth.ErrNoClient
	}
	if err != nil {
		return oauth.Client{}, time.Time{}, fmt.Errorf("find a client: %w", err)
	}
	return c, instant(now), nil
}

const listClients = `
	SELECT ` + registrationColumns + ` FROM client c WHERE c.id > $1 AND ` + registered + ` ORDER BY c.id LIMIT $2`

// Clients lists clients. See [oauth.ClientStore].
func (db *DB) Clients(ctx context.Context, after string, limit int) ([]oauth.Client, error) {
	defer db.measure("list_clients", time.Now())
	rows, err := db.engine.read().QueryContext(ctx, listClients, after, limit)
	return collect(rows, err, scanClient)
}

// holdRegistration changes nothing, so that no other step changes the row before this one
// is over, and what is read stays true.
const holdRegistration = `
	UPDATE client AS c SET disabled = c.disabled WHERE c.id = $1 AND ` + registered + ` RETURNING registration, disabled`

// holdRegistered returns the revision of a client, and whether it is disabled.
func (s *step) holdRegistered(id string) (revision int64, disabled bool, err error) {
	var text string
	err = s.row(holdRegistration, id).Scan(&text, &disabled)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, oauth.ErrNoClient
	}
	if err != nil {
		return 0, false, fmt.Errorf("hold a client: %w", err)
	}
	var r registration
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return 0, false, fmt.Errorf("read a registration: %w", errDamaged)
	}
	return r.Revision, disabled, nil
}

const changeClient = `
	UPDATE client SET pairwise = $2, audiences = $3, scopes = $4, access_ms = $5, disabled = $6,
		registration = $7, sector = $8, id_algorithm = $9, told = $10
	WHERE id = $1`

// ChangeClient changes a client. See [oauth.ClientStore].
func (db *DB) ChangeClient(ctx context.Context, c oauth.Client, e audit.Entry) (oauth.Client, error) {
	at := c.Revision
	c.Revision++
	row, err := clientRow(&c)
	if err != nil {
		return oauth.Client{}, err
	}
	err = db.step(ctx, "change_client", func(s *step) error {
		revision, disabled, err := s.holdRegistered(c.ID)
		if err != nil {
			return err
		}
		if revision != at {
			return oauth.ErrClientChanged
		}
		if _, err := s.exec(changeClient, append([]any{c.ID}, row...)...); err != nil {
			return fmt.Errorf("change a client: %w", err)
		}
		if c.Disabled && !disabled {
			s.end(feed.Client, c.ID, "disabled")
		} else {
			s.end(feed.Changed, c.ID, "client")
		}
		s.audit(e)
		return nil
	})
	if err != nil {
		return oauth.Client{}, err
	}
	return c, nil
}

// removeClient keeps the row, so that its id is never used again and what names it can
// still be read.
const removeClient = `
	UPDATE client SET registration = '', removed_at = $2, disabled = TRUE, told = FALSE WHERE id = $1`

// RemoveClient removes a client. See [oauth.ClientStore].
func (db *DB) RemoveClient(ctx context.Context, id string, e audit.Entry) error {
	return db.step(ctx, "remove_client", func(s *step) error {
		if _, _, err := s.holdRegistered(id); err != nil {
			return err
		}
		if _, err := s.exec(removeClient, id, s.at.UnixMilli()); err != nil {
			return fmt.Errorf("remove a client: %w", err)
		}
		s.end(feed.Client, id, "removed")
		s.audit(e)
		return nil
	})
}

const spendAssertion = `
	INSERT INTO client_assertion (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`

// SpendAssertion spends an assertion. See [oauth.AssertionStore].
func (db *DB) SpendAssertion(ctx context.Context, id string, expires time.Time) error {
	n, err := db.change(ctx, "spend_assertion", spendAssertion, id, expires.UnixMilli())
	if err != nil {
		return fmt.Errorf("spend an assertion: %w", err)
	}
	if n == 0 {
		return oauth.ErrSpent
	}
	return nil
}

func sweepAssertions(limit int) string {
	return fmt.Sprintf(`DELETE FROM client_assertion WHERE id IN (
		SELECT id FROM client_assertion WHERE expires_at <= $1 ORDER BY expires_at LIMIT %d)`, limit)
}

// SweepAssertions removes assertions that have expired. See [oauth.AssertionStore].
func (db *DB) SweepAssertions(ctx context.Context, limit int) (removed int, more bool, err error) {
	err = db.step(ctx, "sweep_assertions", func(s *step) error {
		n, err := s.exec(sweepAssertions(limit), s.at.UnixMilli())
		if err != nil {
			return fmt.Errorf("sweep assertions: %w", err)
		}
		removed, more = int(n), n >= int64(limit)
		return nil
	})
	if err != nil {
		return 0, false, err
	}
	return removed, more, nil
}
