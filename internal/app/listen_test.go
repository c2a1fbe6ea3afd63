package app

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
)

// D-25: readiness first, then the streams, and what is in flight is finished.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	o := options(configure(t, nil))
	o.Drain = 500 * time.Millisecond
	r := start(t, o, nil)
	if status, _ := get(t, r.public, "/readyz"); status != http.StatusOK {
		t.Fatalf("readyz: %d", status)
	}

	_, key, err := r.Accounts.AddAPIKey(t.Context(), "follower", []string{account.ScopeRevocations}, "test", Origin)
	if err != nil {
		t.Fatal(err)
	}
	stream := dial(t, r.public)
	send(t, stream, "GET /v1/revocations HTTP/1.1\r\nHost: localhost:8080\r\nAuthorization: Bearer "+key+"\r\n\r\n")
	events := bufio.NewReader(stream)
	readUntil(t, events, "event: heartbeat")

	flight := dial(t, r.public)
	body := `{"email":"ada@example.com","password":"rain on a tin roof at night"}`
	send(t, flight, fmt.Sprintf("POST /v1/sign-in HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", len(body)))
	answer := bufio.NewReader(flight)
	readUntil(t, answer, "HTTP/1.1 100 Continue") // it is being handled
	send(t, flight, body[:10])

	began := time.Now()
	r.stop()
	readUntil(t, events, `data: {"reason":"stopping"}`)
	if status, text := get(t, r.public, "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(text, "stopping") {
		t.Errorf("readyz while it drains: %d %s", status, text)
	}
	if _, err := io.ReadAll(events); err != nil {
		t.Errorf("the stream does not end: %v", err)
	}
	waitRefused(t, r.public)
	send(t, flight, body[10:])
	readUntil(t, answer, "HTTP/1.1 401")
	readUntil(t, answer, "invalid_credentials")
	if err := <-r.served; err != nil {
		t.Errorf("serve: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

func readUntil(t *testing.T, from *bufio.Reader, want string) {
	t.Helper()
	for {
		line, err := from.ReadString('\n')
		if strings.Contains(line, want) {
			return
		}
		if err != nil {
			t.Fatalf("before %q: %v", want, err)
		}
	}
}

// waitRefused waits until nothing listens any more.
func waitRefused(t *testing.T, address net.Addr) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 2000 {
		conn, err := net.Dial("tcp", address.String())
		if err != nil {
			return
		}
		_ = conn.Close()
		<-tick.C
	}
	t.Fatal("it still accepts connections")
}

// What does not end in time is cut: a stop takes no longer because of a stranger.
func TestStopCutsWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	r := start(t, options(configure(t, nil)), func(a *App) { a.limits.stop = 100 * time.Millisecond })
	slow := dial(t, r.public)
	send(t, slow, "POST /v1/sign-in HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")
	readUntil(t, bufio.NewReader(slow), "100 Continue")
	r.stop()
	if err := <-r.served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

// D-15: a header or body that comes drop by drop, and a connection that says
// nothing, are cut.
func TestSlowloris(t *testing.T) {
	t.Parallel()
	r := start(t, options(configure(t, nil)), func(a *App) {
		a.limits = limits{header: 100 * time.Millisecond, read: 300 * time.Millisecond, write: time.Minute, idle: 100 * time.Millisecond, stop: time.Second}
	})
	for name, text := range map[string]string{
		"D-15 half a header":  "GET /healthz HTTP/1.1\r\nHost: localhost:8080\r\nX-Half: ",
		"D-15 half a body":    "POST /v1/sign-in HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
		"D-15 nothing at all": "",
		"D-15 idle":           "GET /healthz HTTP/1.1\r\nHost: localhost:8080\r\n\r\n",
		"D-15 huge header":    "GET /healthz HTTP/1.1\r\nHost: localhost:8080\r\nX-Huge: " + strings.Repeat("x", 3*maxHeader),
	} {
		conn := dial(t, r.public)
		if _, err := io.WriteString(conn, text); err != nil && name != "D-15 huge header" {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection stays open", name)
		}
	}
	if status, _ := get(t, r.public, "/healthz"); status != http.StatusOK {
		t.Errorf("an honest request: %d", status)
	}
}

// D-15: a body that breaks off is the client's doing, and nothing that an operator
// is told of as an error.
func TestBodyThatBreaksOff(t *testing.T) {
	t.Parallel()
	var log strings.Builder // the server writes it, and is stopped before it is read
	o := options(configure(t, nil))
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	r := start(t, o, nil)
	for path, kind := range map[string]string{
		"/v1/sign-in": "application/json", "/oauth2/introspect": "application/x-www-form-urlencoded", "/v1/session/data": "application/json",
	} {
		method := "POST"
		if path == "/v1/session/data" {
			method = "PUT"
		}
		conn := dial(t, r.public)
		send(t, conn, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: %s\r\nContent-Length: 100\r\n\r\n{", method, path, kind))
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 4") {
			t.Errorf("%s is answered %q, %v", path, answer, err)
		}
	}
	r.stop()
	if err := <-r.served; err != nil {
		t.Errorf("serve: %v", err)
	}
	if strings.Contains(log.String(), "ERROR") {
		t.Errorf("the log tells of errors:\n%s", log.String())
	}
}

func TestLimitsAreSet(t *testing.T) {
	r := start(t, options(configure(t, nil)), nil)
	s := r.server(http.NotFoundHandler())
	for name, d := range map[string]time.Duration{
		"ReadHeaderTimeout": s.ReadHeaderTimeout, "ReadTimeout": s.ReadTimeout, "WriteTimeout": s.WriteTimeout, "IdleTimeout": s.IdleTimeout,
	} {
		if d <= 0 || d > 2*time.Minute {
			t.Errorf("%s is %s", name, d)
		}
	}
	if s.MaxHeaderBytes != maxHeader || usualLimits.stop+maxDrain/10 > 9*time.Second {
		t.Errorf("headers up to %d bytes, stop within %s", s.MaxHeaderBytes, usualLimits.stop)
	}
}

// V-106: metrics are on no listener unless asked for, and then on their own.
func TestMetricsListener(t *testing.T) {
	t.Parallel()
	plain := start(t, options(configure(t, nil)), nil)
	if plain.metrics != nil {
		t.Error("V-106 metrics are served by default")
	}
	if status, _ := get(t, plain.public, "/metrics"); status != http.StatusNotFound {
		t.Errorf("V-106 /metrics on the public listener: %d", status)
	}
	r := start(t, options(configure(t, map[string]string{"metrics.listen": "127.0.0.1:0"})), nil)
	status, text := get(t, r.metrics, "/metrics")
	if status != http.StatusOK || !strings.Contains(text, "coatcheck_feed_lag_seconds") {
		t.Errorf("metrics: %d %s", status, text)
	}
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range regexp.MustCompile(`(?m)^# TYPE (coatcheck_\w+) `).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(string(page), "`"+family[1]+"`") {
			t.Errorf("docs/operations.md does not explain %s", family[1])
		}
	}
	for _, path := range []string{"/v1/session", "/healthz", "/debug/pprof/"} {
		if status, _ := get(t, r.metrics, path); status != http.StatusNotFound {
			t.Errorf("V-106 %s on the listener of metrics: %d", path, status)
		}
	}
	if status, _ := get(t, r.public, "/metrics"); status != http.StatusNotFound {
		t.Errorf("V-106 /metrics on the public listener: %d", status)
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	r := start(t, options(configure(t, nil)), nil)
	a, err := New(t.Context(), options(configure(t, map[string]string{"listen": r.public.String()})))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, _, err := a.Listen(t.Context()); err == nil || !strings.Contains(err.Error(), "something listens on "+r.public.String()) {
		t.Errorf("got %v", err)
	}
}

// V-108: TLS 1.2 at least, HTTP/2, and a certificate that is renewed is taken over
// without a restart, while half a renewal is not.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	first := writePair(t, certFile, keyFile, 1)
	var ahead atomic.Int64
	o := options(configure(t, map[string]string{
		"public_url": "https://localhost:8443", "tls.certificate": certFile, "tls.key": keyFile,
	}))
	o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	r := start(t, o, nil)

	roots := x509.NewCertPool()
	roots.AddCert(first)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	answer, err := client.Get("https://" + r.public.String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.ProtoMajor != 2 {
		t.Errorf("spoken: %s", answer.Proto)
	}
	if _, err := shake(r.public, tls.VersionTLS11); err == nil {
		t.Error("V-108 TLS 1.1 is spoken")
	}
	serial := func() int64 {
		t.Helper()
		state, err := shake(r.public, tls.VersionTLS13)
		if err != nil {
			t.Fatal(err)
		}
		return state.PeerCertificates[0].SerialNumber.Int64()
	}
	writePair(t, certFile, keyFile, 2)
	ahead.Add(int64(recheck))
	if got := serial(); got != 2 {
		t.Errorf("after the renewal: certificate %d", got)
	}
	writePair(t, certFile, filepath.Join(dir, "elsewhere.pem"), 3)
	ahead.Add(int64(recheck))
	if got := serial(); got != 2 {
		t.Errorf("after half a renewal: certificate %d", got)
	}
}

func shake(address net.Addr, highest uint16) (tls.ConnectionState, error) {
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: highest}}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", address.String())
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState(), nil
}

// writePair makes a certificate for localhost, good for a day.
func writePair(t *testing.T, certFile, keyFile string, serial int64) *x509.Certificate {
	t.Helper()
	return writePairUntil(t, certFile, keyFile, serial, time.Now().Add(24*time.Hour))
}

func writePairUntil(t *testing.T, certFile, keyFile string, serial int64, until time.Time) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: until.Add(-48 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
