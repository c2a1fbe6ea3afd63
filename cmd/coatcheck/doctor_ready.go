package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/config"
)

// readyWithin bounds the question: a server that says nothing for so long is not ready.
const readyWithin = 3 * time.Second

// readiness asks the server of this configuration, at the address where it listens,
// whether it may be sent requests.
func readiness(ctx context.Context, c config.Config) app.Finding {
	f := app.Finding{Check: "ready", Level: app.Serious}
	address := besideListener(c.Listen)
	status, err := askReady(ctx, c, address)
	switch {
	case err != nil:
		f.What = fmt.Sprintf("The server at %s does not answer: %v.", address, err)
		f.Do = "If it is not running, start it with coatcheck serve. If it is, give this command the same configuration."
	case status != http.StatusOK:
		f.What = fmt.Sprintf("The server at %s is not ready (status %d).", address, status)
		f.Do = "Its log says why; coatcheck doctor looks at the database and the clock."
	default:
		f.Level, f.What = app.Fine, "The server at "+address+" may be sent requests."
	}
	return f
}

// besideListener is where a program on the same machine reaches who listens there.
func besideListener(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("localhost", port)
	}
	return listen
}

func askReady(ctx context.Context, c config.Config, address string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	scheme, trust, err := "http", (*tls.Config)(nil), error(nil)
	if c.TLS.Certificate != "" {
		scheme = "https"
		if trust, err = trustIn(c); err != nil {
			return 0, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+"/readyz", nil)
	if err != nil {
		return 0, err
	}
	client := http.Client{
		Transport:     &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}, // and no proxy
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(r)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return 0, err
	}
	return answer.StatusCode, answer.Body.Close()
}

// trustIn trusts the very certificate that the server is configured with, whoever
// vouches for it, under the name that browsers use.
func trustIn(c config.Config) (*tls.Config, error) {
	chain, err := os.ReadFile(c.TLS.Certificate) // #nosec G304 -- the operator names the file
	if err != nil {
		return nil, fmt.Errorf("read tls.certificate: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(chain) {
		return nil, errors.New("tls.certificate holds no certificate")
	}
	public, err := url.Parse(c.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("public_url: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: public.Hostname()}, nil
}
