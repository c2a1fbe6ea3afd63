package sqlstore

import (
	"context"
	"fmt"
	"time"

	"github.com/coatcheck/coatcheck/internal/session"
)

const setTerms = `
	INSERT INTO client (id, first_party, pairwise, audiences, scopes, access_ms, disabled, over_before)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
	ON CONFLICT (id) DO UPDATE SET first_party = excluded.first_party, pairwise = excluded.pairwise,
		audiences = excluded.audiences, scopes = excluded.scopes, access_ms = excluded.access_ms`

// SetTerms adds or replaces a client's terms. See [session.UpkeepStore].
func (db *DB) SetTerms(ctx context.Context, t session.ClientTerms) error {
	audiences, err := joinList(t.Audiences)
	if err != nil {
		return fmt.Errorf("write the audiences of a client: %w", err)
	}
	scopes, err := joinList(t.Scopes)
	if err != nil {
		return fmt.Errorf("write the scopes of a client: %w", err)
	}
	_, err = db.change(ctx, "set_terms", setTerms, t.ID, t.FirstParty, t.Pairwise, audiences, scopes,
		t.Access.Milliseconds(), t.Disabled, t.OverBefore)
	if err != nil {
		return fmt.Errorf("set the terms of a client: %w", err)
	}
	return nil
}

var clientColumns = packed(
	[]string{"c.first_party", "c.pairwise", "c.access_ms", "c.disabled", "c.over_before"},
	[]string{"c.id", "c.audiences", "c.scopes"})

// unpackClient reads clientColumns.
func unpackClient(text string) (session.ClientTerms, error) {
	var t session.ClientTerms
	var audiences, scopes string
	u := unpacker{rest: text}
	t.FirstParty, t.Pairwise = u.flag(), u.flag()
	t.Access = time.Duration(u.number()) * time.Millisecond
	t.Disabled, t.OverBefore = u.flag(), u.number()
	err := u.texts(&t.ID, &audiences, &scopes)
	t.Audiences, t.Scopes = splitList(audiences), splitList(scopes)
	return t, err
}
