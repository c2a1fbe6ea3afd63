package main

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/daemon"
	"github.com/coatcheck/coatcheck/internal/session"
)

const (
	crowdPassword = "correct horse battery staple"
	perPerson     = 5 // sessions
)

// crowdSecret is the secret of servers that are measured, and of no others.
var (
	crowdSecretBytes = sha256.Sum256([]byte("growth"))
	crowdSecret      = hex.EncodeToString(crowdSecretBytes[:])
)

// A multitude is a node, without HTTP, on a PostgreSQL with n sessions of a fifth as many
// people. It is for one goroutine.
type multitude struct {
	n    int
	app  *app.App
	db   *sql.DB
	keys crowdKeys
	used int
}

// gather makes a multitude of n. One person signs up, and the others are rows like theirs.
func (r *rig) gather(ctx context.Context, postgres *daemon.Postgres, n int) (*multitude, error) {
	begun := time.Now()
	name := fmt.Sprintf("sessions_%d", n)
	a, db, err := openOnPostgres(ctx, postgres, name)
	if err != nil {
		return nil, err
	}
	c := &multitude{n: n, app: a, db: db}
	if c.keys, err = newCrowdKeys(); err != nil {
		return nil, errors.Join(err, c.close())
	}
	first, err := signUpFirst(ctx, a)
	if err == nil {
		err = c.fill(ctx, &first.Standing)
	}
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	go a.Log.Follow(ctx)
	r.Note("growth: %s sessions of %s people are there after %s", sizeText(n), sizeText(n/perPerson), time.Since(begun).Round(time.Second))
	return c, nil
}

// openOnPostgres makes a database and opens the server on it.
func openOnPostgres(ctx context.Context, postgres *daemon.Postgres, name string) (*app.App, *sql.DB, error) {
	if err := postgres.Create(name); err != nil {
		return nil, nil, err
	}
	values := settings("", "127.0.0.1:9")
	values["database"], values["secret"] = postgres.URL(name), crowdSecret
	for _, limit := range []string{"throttle.pair", "throttle.account", "throttle.address"} {
		values[limit] = "10000/1ms"
	}
	config, err := app.Configure(values)
	if err != nil {
		return nil, nil, err
	}
	a, err := app.New(ctx, app.Options{Config: config, Hash: &quickHash})
	if err != nil {
		return nil, nil, err
	}
	db, err := sql.Open("pgx", postgres.URL(name))
	if err != nil {
		return nil, nil, errors.Join(err, a.Close())
	}
	return a, db, nil
}

func signUpFirst(ctx context.Context, a *app.App) (session.Opened, error) {
	proof, err := a.Accounts.SignUp(ctx, account.NewUser{Email: "first@example.com", Name: "Ada Lovelace", Password: crowdPassword}, from)
	if err != nil {
		return session.Opened{}, err
	}
	return a.Sessions.Begin(ctx, proof, session.Opening{From: from, Event: audit.SignedUp, Cookie: true, Tokens: true})
}

func (c *multitude) close() error { return errors.Join(c.db.Close(), c.app.Close()) }

// next returns a session that nobody has used, far from the one before.
func (c *multitude) next() (int, error) {
	if c.used++; c.used == c.n {
		return 0, fmt.Errorf("%d sessions are too few for so many rounds", c.n)
	}
	const stride = 6_180_339_887 // ends on 7, so it comes to each once
	return c.used * stride % c.n, nil
}

// What is named here differs from the first one's row; every other column is copied. i is
// the number of a person, or of a session.
var crowdCopies = []struct {
	table, template string
	each            int // rows of it for a person
	changed         map[string]string
}{
	{"account", "usr", 1, map[string]string{
		"id": `'usr_' || ordinal(i)`, "email": `'person' || i || '@example.com'`, "email_key": `'person' || i || '@example.com'`, "email_verified": "TRUE",
	}},
	{"session", "ses", perPerson, map[string]string{
		"id": `'ses_' || ordinal(i)`, "account_id": fmt.Sprintf(`'usr_' || ordinal(i / %d)`, perPerson),
		"secret_hash": `sha256(decode(repeat('c', 48), 'hex') || int8send(i))`,
	}},
	{"session_grant", "grt", perPerson, map[string]string{
		"id": `'grt_' || ordinal(i)`, "session_id": `'ses_' || ordinal(i)`, "refresh_hash": `sha256(decode(repeat('d', 48), 'hex') || int8send(i))`,
	}},
}

// ordinal says in SQL what crowdOrdinal says: what follows the prefix of an id.
const ordinal = `'0' || lpad((i)::text, 9, '0') || lpad(((i) * 2654435761 % 10000000000000000)::text, 16, '0')`

func crowdOrdinal(i int) string { return fmt.Sprintf("0%09d%016d", i, i*2654435761%10000000000000000) }

func emailOf(person int) string { return fmt.Sprintf("person%d@example.com", person) }

// fillers fill at once: as many as there are processor cores for it.
const fillers = 2

