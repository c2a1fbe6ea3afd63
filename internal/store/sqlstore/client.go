package sqlstore

import (
	"context"
	"fmt"
	"time"

	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/session"
)

const setTerms = `
	INSERT INTO client (id, first_party, pairwise, audiences, scopes, access_ms, disabled, over_before, sector, id_algorithm, told)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
	ON CONFLICT (id) DO UPDATE SET first_party = excluded.first_party, pairwise = excluded.pairwise,
		audiences = excluded.audiences, scopes = excluded.scopes, access_ms = excluded.access_ms,
		sector = excluded.sector, id_algorithm = excluded.id_algorithm, told = excluded.told`

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
		t.Access.Milliseconds(), t.Disabled, t.OverBefore, t.Sector, string(t.IDAlgorithm), t.Told)
	if err != nil {
		return fmt.Errorf("set the terms of a client: %w", err)
	}
	return nil
}

var clientColumns = packed(
	[]string{"c.first_party", "c.pairwise", "c.told", "c.access_ms", "c.disabled", "c.over_before", "c.changed_before"},
	[]string{"c.id", "c.audiences", "c.scopes", "c.sector", "c.id_algorithm"})

// unpackClient reads clientColumns.
func unpackClient(text string) (session.ClientTerms, error) {
	var t session.ClientTerms
	var audiences, scopes, algorithm string
	u := unpacker{rest: text}
	t.FirstParty, t.Pairwise, t.Told = u.flag(), u.flag(), u.flag()
	t.Access = time.Duration(u.number()) * time.Millisecond
	t.Disabled, t.OverBefore, t.ChangedBefore = u.flag(), u.number(), u.number()
	err := u.texts(&t.ID, &audiences, &scopes, &t.Sector, &algorithm)
	t.IDAlgorithm = jwt.Algorithm(algorithm)
	t.Audiences, t.Scopes = splitList(audiences), splitList(scopes)
	return t, err
}
