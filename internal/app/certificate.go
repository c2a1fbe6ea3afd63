package app

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate is a pair of files that is read again when it changes.
type certificate struct {
	certFile, keyFile string
	now               func() time.Time
	logger            *slog.Logger

	mu      sync.Mutex
	checked time.Time
	version string // of the files that pair was loaded from
	pair    *tls.Certificate
}

// recheck is how often the files are looked at.
const recheck = 10 * time.Second

// get returns the pair in force. A changed pair that does not load leaves the old
// one in place: a renewal half written must not take the server down.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.pair != nil && now.Sub(c.checked) < recheck {
		return c.pair, nil
	}
	c.checked = now
	version := c.look()
	if c.pair != nil && version == c.version {
		return c.pair, nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil && c.pair == nil {
		return nil, fmt.Errorf("load the certificate: %w", err)
	}
	if err != nil {
		c.logger.Error("the changed certificate does not load, the one before stays", "error", err)
		return c.pair, nil
	}
	c.pair, c.version = &pair, version
	return c.pair, nil
}

// look returns what changes with the files.
func (c *certificate) look() string {
	version := ""
	for _, name := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil {
			version += fmt.Sprintf("%d %d\n", info.ModTime().UnixNano(), info.Size())
		}
	}
	return version
}
