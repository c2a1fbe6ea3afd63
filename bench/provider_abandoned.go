package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"
)

// abandon begins a million flows that nobody goes on with, and returns the figures of
// what is left of them: how much more memory the server has, and how many rows more.
func (f *codeFlows) abandon(ctx context.Context, r *rig) ([]figure, error) {
	flows := 1_000_000
	if r.Quick {
		flows = 20_000
	}
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"client_id": {f.shop.ID}, "redirect_uri": {afterwards}, "response_type": {"code"}, "scope": {"openid"}, "state": {"s"}, "nonce": {"n"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	rows, err := f.rows(ctx)
	if err != nil {
		return nil, err
	}
	before, _, err := memory(f.PID())
	if err != nil {
		return nil, err
	}
	for begun := 0; begun < flows; {
		r.Note("provider: %d flows abandoned", begun)
		m, err := r.wrk(ctx, load{URL: f.URL + "/oauth2/authorize?" + q.Encode(), Connections: 32, Duration: min(10*time.Second, 10*r.slice())})
		if err != nil {
			return nil, fmt.Errorf("flows: %w", err)
		}
		begun += m.Requests
	}
	after, _, err := memory(f.PID())
	if err != nil {
		return nil, err
	}
	left, err := f.rows(ctx)
	if err != nil {
		return nil, err
	}
	name := "%s that %s flows leave which nobody went on with"
	return []figure{
		{Name: fmt.Sprintf(name, "memory", sizeText(flows)), Unit: "MiB", Ours: []float64{(after - before) / (1 << 20)}, Bar: bar{Limit: 32}},
		{Name: fmt.Sprintf(name, "rows", sizeText(flows)), Unit: "rows", Ours: []float64{float64(left - rows)}, Bar: bar{Nothing: true}},
	}, nil
}

// rows counts those of every table of the server's database but the counters of upkeep.
func (f *codeFlows) rows(ctx context.Context) (sum int64, err error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(f.Dir, "coatcheck.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, table := range []string{"authorization_code", "session", "session_grant", "consent", "audit", "revocation", "client_assertion", "logout_notice"} {
		var n int64
		if err := db.QueryRowContext(ctx, "SELECT count(*) FROM "+table).Scan(&n); err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
