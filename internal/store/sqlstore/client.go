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

const clientColumns = `c.id, c.first_party, c.pairwise, c.audiences, c.scopes, c.access_ms, c.disabled, c.over_before`

// clientFields receives clientColumns.
type clientFields struct {
	terms             session.ClientTerms
	audiences, scopes string
	access            int64
}

func (f *clientFields) dest() []any {
	t := &f.terms
	return []any{&t.ID, &t.FirstParty, &t.Pairwise, &f.audiences, &f.scopes, &f.access, &t.Disabled, &t.OverBefore}
}

func (f *clientFields) value() session.ClientTerms {
	f.terms.Audiences, f.terms.Scopes = splitList(f.audiences), splitList(f.scopes)
	f.terms.Access = time.Duration(f.access) * time.Millisecond
	return f.terms
}
