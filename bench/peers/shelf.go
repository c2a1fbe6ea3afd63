package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
)

// A shelf is the folder through which the processes of one run hand each other
// what they need: users, credentials, keys and addresses.
type shelf string

// The files on it. Credentials of a candidate are in its name + ".headers", public
// keys in the algorithm's name + ".pem".
const (
	usersFile    = "users" // one id a line; every file of credentials is in its order
	issuerFile   = "issuer"
	audienceFile = "audience"
	apiKeyFile   = "apikey"
	redisFile    = "redis"
)

func (s shelf) path(file string) string { return filepath.Join(string(s), file) }

func (s shelf) read(file string) (string, error) {
	text, err := os.ReadFile(s.path(file)) // #nosec G703 -- a name from the list above
	return string(text), err
}

func (s shelf) write(file, text string) error {
	return os.WriteFile(s.path(file), []byte(text), 0o600) // #nosec G703 -- a name from the list above
}

func (s shelf) lines(file string) ([]string, error) {
	text, err := s.read(file)
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n"), err
}

func (s shelf) writeLines(file string, lines []string) error {
	var b bytes.Buffer
	for _, line := range lines {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return s.write(file, b.String())
}

// headersOf is the name of a candidate's file of credentials: one header a line,
// as it is sent.
func headersOf(candidate string) string { return candidate + ".headers" }
