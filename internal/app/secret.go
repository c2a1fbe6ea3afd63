package app

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/store/sqlstore"
)

// ErrSecretMissing and ErrSecretOther are why a database cannot be served.
var (
	ErrSecretMissing = errors.New("the secret of this database is missing")
	ErrSecretOther   = errors.New("this is not the secret of this database")
)

// SecretPath is where the secret of an SQLite database is kept when none is
// configured: beside it, with its own ending.
func SecretPath(database string) string {
	return strings.TrimSuffix(database, filepath.Ext(database)) + ".secret"
}

// findSecret returns the secret that the database was made with. A new SQLite
// database gets one, in a file of mode 0600; an old one whose secret is gone, or is
// another, is refused: its keys could not be opened and every refresh token would
// be dead.
func findSecret(ctx context.Context, c *config.Config, db *sqlstore.DB) ([]byte, error) {
	secret := []byte(c.Secret)
	if len(secret) == 0 {
		path, sqlite := c.SQLite()
		if !sqlite {
			return nil, fmt.Errorf("%w: set secret in the environment (COATCHECK_SECRET) or a file (secret_file)", ErrSecretMissing)
		}
		var err error
		if secret, err = keptSecret(ctx, SecretPath(path), db); err != nil {
			return nil, err
		}
	}
	check, err := hkdf.Key(sha256.New, secret, nil, "coatcheck secret check", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive the check of the secret: %w", err)
	}
	known, match, err := db.SealCheck(ctx, [sha256.Size]byte(check))
	if err != nil {
		return nil, err
	}
	if known && !match {
		return nil, fmt.Errorf("%w: give the one that it was made with (COATCHECK_SECRET, secret_file, or the file beside the database)", ErrSecretOther)
	}
	return secret, nil
}

// keptSecret reads the secret beside the database, and makes it for a new one.
func keptSecret(ctx context.Context, path string, db *sqlstore.DB) ([]byte, error) {
	text, err := os.ReadFile(path) // #nosec G304 -- beside the operator's database
	if err == nil {
		secret, ok := credential.ParseSecret(strings.TrimSpace(string(text)))
		if !ok {
			return nil, fmt.Errorf("%w: %s does not hold one", ErrSecretOther, path)
		}
		return secret[:], nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the secret: %w", err)
	}
	fresh, err := db.IsNew(ctx)
	if err != nil {
		return nil, err
	}
	if !fresh {
		return nil, fmt.Errorf("%w: put back %s, or set COATCHECK_SECRET", ErrSecretMissing, path)
	}
	secret := credential.NewSecret()
	return secret[:], writeSecret(path, secret)
}

// writeSecret makes the file durably and for its owner alone. It never replaces one.
func writeSecret(path string, secret credential.Secret) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // #nosec G304 -- beside the operator's database
	if err != nil {
		return fmt.Errorf("keep the secret: %w", err)
	}
	_, err = f.WriteString(secret.Encode() + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("keep the secret: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("keep the secret: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
