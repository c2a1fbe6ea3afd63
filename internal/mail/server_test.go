package mail_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/coatcheck/coatcheck/internal/mail"
)

// A server is a mail server that does as a test says, and keeps what it takes.
type server struct {
	user, password string                             // empty: nobody signs in
	refuse         func(stage, argument string) error // stage is MAIL, RCPT or DATA; nil: nothing is refused
	plain          bool                               // speaks no TLS
	implicit       bool                               // speaks nothing else
	insecure       bool                               // lets people sign in without TLS
	utf8           bool                               // takes addresses beyond ASCII

	host  string
	port  int
	roots *x509.CertPool
	smtp  *smtp.Server

	mu       sync.Mutex
	letters  []taken
	commands []string // MAIL, RCPT, AUTH as they came
	arrived  chan struct{}
}

// A taken mail is one that the server has acknowledged.
type taken struct {
	from, to  string
	wantsUTF8 bool
	secure    bool
	raw       []byte
}

func (s *server) open(t *testing.T) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return s.serve(t, l)
}

func (s *server) serve(t *testing.T, l net.Listener) *server {
	t.Helper()
	address := l.Addr().(*net.TCPAddr)
	s.host, s.port = "127.0.0.1", address.Port
	s.arrived = make(chan struct{}, 1000)
	s.smtp = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &talk{server: s, conn: c}, nil }))
	s.smtp.Domain, s.smtp.EnableSMTPUTF8, s.smtp.AllowInsecureAuth = "mail.example.com", s.utf8, s.insecure
	s.smtp.ErrorLog = silent{}
	if !s.plain {
		pair, roots := certificate(t)
		s.roots = roots
		config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
		if s.implicit {
			l = tls.NewListener(l, config)
		} else {
			s.smtp.TLSConfig = config
		}
	}
	go func() { _ = s.smtp.Serve(l) }() // ends when it is closed
	t.Cleanup(func() { _ = s.smtp.Close() })
	return s
}

type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

// certificate returns one for 127.0.0.1, and who trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// client is how we are told to reach the server.
func (s *server) client() *mail.SMTP {
	c := &mail.SMTP{
		Host: s.host, Port: s.port, User: s.user, Password: s.password, TLS: mail.StartTLS,
		From: "Acme <no-reply@acme.example>", Roots: s.roots, Patience: 10 * time.Second,
	}
	switch {
	case s.implicit:
		c.TLS = mail.Implicit
	case s.plain:
		c.TLS = mail.NoTLS
	}
	return c
}

func (s *server) taken() []taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]taken(nil), s.letters...)
}

func (s *server) said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.commands...)
}

func (s *server) heard(stage, argument string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands = append(s.commands, stage+" "+argument)
	if s.refuse != nil {
		return s.refuse(stage, argument)
	}
	return nil
}

// A talk is one connection to the server.
type talk struct {
	server   *server
	conn     *smtp.Conn
	now      taken
	signedIn bool
}

func (k *talk) Reset()        { k.now = taken{} }
func (k *talk) Logout() error { return nil }

func (k *talk) AuthMechanisms() []string {
	if k.server.user == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (k *talk) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if err := k.server.heard("AUTH", user); err != nil {
			return err
		}
		if user != k.server.user || password != k.server.password {
			return smtp.ErrAuthFailed
		}
		k.signedIn = true
		return nil
	}), nil
}

func (k *talk) Mail(from string, o *smtp.MailOptions) error {
	if k.server.user != "" && !k.signedIn {
		return smtp.ErrAuthRequired
	}
	_, secure := k.conn.TLSConnectionState()
	k.now = taken{from: from, wantsUTF8: o.UTF8, secure: secure}
	return k.server.heard("MAIL", from)
}

func (k *talk) Rcpt(to string, _ *smtp.RcptOptions) error {
	k.now.to = to
	return k.server.heard("RCPT", to)
}

func (k *talk) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := k.server.heard("DATA", k.now.to); err != nil {
		return err
	}
	k.now.raw = raw
	k.server.mu.Lock()
	defer k.server.mu.Unlock()
	k.server.letters = append(k.server.letters, k.now)
	select {
	case k.server.arrived <- struct{}{}:
	default: // nobody waits for so many
	}
	return nil
}

// A part is one of the forms of a mail.
type part struct{ media, body string }

// open takes a mail apart.
func (m taken) open(t *testing.T) (netmail.Header, []part) {
	t.Helper()
	message, err := netmail.ReadMessage(bytes.NewReader(m.raw))
	if err != nil {
		t.Fatalf("this is no mail: %v\n%s", err, m.raw)
	}
	media, parameters, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil || media != "multipart/alternative" {
		t.Fatalf("the mail is %q: %v", media, err)
	}
	var parts []part
	for reader := multipart.NewReader(message.Body, parameters["boundary"]); ; {
		p, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			return message.Header, parts
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.Header.Get("Content-Transfer-Encoding") != "quoted-printable" {
			t.Errorf("a part is %q", p.Header)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, part{p.Header.Get("Content-Type"), string(bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")))})
	}
}

// decoded reads a header as a mail program shows it.
func decoded(t *testing.T, header netmail.Header, name string) string {
	t.Helper()
	text, err := new(mime.WordDecoder).DecodeHeader(header.Get(name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
