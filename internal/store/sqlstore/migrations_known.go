//go:build !drill

package sqlstore

// knownMigrations returns what this binary knows.
func knownMigrations(engine string) ([]migration, error) {
	return loadMigrations(engine, migrationFiles)
}
