package sqlstore

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// fill puts n users with all that belongs to them into a database, a row with an empty
// or odd value of every kind among them.
func fill(t *testing.T, db *DB, n int) {
	t.Helper()
	hash := make([]byte, 32)
	odd := "Zoë \"東京\"\t\\N \\. ' \n\u202e"
	now := time.Now().UnixMilli()
	must(t, db.bare(t.Context(), "fill", func(s *step) error {
		var failed error
		put := func(query string, args ...any) {
			if failed == nil {
				_, failed = s.exec(query, args...)
			}
		}
		put(`INSERT INTO client (id, first_party, pairwise, audiences, scopes, access_ms, disabled) VALUES ('first-party', TRUE, FALSE, 'a
b', '', 600000, FALSE)`)
		for i := range n {
			hash[0], hash[1] = byte(i), byte(i>>8)
			id := func(kind string) string { return fmt.Sprintf("%s_%06d", kind, i) }
			put(`INSERT INTO account (id, email, email_key, email_verified, name, roles, password, disabled, created_at)
				VALUES ($1, $2, $3, $4, $5, '', '', $6, $7)`, id("usr"), id("mail"), id("mail"), i%2 == 0, odd, i%3 == 0, now)
			put(`INSERT INTO session (id, account_id, secret_hash, created_at, last_seen_at, idle_ms, expires_at, auth_time, amr, acr, ip, user_agent, device, remember, ended_at, sweep_at)
				VALUES ($1, $2, $3, $4, $4, 604800000, $5, 1, 'pwd', 'aal1', '', $6, '', FALSE, $7, $4)`,
				id("ses"), id("usr"), hash, now, now+2592000000, odd, map[bool]any{true: now}[i%5 == 0])
			put(`INSERT INTO session_grant (id, session_id, client_id, audience, scope, generation, refresh_hash, salt, rotated_at, rotations, created_at)
				VALUES ($1, $2, 'first-party', '', '', 4294967295, $3, $4, $5, $6, $7)`,
				id("grt"), id("ses"), hash, hash[:16], map[bool]any{true: now}[i%2 == 0], map[bool]any{true: hash[:0], false: slices.Concat(hash, hash[:8])}[i%2 == 0], now)
			put(`INSERT INTO authorization_code (id, secret_hash, request_id, session_id, client_id, redirect_uri, challenge, audience, scope, nonce, claims, offline, created_at, expires_at)
				VALUES ($1, $2, $3, $4, 'first-party', $5, '', '', '', '', '', $6, $7, $7)`, id("cod"), hash, id("req"), id("ses"), odd, i%2 == 0, now)
			put(`INSERT INTO consent (id, account_id, client_id, scopes, audiences, given_at) VALUES ($1, $1, 'first-party', 'a', '', $2)`, id("usr"), now)
			put(`INSERT INTO client_assertion (id, expires_at) VALUES ($1, $2)`, id("jti"), now)
			put(`INSERT INTO logout_watch (grant_id, session_id, client_id, began_at, given_at, look_at) VALUES ($1, $2, 'first-party', 0, 1, $3)`, id("grt"), id("ses"), now)
			put(`INSERT INTO logout_notice (id, client_id, account_id, created_at, expires_at, due_at, failure) VALUES ($1, 'first-party', $2, $3, $3, $3, $4)`, id("grt"), id("usr"), now, odd)
			put(`INSERT INTO attachment (session_id, document, version) VALUES ($1, $2, 1)`, id("ses"), hash[:i%2*7])
			put(`INSERT INTO revocation (seq, bits, kind, subject, before_s, reason, at_s, until_s) VALUES ($1, 65535, 'session', $2, 0, '', 1, 9223372036854775807)`, i+1, id("ses"))
			put(`INSERT INTO audit (seq, at, event, outcome, actor, account_id, session_id, subject, ip, user_agent, request_id) VALUES ($1, $2, 'signed_in', 'ok', '', $3, '', '', '', $4, '')`, i+1, now, id("usr"), odd)
			put(`INSERT INTO outbox (id, kind, recipient, language, link_id, details, created_at, expires_at, due_at) VALUES ($1, 'notice', 'a@example.com', '', $2, '{}', $3, $3, $3)`, id("out"), strings.Repeat("l", i%2), now)
			put(`INSERT INTO link (id, kind, account_id, email, email_key, browser, name, password, roles, decoy, created_at, expires_at)
				VALUES ($1, 'sign_up', $2, 'x', 'x', $3, '', '', '', FALSE, $4, $5)`, id("lnk"), map[bool]any{true: id("usr")}[i%2 == 0], map[bool]any{true: hash}[i%2 == 1], now, now+3600000)
			put(`INSERT INTO api_key (id, name, scopes, hash, created_at) VALUES ($1, 'n', 's', $2, 1)`, id("api"), hash)
		}
		put(`UPDATE revocation_head SET seq = $1, bits = 65535`, n)
		put(`UPDATE audit_head SET seq = $1`, n)
		put(`UPDATE issuer SET seal = $1`, hash)
		put(`INSERT INTO setup (id, link, expires_at) VALUES (1, $1, $2)`, hash, now+3600000)
		return failed
	}))
}

