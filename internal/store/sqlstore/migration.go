package sqlstore

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// A migration is one numbered change of the schema. Its checksum guards that
// what a database was made with is what this binary was made with.
type migration struct {
	version  int
	serves   int // the oldest schema whose servers can go on after it
	name     string
	sql      string
	checksum string // SHA-256 of the text, in hex
	applied  int64  // when, in milliseconds, of one that was read from a database
}

func (m migration) String() string { return fmt.Sprintf("%04d_%s", m.version, m.name) }

// servesLine is how a migration begins that leaves everything in its place on which
// the servers of an older schema rely: it adds what they do not look at. A migration
// that does not begin so serves its own schema and newer ones only.
const servesLine = "-- serves: "

// loadMigrations reads 0001_name.sql and so on from the folders "migrations" of all
// sources, in order and without a gap. In the place of one portable file there may
// be one for each engine, such as 0001_name.sqlite.sql beside
// 0001_name.postgres.sql.
func loadMigrations(engine string, sources ...fs.FS) ([]migration, error) {
	var all []migration
	for _, files := range sources {
		names, err := fs.Glob(files, "migrations/*.sql")
		if err != nil {
			return nil, fmt.Errorf("list migrations: %w", err)
		}
		slices.Sort(names)
		for _, file := range names {
			number, name, found := strings.Cut(strings.TrimSuffix(path.Base(file), ".sql"), "_")
			name, only, _ := strings.Cut(name, ".")
			if only != "" && only != engine {
				continue
			}
			version, err := strconv.Atoi(number)
			if err != nil || !found || version != len(all)+1 {
				return nil, fmt.Errorf("migration %s is out of order", path.Base(file))
			}
			text, err := fs.ReadFile(files, file)
			if err != nil {
				return nil, fmt.Errorf("read migration: %w", err)
			}
			m := migration{version: version, name: name, sql: string(text)}
			sum := sha256.Sum256(text)
			m.checksum = hex.EncodeToString(sum[:])
			if m.serves, err = servedBy(m); err != nil {
				return nil, err
			}
			all = append(all, m)
		}
	}
	return all, nil
}

// servedBy reads the first line of a migration.
func servedBy(m migration) (int, error) {
	first, _, _ := strings.Cut(m.sql, "\n")
	number, says := strings.CutPrefix(first, servesLine)
	if !says {
		return m.version, nil
	}
	serves, err := strconv.Atoi(number)
	if err != nil || serves < 1 || serves > m.version {
		return 0, fmt.Errorf("migration %s does not say which schema it serves: %q", m, first)
	}
	return serves, nil
}

// ErrNewer means that the schema of a database is newer than what this binary
// understands.
var ErrNewer = errors.New("this database was made by a newer coatcheck")

// compareMigrations refuses a database that this binary does not understand. What
// was applied beyond what it knows is harmless if it says that it serves the schema
// that this binary knows.
func compareMigrations(applied, all []migration) error {
	for i, m := range applied {
		if i >= len(all) {
			if m.serves > len(all) {
				return fmt.Errorf("%w (schema %d, this one knows %d): use that version, or restore a backup made before it",
					ErrNewer, applied[len(applied)-1].version, len(all))
			}
			continue
		}
		if m.version != all[i].version || m.checksum != all[i].checksum {
			return fmt.Errorf("migration %s of this database is not the one that this coatcheck was built with: it was made by another build, or its schema was changed by hand", m)
		}
	}
	return nil
}
