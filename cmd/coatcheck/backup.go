package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/coatcheck/coatcheck/internal/app"
)

func (c *console) backup() *cobra.Command {
	return c.withJSON(&cobra.Command{
		Use: "backup FILE", Short: "Copy the SQLite database to a new file, while the server runs",
		Long: `Copy the SQLite database as of this moment to a new file, while the server goes on reading and
writing. The file appears under its name when it is whole, checked and on the disk, and only you
may read it; a file that is there already is never replaced.

The secret is not in it. Keep a copy of that somewhere else: a backup without its secret cannot be
restored, and whoever has both has the signing keys.

PostgreSQL has its own tools: pg_dump, or archived WAL.`,
		Example: "  coatcheck backup /backups/coatcheck-monday.db\n  coatcheck backup /backups/coatcheck-monday.db --json",
		Args:    oneArgument("new file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			loaded, err := c.load(cmd)
			if err != nil {
				return err
			}
			report, err := app.Backup(cmd.Context(), loaded.Config, args[0], c.progress())
			if errors.Is(err, app.ErrExists) {
				return fmt.Errorf("%w. Nothing was written; give the backup another name", err)
			}
			if err != nil {
				return fmt.Errorf("%w. No backup was made", err)
			}
			if c.asJSON {
				return c.printJSON(report)
			}
			if err := c.tables(report.Tables); err != nil {
				return err
			}
			c.say("\nBacked up %s to %s (%s bytes), read back and whole.", report.Database, report.File, grouped(report.Bytes))
			if report.Secret != "" {
				c.say("The secret is not in it. Keep a copy of %s apart from the backups: without it none can be restored.", report.Secret)
			} else {
				c.say("The secret is not in it. Keep a copy of it apart from the backups: without it none can be restored.")
			}
			return nil
		},
	})
}

func (c *console) restore() *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Put a backup in the place of the SQLite database",
		Long: `Put a backup in the place of the SQLite database. Stop the server first: a database that somebody
has open is not touched. The backup is copied and checked, and takes the place in one step at the
end; whatever goes wrong before, or kills it, leaves the old database as it was, and the same
command begins anew. The database that is replaced is kept beside it.

A backup is a picture of the past, in which sessions live that have ended since. So all sessions
are ended, unless --keep-sessions asks for those of the picture. In any case links and codes that
travel by mail are dead, fresh keys sign, and verifiers begin anew with the log of what has ended.

It needs the secret that the backup was made with, and refuses a backup of a newer version.
For a PostgreSQL that was restored with its own tools there is coatcheck doctor --restored.`,
		Example: "  coatcheck restore /backups/coatcheck-monday.db\n  coatcheck restore /backups/coatcheck-monday.db --keep-sessions --json",
		Args:    oneArgument("backup file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			loaded, err := c.load(cmd)
			if err != nil {
				return err
			}
			report, err := app.Restore(cmd.Context(), app.RestoreOptions{
				Config: loaded.Config, File: args[0], KeepSessions: keep, Logger: c.warnings(), Tell: c.progress(),
			})
			if err != nil {
				return fmt.Errorf("%w. Nothing was restored: the database is as it was", err)
			}
			if c.asJSON {
				return c.printJSON(report)
			}
			return c.sayRestored(report)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep-sessions", false, "keep the sessions of the backup alive, those that have ended since among them")
	return c.withJSON(cmd)
}

func (c *console) sayRestored(r app.RestoreReport) error {
	if err := c.tables(r.Tables); err != nil {
		return err
	}
	c.say("\nRestored %s to %s.", r.File, r.Database)
	if r.Kept != "" {
		c.say("What was there is kept as %s.", r.Kept)
	}
	c.afterRestore(r.SessionsKept, r.Links)
	c.say("Now look at what was changed since the backup and is as before again: users that were disabled\n(coatcheck user list), API keys that were removed (coatcheck apikey list). Then start the server.")
	return nil
}

// afterRestore says what does not come back.
func (c *console) afterRestore(sessionsKept bool, links int) {
	if sessionsKept {
		c.say("Sessions were kept: whoever signed out, or was signed out, since then is signed in again.")
	} else {
		c.say("All sessions are ended: everybody signs in anew.")
	}
	c.say("Links and codes from before are dead, the %d that were open among them: send invitations once more.\nFresh keys sign.", links)
}

// tables prints what tables hold.
func (c *console) tables(sums []app.TableSum) error {
	return list(c, sums, []string{"TABLE", "ROWS", "CHECKSUM"}, func(s app.TableSum) []string {
		return []string{s.Table, grouped(s.Rows), s.Checksum}
	})
}

// warnings is a logger of what a command has to be warned of.
func (c *console) warnings() *slog.Logger {
	return slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// progress returns a teller of how far long work has come: a line a second at most, and
// none about what is soon done.
func (c *console) progress() func(app.Progress) {
	const every = time.Second
	var mu sync.Mutex
	last := time.Now()
	return func(p app.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(last) < every || p.All > 0 && p.All < 10_000 {
			return
		}
		last = time.Now()
		switch {
		case p.All > 0:
			c.tell(fmt.Sprintf("%s: %s of %s", p.What, grouped(p.Done), grouped(p.All)))
		case p.Done > 0:
			c.tell(fmt.Sprintf("%s: %s", p.What, grouped(p.Done)))
		default:
			c.tell(p.What)
		}
	}
}

// grouped writes a number with a comma before each group of three digits.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}
