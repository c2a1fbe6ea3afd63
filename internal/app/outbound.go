package app

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/outbound"
)

// outboundOf is the one client for calls to addresses that others have named.
func outboundOf(c *config.Config) (*outbound.Client, error) {
	roots, err := rootsOf(c.Outbound.CA)
	if err != nil {
		return nil, err
	}
	return outbound.New(outbound.Config{
		Allow: c.Outbound.Allow, Ports: c.Outbound.Ports, Loopback: c.Loopback(), Roots: roots, Agent: "coatcheck/" + Version,
	}), nil
}

// rootsOf are the authorities that this machine trusts, and those in the file; nil
// without one.
func rootsOf(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path) // #nosec G304 -- the operator names it
	if err != nil {
		return nil, fmt.Errorf("outbound.ca: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read whom this machine trusts: %w", err)
	}
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("outbound.ca: there is no certificate in %s", path)
	}
	return roots, nil
}

// outbound looks whether calls can be made as the configuration says.
func (d *doctor) outbound() {
	if _, err := rootsOf(d.config.Outbound.CA); err != nil {
		d.find("outbound", Serious, "The server does not start: "+err.Error()+".", "Put the certificates of the authorities there, in PEM, or take outbound.ca out of the configuration.")
	}
}

// waitsLong is how long a notice of a sign-out may wait before it is worth a word.
const waitsLong = 10 * time.Minute

// notices looks at the sign-outs that clients were not told of yet.
func (d *doctor) notices(ctx context.Context, store oauth.NoticeStore) {
	c, err := store.CountNotices(ctx, "")
	if err != nil {
		d.find("logout", Serious, "The notices of sign-outs cannot be read: "+err.Error()+".", d.databaseAdvice())
		return
	}
	last := ""
	if c.Failure != "" {
		last = fmt.Sprintf(" The last that failed was to %s: %s.", c.ClientID, c.Failure)
	}
	late := c.Waiting > 0 && d.now().Sub(c.Oldest) > waitsLong
	if late {
		d.find("logout", Serious, fmt.Sprintf("Notices of sign-outs that wait for their client: %d, the oldest for %s.%s", c.Waiting, d.now().Sub(c.Oldest).Round(time.Minute), last),
			"Look whether the server runs, for it sends them, and whether the client's back-channel address answers. None is lost; after three days they are given up. See docs/single-sign-out.md.")
	}
	if c.Dead > 0 {
		d.find("logout", Serious, fmt.Sprintf("Sign-outs of the last 30 days that a client was never told of: %d.%s", c.Dead, last),
			"People may still be signed in there, until that client's own session ends. Look at its log, and at its address with coatcheck client show.")
	}
	if !late && c.Dead == 0 && c.Waiting > 0 {
		d.find("logout", Fine, fmt.Sprintf("Notices of sign-outs that wait for their client: %d, and none was given up.", c.Waiting), "")
	}
}