// fill copies rows on the server: first without indexes, which are then made as they were.
func (c *multitude) fill(ctx context.Context, first *session.Standing) error {
	ids := map[string]string{"usr": first.User.ID, "ses": first.Session.ID, "grt": first.Grant.ID}
	for _, table := range crowdCopies {
		indexes, err := c.dropIndexes(ctx, table.table)
		if err != nil {
			return err
		}
		columns, values, err := columnsOf(ctx, c.db, postgresColumns, table.table, forPostgres(table.changed))
		if err != nil {
			return err
		}
		rows := c.n / perPerson * table.each
		var all sync.WaitGroup
		var errs [fillers]error
		for part := range fillers {
			all.Go(func() {
				// Every row names one that is there: to look for each would take long.
				errs[part] = c.alone(ctx, `SET session_replication_role = replica`, fmt.Sprintf(
					`INSERT INTO %s (%s) SELECT %s FROM generate_series(%d::bigint, %d::bigint) i CROSS JOIN %s t WHERE t.id = '%s'`,
					table.table, columns, values, rows/fillers*part, rows/fillers*(part+1)-1, table.table, ids[table.template]))
			})
		}
		all.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			return fmt.Errorf("fill %s: %w", table.table, err)
		}
		for _, index := range indexes {
			if err := c.alone(ctx, `SET maintenance_work_mem = '512MB'`, index); err != nil {
				return fmt.Errorf("%s: %w", index, err)
			}
		}
		if err := c.alone(ctx, `SET maintenance_work_mem = '512MB'`, `VACUUM (ANALYZE) `+table.table); err != nil {
			return err
		}
	}
	return c.alone(ctx, `CHECKPOINT`)
}

// alone runs statements on a connection of their own.
func (c *multitude) alone(ctx context.Context, statements ...string) error {
	conn, err := c.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for _, statement := range append(statements, `RESET ALL`) {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// dropIndexes drops the indexes of a table but that of its key, and returns what makes
// them again.
func (c *multitude) dropIndexes(ctx context.Context, table string) (again []string, err error) {
	rows, err := c.db.QueryContext(ctx, `
		SELECT indexname, indexdef FROM pg_indexes p
		WHERE tablename = $1 AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conname = p.indexname)`, table)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var names []string
	for rows.Next() {
		var name, definition string
		if err := rows.Scan(&name, &definition); err != nil {
			return nil, err
		}
		names, again = append(names, name), append(again, definition)
	}
	for _, name := range names {
		if _, err := c.db.ExecContext(ctx, `DROP INDEX `+name); err != nil {
			return nil, err
		}
	}
	return again, rows.Err()
}

const postgresColumns = `
	SELECT column_name FROM information_schema.columns WHERE table_name = $1 AND table_schema = current_schema() ORDER BY ordinal_position`

// forPostgres writes out what stands for an ordinal.
func forPostgres(changed map[string]string) map[string]string {
	written := map[string]string{}
	for name, expr := range changed {
		expr = strings.ReplaceAll(expr, "ordinal(i)", ordinal)
		written[name] = strings.ReplaceAll(expr, fmt.Sprintf("ordinal(i / %d)", perPerson),
			strings.ReplaceAll(ordinal, "(i)", fmt.Sprintf("(i / %d)", perPerson)))
	}
	return written
}

// room returns the bytes on the disk that a session and its grant take, indexes included.
func (c *multitude) room(ctx context.Context) (float64, error) {
	var bytes float64
	err := c.db.QueryRowContext(ctx, `SELECT pg_total_relation_size('session') + pg_total_relation_size('session_grant')`).Scan(&bytes)
	return bytes / float64(c.n), err
}

// cookie is that of the n-th session.
func (c *multitude) cookie(n int) (cookie, ordinal string) {
	secret := crowdSecretOf(0xcc, n)
	ordinal = crowdOrdinal(n)
	return "cks_" + ordinal + base64.RawURLEncoding.EncodeToString(secret), ordinal
}

// crowdSecretOf is the secret of the n-th cookie or refresh token: the server's part of
// which is its SHA-256.
func crowdSecretOf(kind byte, n int) []byte {
	secret := make([]byte, 24, 32)
	for i := range secret {
		secret[i] = kind
	}
	return binary.BigEndian.AppendUint64(secret, uint64(n))
}

// crowdKeys make refresh tokens as the server does, which gives out none for a session
// that it has not begun. Should their form change, the first refresh is refused.
type crowdKeys struct {
	id  string
	tag []byte
}

func newCrowdKeys() (k crowdKeys, err error) {
	id, err := hkdf.Key(sha256.New, crowdSecretBytes[:], nil, "coatcheck refresh token key id", 32)
	if err != nil {
		return k, err
	}
	k.id = hex.EncodeToString(id[:2])
	k.tag, err = hkdf.Key(sha256.New, crowdSecretBytes[:], nil, "coatcheck refresh token tag", 32)
	return k, err
}

// refreshToken is the first of the n-th grant.
func (k *crowdKeys) refreshToken(n int) string {
	body := "ckr_" + crowdOrdinal(n) + "00000001" + k.id + base64.RawURLEncoding.EncodeToString(crowdSecretOf(0xdd, n))
	mac := hmac.New(sha256.New, k.tag)
	mac.Write([]byte(body))
	return body + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}
