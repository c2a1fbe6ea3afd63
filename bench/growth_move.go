package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/daemon"
)

// moved measures how long coatcheck move takes from a SQLite database of many sessions,
// with all that it reads back.
func moved(ctx context.Context, r *rig, postgres *daemon.Postgres, _ []int) ([]figure, error) {
	n := 1_000_000
	if r.Quick {
		n = 10_000
	}
	r.Note("growth: a SQLite database of %s sessions", sizeText(n))
	source, cookie, err := r.fillSource(ctx, n)
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(filepath.Dir(source)) }() // else it goes with the rig's
	const name = "moved"
	if err := postgres.Create(name); err != nil {
		return nil, err
	}
	r.Note("growth: moving it")
	move := exec.CommandContext(ctx, r.Binary, "move", "--from", "sqlite:"+source, "--to", postgres.URL(name))
	move.Dir, move.Env = filepath.Dir(source), append(os.Environ(), "COATCHECK_SECRET="+crowdSecret)
	begun := time.Now()
	if out, err := move.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("coatcheck move: %w\n%s", err, out)
	}
	took := time.Since(begun).Seconds()
	if err := stillSignedIn(ctx, postgres.URL(name), cookie, n+1); err != nil {
		return nil, err
	}
	return []figure{{
		Name: "move of " + sizeText(n) + " sessions and " + sizeText(n/perPerson) + " users", Unit: "s", Ours: []float64{took},
	}}, nil
}

// onSource are the settings of a server on a SQLite file.
func onSource(database string) map[string]string {
	values := settings("", "127.0.0.1:9")
	values["database"], values["secret"] = database, crowdSecret
	return values
}

// fillSource makes a SQLite database with n sessions of a fifth as many people, beside one
// whose cookie it returns.
func (r *rig) fillSource(ctx context.Context, n int) (path, cookie string, err error) {
	dir, err := r.folder("move")
	if err != nil {
		return "", "", err
	}
	path = filepath.Join(dir, "coatcheck.db")
	config, err := app.Configure(onSource("sqlite:" + path))
	if err != nil {
		return "", "", err
	}
	a, err := app.New(ctx, app.Options{Config: config, Hash: &quickHash})
	if err != nil {
		return "", "", err
	}
	first, err := signUpFirst(ctx, a)
	if err = firstOf(err, a.Close()); err != nil {
		return "", "", err
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=synchronous(off)&_pragma=foreign_keys(0)&_pragma=cache_size(-200000)")
	if err != nil {
		return "", "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	ids := map[string]string{"usr": first.Standing.User.ID, "ses": first.Standing.Session.ID, "grt": first.Standing.Grant.ID}
	for _, table := range crowdCopies {
		columns, values, err := columnsOf(ctx, db, sqliteColumns, table.table, forSQLite(table.changed))
		if err != nil {
			return "", "", err
		}
		query := `WITH RECURSIVE numbers (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < $1)
			INSERT INTO ` + table.table + ` (` + columns + `) SELECT ` + values + ` FROM numbers CROSS JOIN ` + table.table + ` t WHERE t.id = $2`
		if _, err := db.ExecContext(ctx, query, n/perPerson*table.each, ids[table.template]); err != nil {
			return "", "", fmt.Errorf("fill %s: %w", table.table, err)
		}
	}
	return path, first.Cookie, nil
}

// forSQLite says the same in the words of SQLite, but for hashes: nobody knows what these
// are of.
func forSQLite(changed map[string]string) map[string]string {
	named := func(i string) string {
		return fmt.Sprintf(`printf('0%%09d%%016d', %s, (%s) * 2654435761 %% 10000000000000000)`, i, i)
	}
	of := fmt.Sprintf("i / %d", perPerson)
	all := map[string]string{}
	for column, expr := range changed {
		if strings.HasPrefix(expr, "sha256(") {
			expr = "randomblob(32)"
		}
		expr = strings.ReplaceAll(expr, "ordinal("+of+")", named(of))
		all[column] = strings.ReplaceAll(expr, "ordinal(i)", named("i"))
	}
	return all
}

// stillSignedIn reports whether the target has all sessions, and takes the cookie of one.
func stillSignedIn(ctx context.Context, url, cookie string, sessions int) error {
	config, err := app.Configure(onSource(url))
	if err != nil {
		return err
	}
	a, err := app.New(ctx, app.Options{Config: config, Hash: &quickHash})
	if err != nil {
		return err
	}
	defer func() { _ = a.Close() }() // nothing is written
	if n, err := a.Store.Count(ctx); err != nil || n != sessions {
		return errors.Join(fmt.Errorf("the target has %d sessions, want %d", n, sessions), err)
	}
	_, err = a.Sessions.CheckCookie(ctx, cookie)
	return err
}
