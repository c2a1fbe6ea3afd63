package app

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/store/storetest"
)

const otherSecret = "P2wdCpvoR1Jj0cD-invVJA4db3O4opxUR_Dh0sO0pZY"

// begun returns the configuration of a database that was begun and closed, and the
// path of its secret.
func begun(t *testing.T) (config.Config, string) {
	t.Helper()
	c := configure(t, nil)
	a, err := New(t.Context(), options(c))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	path, _ := c.SQLite()
	return c, SecretPath(path)
}

func TestNewDatabaseGetsASecret(t *testing.T) {
	c, path := begun(t)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the secret: %04o", info.Mode().Perm())
	}
	before, _ := os.ReadFile(path)
	a, err := New(t.Context(), options(c))
	if err != nil {
		t.Fatalf("second start: %v", err)
	}
	defer a.Close()
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("the second start changed the secret")
	}
	text := strings.TrimSpace(string(before))
	database, _ := c.SQLite()
	for _, name := range []string{database, database + "-wal"} {
		if kept, _ := os.ReadFile(name); strings.Contains(string(kept), text) {
			t.Errorf("%s holds the secret", name)
		}
	}
}

func TestSecretThatIsNotTheDatabases(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, c *config.Config, path string)
		want  error
	}{
		"missing": {func(t *testing.T, _ *config.Config, path string) { remove(t, path) }, ErrSecretMissing},
		"another": {func(t *testing.T, c *config.Config, _ string) {
			*c = secretOf(t, *c, otherSecret)
		}, ErrSecretOther},
		"damaged": {func(t *testing.T, _ *config.Config, path string) {
			if err := os.WriteFile(path, []byte("not a secret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, ErrSecretOther},
		"swapped": {func(t *testing.T, _ *config.Config, path string) {
			if err := os.WriteFile(path, []byte(otherSecret+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, ErrSecretOther},
	} {
		t.Run(name, func(t *testing.T) {
			configuration, path := begun(t)
			c.spoil(t, &configuration, path)
			a, err := New(t.Context(), options(configuration))
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if err == nil {
				_ = a.Close()
			} else if strings.Contains(err.Error(), otherSecret) {
				t.Errorf("V-104 the error holds the secret: %v", err)
			}
			if _, err := os.Stat(path); name == "missing" && err == nil {
				t.Error("a fresh secret was made for an old database")
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func secretOf(t *testing.T, c config.Config, text string) config.Config {
	t.Helper()
	secret, err := config.ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	c.Secret = secret
	return c
}

// PostgreSQL is for several nodes, so no node may make a secret of its own.
func TestPostgresRequiresASecret(t *testing.T) {
	url := storetest.Postgres(t)
	if _, err := Configure(map[string]string{"database": url}); err == nil || !strings.Contains(err.Error(), "secret: PostgreSQL needs it") {
		t.Errorf("configuration without a secret: %v", err)
	}
	c := configure(t, map[string]string{"database": url, "secret": otherSecret})
	a, err := New(t.Context(), options(c))
	if err != nil {
		t.Fatal(err)
	}
	opened := signIn(t, a, "ada@example.com")
	if _, err := a.Sessions.CheckCookie(t.Context(), opened.Cookie); err != nil {
		t.Errorf("a session on PostgreSQL: %v", err)
	}
	findings := byCheck(Examine(t.Context(), c, nil, nil))
	for _, check := range []string{"secret", "clock", "keys"} {
		if findings[check].Level != Fine {
			t.Errorf("doctor on PostgreSQL: %+v", findings[check])
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	c.Secret = nil
	if _, err := New(t.Context(), options(c)); !errors.Is(err, ErrSecretMissing) {
		t.Errorf("without a secret: %v", err)
	}
	again := secretOf(t, c, "y3kQmMWm0XhJb1J2w8l0q5o0b2Jt7c4d9e6f1g8h3i0")
	if _, err := New(t.Context(), options(again)); !errors.Is(err, ErrSecretOther) {
		t.Errorf("with another secret: %v", err)
	}
}

func TestCommandMakesNoDatabase(t *testing.T) {
	c := configure(t, nil)
	o := options(c)
	o.Existing = true
	if _, err := Open(t.Context(), o); !errors.Is(err, ErrNoDatabase) {
		t.Errorf("got %v, want %v", err, ErrNoDatabase)
	}
	path, _ := c.SQLite()
	if _, err := os.Stat(path); err == nil {
		t.Error("a database was made")
	}
}
