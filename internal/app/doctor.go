package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/keyring"
	"github.com/coatcheck/coatcheck/internal/store/sqlstore"
)

// Level says how much a finding matters.
type Level string

// The levels.
const (
	Fine    Level = "ok"
	Note    Level = "note"    // to know, and perhaps to change
	Serious Level = "serious" // something does not work, or is not safe
)

// A Finding is what an examination has to say about one thing.
type Finding struct {
	Check string `json:"check"` // database, schema, secret, clock, keys, redis, public_url, proxies, cookies, mail, clients, logout, outbound, geo or tls
	Level Level  `json:"level"`
	What  string `json:"what"` // what was found, in a sentence
	Do    string `json:"do"`   // what to do about it; "" for nothing
}

// Examine looks at the database, the secret, the clock, the keys, the public URL,
// the cookies and the mail of a configuration, and says what to do about each. It makes no
// database where there is none. client asks the running server, by its public URL;
// nil is one of its own.
func Examine(ctx context.Context, c config.Config, now func() time.Time, client *http.Client) []Finding {
	d := &doctor{config: c, now: now, client: client}
	if d.now == nil {
		d.now = time.Now
	}
	d.records(ctx)
	d.redis(ctx)
	d.publicURL(ctx)
	d.cookies()
	d.mail(ctx)
	d.outbound()
	d.geo()
	d.certificate()
	return d.findings
}

type doctor struct {
	config   config.Config
	now      func() time.Time
	client   *http.Client
	roots    *x509.CertPool // who vouches for the mail server; nil: whom this machine trusts
	findings []Finding
}

func (d *doctor) find(check string, level Level, what, do string) {
	d.findings = append(d.findings, Finding{check, level, what, do})
}

// records looks at the database, and what can only be told with it.
func (d *doctor) records(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if !d.schema(ctx) {
		return
	}
	a, err := Open(ctx, Options{Config: d.config, Now: d.now, Existing: true, Logger: slog.New(slog.DiscardHandler)})
	switch {
	case errors.Is(err, ErrSecretMissing):
		d.find("secret", Serious, "The database is there, but the secret that it was made with is not.",
			"Put back the file beside the database, or set COATCHECK_SECRET or secret_file to it. Without it the signing keys cannot be opened and every refresh token is dead; a new one cannot take its place.")
		return
	case errors.Is(err, ErrSecretOther):
		d.find("secret", Serious, "The secret is not the one that this database was made with.",
			"Look which database and which secret belong together: coatcheck config says where each value comes from.")
		return
	case errors.Is(err, ErrCarried), errors.Is(err, ErrHeld):
		d.find("database", Serious, "The database cannot be used: "+err.Error()+".", "What to do is said there; docs/moving.md and docs/operations.md have the whole way.")
		return
	case err != nil:
		d.find("database", Serious, "The database cannot be used: "+err.Error()+".", d.databaseAdvice())
		return
	}
	defer a.Close()
	d.secret()
	f, err := a.Store.Facts(ctx)
	if err != nil {
		d.find("database", Serious, "The database cannot be used: "+err.Error()+".", d.databaseAdvice())
		return
	}
	d.findings = append(d.findings, judgeStore(f)...)
	d.findings = append(d.findings, judgeClock(f, d.now()))
	d.keys(ctx, a.Ring)
	d.outbox(ctx, a.Store)
	d.notices(ctx, a.Store)
	d.clients(ctx, a.Provider.Clients)
}

func (d *doctor) databaseAdvice() string {
	if path, sqlite := d.config.SQLite(); sqlite {
		return "Look whether " + filepath.Dir(path) + " is there, on a local disk and not on a network drive, writable by this user, and not full."
	}
	return "Look whether PostgreSQL runs, can be reached from this machine, and lets this user in: psql with the same address should answer."
}

// secret looks at who may read the file of the secret.
func (d *doctor) secret() {
	path, sqlite := d.config.SQLite()
	path = SecretPath(path)
	if len(d.config.Secret) > 0 || !sqlite {
		if path = d.config.SecretFile; path == "" {
			d.find("secret", Fine, "It is the database's.", "")
			return
		}
	}
	info, err := os.Stat(path)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		d.find("secret", Note, "The file of the secret cannot be looked at: "+err.Error()+".", "")
	case err == nil && info.Mode().Perm()&0o077 != 0:
		d.find("secret", Serious, fmt.Sprintf("Others may read %s, whose mode is %04o.", path, info.Mode().Perm()),
			"Run chmod 600 "+path+". If somebody may have read it, treat it as leaked: see docs/operations.md.")
	default:
		d.find("secret", Fine, "It is the database's. Keep a copy of it apart from the copies of the database.", "")
	}
}

// judgeStore says what a database's settings are worth.
func judgeStore(f sqlstore.Facts) []Finding {
	name := f.Engine + " " + f.ServerVersion
	if f.Engine == "SQLite" {
		if f.Journal != "wal" || f.Synchronous != "2" || !f.ForeignKeys {
			return []Finding{{
				"database", Serious,
				fmt.Sprintf("The pragmas that SQLite needs are not in force: journal_mode is %s and not wal, synchronous %s and not 2, or foreign_keys is off.", f.Journal, f.Synchronous),
				"Move the database to a local disk: a file system without locks or shared memory makes SQLite fall back, and what is acknowledged could be lost.",
			}}
		}
		return []Finding{{"database", Fine, name + ", which writes to the disk before it answers.", ""}}
	}
	all := []Finding{{"database", Fine, name + ".", ""}}
	if f.SynchronousCommit == "off" {
		all = append(all, Finding{
			"database", Serious, "synchronous_commit is off: an end that was acknowledged is lost if PostgreSQL crashes.",
			"Set synchronous_commit = on for this database, and look for ALTER ROLE or ALTER DATABASE settings that turn it off.",
		})
	}
	return append(all, judgeStandby(f))
}