// quiet is who hears of no progress.
func quiet(Progress) {}

// contents returns what the tables of a database hold, read as one moment.
func contents(t *testing.T, db *DB) []TableSum {
	t.Helper()
	sqlite := open(t, Options{URL: sqliteURL(t), Now: time.Now})
	tables, err := tablesOf(t.Context(), sqlite.engine.read())
	must(t, err)
	held, err := sums(t.Context(), db.engine.read(), tables, "", quiet)
	must(t, err)
	return held
}

// Every table of the schema is carried and compared, but those that belong to a
// database; and whatever is carried is of a type that can be.
func TestEveryTableIsCarried(t *testing.T) {
	db := open(t, Options{URL: sqliteURL(t), Now: time.Now})
	tables, err := tablesOf(t.Context(), db.engine.read())
	must(t, err)
	var names []string
	for _, table := range tables {
		names = append(names, table.name)
		for _, parent := range table.parents {
			if !slices.Contains(names, parent) {
				t.Errorf("%s comes before %s, which it refers to", table.name, parent)
			}
		}
		if table.key == "" {
			t.Errorf("%s has no key of one column, so that a move of it cannot be resumed", table.name)
		}
	}
	for _, want := range []string{"account", "session", "session_grant", "signing_key", "link", "outbox", "audit", "revocation", "revocation_head", "setup", "api_key", "attachment"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not carried", want)
		}
	}
	for _, name := range own {
		if slices.Contains(names, name) {
			t.Errorf("%s is carried", name)
		}
	}
}

// A sum tells two contents apart wherever they differ in a single value, and does not
// ask for the order of rows.
func TestSums(t *testing.T) {
	sum := func(rows ...[]any) string {
		s := summer{table: "t"}
		for _, row := range rows {
			s.add(row)
		}
		return s.sum().Checksum
	}
	one, two := []any{int64(1), "a", []byte("b"), true, nil}, []any{int64(2), "", []byte{}, false, nil}
	if sum(one, two) != sum(two, one) {
		t.Error("the order of rows matters")
	}
	seen := map[string]string{}
	for name, rows := range map[string][][]any{
		"none": {}, "one": {one}, "two": {two}, "both": {one, two}, "twice": {one, one},
		"another number": {{int64(3), "a", []byte("b"), true, nil}}, "another text": {{int64(1), "b", []byte("b"), true, nil}},
		"text for bytes": {{int64(1), "a", "b", true, nil}}, "a flag for none": {{int64(1), "a", []byte("b"), nil, nil}},
		"none for a flag": {{int64(1), "a", []byte("b"), true, false}}, "empty for none": {{int64(1), "a", []byte("b"), true, ""}},
		"shifted": {{int64(1), "ab", []byte(""), true, nil}},
	} {
		if other, found := seen[sum(rows...)]; found {
			t.Errorf("%s and %s have one sum", name, other)
		}
		seen[sum(rows...)] = name
	}
}

// What SQLite would keep in a column of another type is refused by name.
func TestAValueOfAnotherType(t *testing.T) {
	db := open(t, Options{URL: sqliteURL(t), Now: time.Now})
	tables, err := tablesOf(t.Context(), db.engine.read())
	must(t, err)
	must(t, db.bare(t.Context(), "test", func(s *step) error {
		_, err := s.exec(`INSERT INTO api_key (id, name, scopes, hash, created_at) VALUES ('k', x'00', '', zeroblob(32), 1)`)
		return err
	}))
	if _, err := sums(t.Context(), db.engine.read(), tables, "", quiet); err == nil || !strings.Contains(err.Error(), "read api_key: the column name, which is of type TEXT") {
		t.Errorf("bytes in a column of text: %v", err)
	}
}
