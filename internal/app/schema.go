package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/store/sqlstore"
)

// Schema says where a database stands against this binary.
type Schema = sqlstore.Schema

// ErrNewer means that the schema of a database is newer than what this binary
// understands.
var ErrNewer = sqlstore.ErrNewer

// Plan says what opening the database of a configuration would do to its schema, and
// changes nothing. [ErrNoDatabase] means that there is no SQLite database, [ErrNewer]
// that it would be refused.
func Plan(ctx context.Context, c config.Config) (Schema, error) {
	if err := noDatabase(c); err != nil {
		return Schema{}, err
	}
	return sqlstore.Plan(ctx, sqlstore.Options{URL: c.Database, Now: SteadyClock()})
}

// Migrate brings the schema of a database up to date. The logger
// is told of each migration. [ErrNoDatabase] means that there is no SQLite database.
func Migrate(ctx context.Context, c config.Config, logger *slog.Logger) error {
	if err := noDatabase(c); err != nil {
		return err
	}
	db, err := sqlstore.Open(ctx, sqlstore.Options{URL: c.Database, Now: SteadyClock(), Logger: logger})
	if err != nil {
		return err
	}
	return db.Close()
}

// noDatabase returns ErrNoDatabase if a SQLite database is not there.
func noDatabase(c config.Config) error {
	if path, sqlite := c.SQLite(); sqlite {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w at %s: coatcheck serve makes it, or name the one you mean with --database or --config", ErrNoDatabase, path)
		}
	}
	return nil
}

// schemaEvery is how often a node looks whether another version has moved the schema
// on.
const schemaEvery = 10 * time.Second

// followSchema stops being ready once the schema does not serve this version any more,
// so that requests go to nodes of the version that it serves.
func (a *App) followSchema(ctx context.Context) {
	tick := time.NewTicker(schemaEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.checkSchema(ctx)
		}
	}
}

func (a *App) checkSchema(ctx context.Context) {
	err := a.Store.Serves(ctx)
	if !errors.Is(err, ErrNewer) { // a database that does not answer is noticed elsewhere
		return
	}
	a.logger.Error("another version has moved the schema on, and this node cannot go on: stop it, and start that version in its place", "error", err)
	a.Stop()
}

// schema looks at the schema, and reports whether the database can be opened without
// moving it on.
func (d *doctor) schema(ctx context.Context) bool {
	s, err := Plan(ctx, d.config)
	switch {
	case errors.Is(err, ErrNoDatabase):
		d.find("database", Note, err.Error()+".", "")
		return false
	case errors.Is(err, ErrNewer):
		d.find("schema", Serious, fmt.Sprintf("The database has schema %d, which does not serve this coatcheck, that knows %d.", s.At, s.Known),
			"Use the version that the servers run. To go back for good, restore a backup made before the update.")
		return false
	case err != nil:
		d.find("database", Serious, "The database cannot be used: "+err.Error()+".", d.databaseAdvice())
		return false
	}
	d.findings = append(d.findings, judgeSchema(s))
	return len(s.Pending) == 0
}

// judgeSchema says what a schema that is not refused asks for.
func judgeSchema(s Schema) Finding {
	switch {
	case s.At == 0:
		return Finding{"schema", Note, "The database is empty.", "coatcheck serve, or coatcheck migrate, makes its tables. The rest is examined then."}
	case s.Stops():
		return Finding{
			"schema", Note, fmt.Sprintf("The database has schema %d, and this coatcheck knows %d. Servers that run now cannot go on after the update.", s.At, s.Known),
			"Take a backup, stop all servers, and start this version. The rest is examined then.",
		}
	case len(s.Pending) > 0:
		return Finding{
			"schema", Note, fmt.Sprintf("The database has schema %d, and this coatcheck knows %d. Servers that run now can go on during the update.", s.At, s.Known),
			"Take a backup, and start this version or run coatcheck migrate. The rest is examined then.",
		}
	case s.At > s.Known:
		return Finding{
			"schema", Note, fmt.Sprintf("The database has schema %d, of a newer coatcheck; it serves this one, that knows %d, too.", s.At, s.Known),
			"Finish the update: let every server run the newer version.",
		}
	}
	return Finding{"schema", Fine, fmt.Sprintf("It is %d, the one that this coatcheck knows.", s.At), ""}
}
