package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver that fills the database

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/session"
)

// from is where the sessions of an experiment come from.
var from = audit.Origin{
	IP: "192.0.2.7", UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", RequestID: "bench-request",
}

// quickHash makes one account in a moment: nobody signs in to it.
var quickHash = account.HashParameters{MemoryKiB: 64, Time: 1, Threads: 1}

// settings are those of a server under load in this process: its sessions stay
// remembered for as long as an experiment takes.
func settings(dir, address string) map[string]string {
	return map[string]string{
		"public_url": "http://" + address, "listen": address, "database": "sqlite:" + filepath.Join(dir, "coatcheck.db"),
		"token.access": "12h",
	}
}

// openApp opens the server whose database is in dir.
func openApp(ctx context.Context, dir, address string) (*app.App, error) {
	config, err := app.Configure(settings(dir, address))
	if err != nil {
		return nil, err
	}
	return app.New(ctx, app.Options{Config: config, Hash: &quickHash})
}

// fill makes a database in dir with n people, each with a live session: one signs
// up, and the others are rows like theirs. It returns the cookies in random order.
func fill(ctx context.Context, dir, address string, n int) ([]string, error) {
	a, err := openApp(ctx, dir, address)
	if err != nil {
		return nil, err
	}
	first, err := signUp(ctx, a)
	if err = firstOf(err, a.Close()); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "coatcheck.db")+"?_pragma=synchronous(off)&_pragma=foreign_keys(0)&_pragma=cache_size(-200000)")
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	cookies := make([]string, 0, n)
	const batch = 10_000
	for at := 0; at < n; at += batch {
		some, err := multiply(ctx, db, &first, at, min(batch, n-at))
		if err != nil {
			return nil, err
		}
		cookies = append(cookies, some...)
	}
	shuffle(cookies)
	return cookies, nil
}

func signUp(ctx context.Context, a *app.App) (session.Standing, error) {
	proof, err := a.Accounts.SignUp(ctx, account.NewUser{Email: "first@example.com", Name: "Ada Lovelace", Password: "correct horse battery"}, from)
	if err != nil {
		return session.Standing{}, err
	}
	opened, err := a.Sessions.Begin(ctx, proof, session.Opening{From: from, Event: audit.SignedUp, Cookie: true, Tokens: true})
	return opened.Standing, err
}

// The rows that a person with a session has, as copies of the first one's. What is
// named here differs; every other column is copied.
var copies = []struct {
	table, template string
	changed         map[string]string
}{
	{"account", "usr", map[string]string{
		"id": `'usr_' || ordinal`, "email": `'person' || n || '@example.com'`, "email_key": `'person' || n || '@example.com'`, "email_verified": "TRUE",
	}},
	{"session", "ses", map[string]string{
		"id": `'ses_' || ordinal`, "account_id": `'usr_' || ordinal`, "secret_hash": `substr($2, 32 * i + 1, 32)`,
	}},
	{"session_grant", "grt", map[string]string{"id": `'grt_' || ordinal`, "session_id": `'ses_' || ordinal`}},
}

// multiply adds n people with a session each, numbered from at, and returns the
// cookies.
func multiply(ctx context.Context, db *sql.DB, first *session.Standing, at, n int) ([]string, error) {
	cookies := make([]string, n)
	hashes := make([]byte, 0, 32*n)
	for i := range n {
		secret := secretOf(at + i)
		hash := sha256.Sum256(secret[:])
		hashes = append(hashes, hash[:]...)
		cookies[i], _ = cookieOf(at + i)
	}
	ids := map[string]string{"usr": first.User.ID, "ses": first.Session.ID, "grt": first.Grant.ID}
	for _, c := range copies {
		columns, values, err := columnsOf(ctx, db, sqliteColumns, c.table, c.changed)
		if err != nil {
			return nil, err
		}
		// The id is what ordinalOf makes of the same numbers.
		query := `WITH RECURSIVE numbers (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < $1),
			named AS (SELECT i, i + $3 AS n, printf('0%09d', i + $3) || lower(hex(substr($2, 32 * i + 1, 8))) AS ordinal FROM numbers)
			INSERT INTO ` + c.table + ` (` + columns + `) SELECT ` + values + ` FROM named CROSS JOIN ` + c.table + ` t WHERE t.id = $4`
		if _, err := db.ExecContext(ctx, query, n, hashes, at, ids[c.template]); err != nil {
			return nil, fmt.Errorf("fill %s: %w", c.table, err)
		}
	}
	return cookies, nil
}

// ordinalOf is what follows an id's prefix: 26 characters, in order of n, with a tail
// as random as that of a real id.
func ordinalOf(n int, tail []byte) string { return fmt.Sprintf("0%09d", n) + hex.EncodeToString(tail) }

const sqliteColumns = `SELECT name FROM pragma_table_info($1)`

// columnsOf returns the columns of a table, as the query lists them, and what a row that
// is copied from t has there: the same, but for what is changed.
func columnsOf(ctx context.Context, db *sql.DB, list, table string, changed map[string]string) (columns, values string, err error) {
	rows, err := db.QueryContext(ctx, list, table)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = rows.Close() }()
	var names, exprs []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return "", "", err
		}
		expr := "t." + name
		if other := changed[name]; other != "" {
			expr = other
		}
		names, exprs = append(names, name), append(exprs, expr)
	}
	return strings.Join(names, ", "), strings.Join(exprs, ", "), rows.Err()
}

// shuffle puts the cookies into a random order that is the same each time.
func shuffle(cookies []string) {
	state := uint64(42)
	for i := len(cookies) - 1; i > 0; i-- {
		state = state*6364136223846793005 + 1442695040888963407
		j := int((state >> 33) % uint64(i+1))
		cookies[i], cookies[j] = cookies[j], cookies[i]
	}
}

// writeLines writes one line for each cookie.
func writeLines(path string, cookies []string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for _, c := range cookies {
		_, _ = w.WriteString(c + "\n") // Flush tells
	}
	return firstOf(w.Flush(), f.Close())
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