// judgeStandby says whether what was acknowledged survives a failover.
func judgeStandby(f sqlstore.Facts) Finding {
	const asynchronous = "After a failover a session that was ended could be alive again."
	const advice = "Set synchronous_standby_names, for example 'ANY 1 (*)', with at least two standbys so that one may fail, and synchronous_commit = on."
	waits := f.SynchronousStandbyNames != "" && f.SynchronousCommit != "off" && f.SynchronousCommit != "local"
	switch {
	case f.Standbys == 0 && f.SynchronousStandbyNames == "":
		return Finding{
			"database", Note, "No standby streams from this PostgreSQL, as far as this role may see.",
			"If there is one to fail over to, an acknowledged end survives only if commits wait for it. " + advice,
		}
	case !waits:
		return Finding{"database", Serious, "There are standbys, and commits wait for none of them. " + asynchronous, advice}
	case f.SyncStandbys == 0:
		return Finding{
			"database", Serious, "Commits are to wait for a standby, and none that is synchronous streams now: they will hang.",
			"Bring the standbys named in synchronous_standby_names (" + f.SynchronousStandbyNames + ") back. If the role is only not allowed to see them, grant it pg_monitor.",
		}
	}
	return Finding{"database", Fine, "Commits wait for a standby, so an acknowledged end survives a failover.", ""}
}

// clockBound is how far apart clocks may be; it is the bound of readiness.
const clockBound = 2 * time.Second

// judgeClock compares this machine's clock with the store's, and both with the
// highest time that was recorded.
func judgeClock(f sqlstore.Facts, now time.Time) Finding {
	if f.ClockAhead.Abs() > clockBound {
		return Finding{
			"clock", Serious, fmt.Sprintf("The clock of the database is %s from this machine's.", f.ClockAhead),
			"Let both machines keep their time (chrony, systemd-timesyncd): a node that is more than 2 s off does not serve.",
		}
	}
	if behind := f.Mark.Sub(now.Add(f.ClockAhead)); behind > clockBound {
		return Finding{
			"clock", Serious, fmt.Sprintf("The clock is %s behind the highest time that the database has recorded, so the server is not ready.", behind.Round(time.Second)),
			"If the clock is wrong now, set it right. If it was wrong before and is right now, wait until then, or run coatcheck doctor --accept-clock, which ends all sessions.",
		}
	}
	return Finding{"clock", Fine, "It agrees with the database's.", ""}
}

func (d *doctor) keys(ctx context.Context, ring *keyring.Ring) {
	err := ring.Read(ctx)
	if err != nil {
		d.find("keys", Serious, "The signing keys cannot be opened: "+err.Error()+".", "Restore the database together with the secret that it was made with. If that is lost, see docs/operations.md.")
		return
	}
	keys := ring.Keys()
	_, err = ring.Signer()
	switch {
	case len(keys) == 0:
		d.find("keys", Note, "There are none yet: the server makes them when it starts.", "")
	case err != nil:
		d.find("keys", Serious, "No key may sign now.", "Start the server, which makes one; if it runs, its log says why it could not.")
	case len(ring.Algorithms()) == 1:
		d.find("keys", Fine, fmt.Sprintf("%d are published, and one signs.", len(keys)), "")
	default:
		d.find("keys", Fine, fmt.Sprintf("%d are published, and one of each of %d algorithms signs.", len(keys), len(ring.Algorithms())), "")
	}
}

func (d *doctor) cookies() {
	domain := d.config.Cookie.Domain
	switch {
	case domain == "" && d.config.Secure():
		d.find("cookies", Fine, "The session cookie stays with "+d.config.Host()+" (__Host-coatcheck).", "")
	case domain == "":
		d.find("cookies", Fine, "The session cookie is coatcheck_dev, without Secure, as fits plain http on this machine.", "")
	default:
		d.find("cookies", Note, "The session cookie is sent to every host under "+domain+" (__Secure-coatcheck), and each of them can set it.",
			"Keep that only if all those hosts are yours and trusted alike; Go services need SharedCookie in their verifier. Without cookie.domain the cookie stays with one host.")
	}
}

// expiring is how long before its end a certificate is worth a word.
const expiring = 14 * 24 * time.Hour

func (d *doctor) certificate() {
	files := d.config.TLS
	if files.Certificate == "" {
		return
	}
	pair, err := tls.LoadX509KeyPair(files.Certificate, files.Key)
	if err != nil {
		d.find("tls", Serious, "The certificate cannot be loaded: "+err.Error()+".", "tls.certificate is the chain and tls.key the key of its first certificate, both PEM.")
		return
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		d.find("tls", Serious, "The certificate cannot be read: "+err.Error()+".", "Ask for a new one.")
		return
	}
	left := leaf.NotAfter.Sub(d.now())
	day := leaf.NotAfter.UTC().Format(time.DateOnly)
	switch {
	case left <= 0:
		d.find("tls", Serious, "The certificate has expired on "+day+".", "Renew it: the server reads the files again within seconds.")
	case left < expiring:
		d.find("tls", Note, "The certificate expires on "+day+".", "Renew it: the server reads the files again within seconds.")
	default:
		d.find("tls", Fine, "The certificate is good until "+day+".", "")
	}
}
