package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// readyAt runs coatcheck doctor --ready for a server that listens at address.
func readyAt(t *testing.T, address string, more ...string) (int, string) {
	t.Helper()
	var out, errs bytes.Buffer
	args := append([]string{"doctor", "--ready", "--listen", address}, more...)
	status := run(t.Context(), args, nil, strings.NewReader(""), &out, &errs)
	return status, out.String() + errs.String()
}

// D-25: a health check says yes while the server may be sent requests, and no before
// and after.
func TestReadyIsWhatTheServerSays(t *testing.T) {
	t.Chdir(t.TempDir())
	out, _, stop := serving(t)
	address := out.show(t, `listening  (127\.0\.0\.1:\d+)`)[1]
	for began := time.Now(); ; {
		status, said := readyAt(t, address)
		if status == exitOK && strings.Contains(said, "ok       ready") {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("never ready: %d %s", status, said)
		}
	}
	_, port, _ := strings.Cut(address, ":") // as in a container, on every interface
	if status, said := readyAt(t, ":"+port); status != exitOK {
		t.Errorf("by the port alone: %d %s", status, said)
	}
	stop()
	if status, said := readyAt(t, address); status != exitFailed || !strings.Contains(said, "does not answer") {
		t.Errorf("after the stop: %d %s", status, said)
	}
	if status, said := readyAt(t, address, "--accept-clock"); status != exitUsage {
		t.Errorf("with --accept-clock: %d %s", status, said)
	}
}

// A server that answers anything but 200 is not ready, and what answers is told apart
// from what does not.
func TestNotReadyIsAFailure(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, answer := range []int{http.StatusServiceUnavailable, http.StatusNotFound, http.StatusFound} {
		s := httptest.NewServer(http.RedirectHandler("/readyz", answer))
		status, said := readyAt(t, strings.TrimPrefix(s.URL, "http://"))
		s.Close()
		if status != exitFailed || !strings.Contains(said, "is not ready") {
			t.Errorf("%d: %d %s", answer, status, said)
		}
	}
}

// Where the server speaks TLS itself it is asked by the name that browsers use, and
// only its own certificate will do.
func TestReadyOverTLS(t *testing.T) {
	t.Chdir(t.TempDir())
	writeCertificate(t, "cert.pem", "key.pem", "auth.example.com")
	writeCertificate(t, "other.pem", "other.key", "auth.example.com")
	settings := []string{"--public-url", "https://auth.example.com", "--verify-email", "optional", "--tls-certificate", "cert.pem", "--tls-key", "key.pem"}
	out, _, _ := serving(t, settings...)
	address := out.show(t, `listening  (127\.0\.0\.1:\d+)`)[1]
	if status, said := readyAt(t, address, settings...); status != exitOK {
		t.Errorf("%d %s", status, said)
	}
	settings[5], settings[7] = "other.pem", "other.key"
	if status, said := readyAt(t, address, settings...); status != exitFailed {
		t.Errorf("with another certificate: %d %s", status, said)
	}
}

// writeCertificate makes a certificate for a name, vouched for by nobody.
func writeCertificate(t *testing.T, certificate, private, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, private: {Type: "PRIVATE KEY", Bytes: sealed}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
