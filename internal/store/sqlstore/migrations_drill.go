//go:build drill

package sqlstore

import "os"

// MoreMigrations is the variable that names a folder in which a folder "migrations"
// holds what comes after the migrations of this binary: with it a drill has servers
// of the next version beside those of this one. It is no name of a setting, because
// one that is unknown is refused.
const MoreMigrations = "DRILL_MIGRATIONS"

// knownMigrations returns what this binary knows, and what the drill adds.
func knownMigrations(engine string) ([]migration, error) {
	if dir := os.Getenv(MoreMigrations); dir != "" {
		return loadMigrations(engine, migrationFiles, os.DirFS(dir))
	}
	return loadMigrations(engine, migrationFiles)
}
