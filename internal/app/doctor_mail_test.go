package app

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/coatcheck/coatcheck/internal/mail"
)

// refusing is a mail server that takes nothing, and that nobody needs to ask.
type refusing struct{}

func (refusing) NewSession(*smtp.Conn) (smtp.Session, error) { return refusing{}, nil }
func (refusing) Reset()                                      {}
func (refusing) Logout() error                               { return nil }
func (refusing) Mail(string, *smtp.MailOptions) error        { return errors.New("no") }
func (refusing) Rcpt(string, *smtp.RcptOptions) error        { return errors.New("no") }
func (refusing) Data(io.Reader) error                        { return errors.New("no") }

// mailServer starts one and returns its port.
func mailServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := smtp.NewServer(refusing{})
	s.Domain = "mail.example.com"
	go func() { _ = s.Serve(l) }() // ends when it is closed
	t.Cleanup(func() { _ = s.Close() })
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func TestDoctorAsksTheMailServer(t *testing.T) {
	there, gone := mailServer(t), func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	}()
	for name, c := range map[string]struct {
		settings map[string]string
		level    Level
		words    string
	}{
		"answers":          {map[string]string{"mail.port": there, "mail.tls": "none"}, Fine, "answers without TLS"},
		"no STARTTLS":      {map[string]string{"mail.port": there}, Serious, "Nothing is sent in the clear"},
		"no TLS":           {map[string]string{"mail.port": there, "mail.tls": "implicit"}, Serious, "587"},
		"no signing in":    {map[string]string{"mail.port": there, "mail.tls": "none", "mail.user": "coatcheck", "mail.password": "a very good one"}, Serious, "mail.user"},
		"nobody is there":  {map[string]string{"mail.port": gone, "mail.tls": "none"}, Serious, "firewall"},
		"no such host":     {map[string]string{"mail.host": "mail.invalid"}, Serious, "look up names"},
		"nothing is asked": {map[string]string{"mail.host": "", "mail.from": ""}, Fine, "printed"},
	} {
		t.Run(name, func(t *testing.T) {
			settings := map[string]string{"mail.host": "127.0.0.1", "mail.from": "no-reply@acme.example"}
			for key, text := range c.settings {
				settings[key] = text
			}
			d := &doctor{config: configure(t, settings), now: time.Now}
			d.mail(t.Context())
			examine(t, d.findings, "mail", c.level, c.words)
			if all := d.findings[0].What + d.findings[0].Do; strings.Contains(all, "a very good one") {
				t.Errorf("the password is shown: %s", all)
			}
		})
	}
}

func TestDoctorLooksIntoTheOutbox(t *testing.T) {
	c := configure(t, map[string]string{"mail.host": "127.0.0.1", "mail.port": mailServer(t), "mail.tls": "none", "mail.from": "no-reply@acme.example"})
	a, err := New(t.Context(), options(c))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	now := time.Now()
	look := func(level Level, words string) {
		t.Helper()
		d := &doctor{config: c, now: func() time.Time { return now }}
		d.outbox(t.Context(), a.Store)
		examine(t, d.findings, "mail", level, words)
	}
	look(Fine, "Mails that wait: 0, and")
	if err := a.Store.Post(t.Context(), mail.New(mail.PasswordChanged, "ada@example.com", ""), mail.New(mail.PasswordChanged, "bob@example.com", "")); err != nil {
		t.Fatal(err)
	}
	look(Fine, "Mails that wait: 2, and")
	if err := a.Outbox.Deliver(t.Context()); err != nil { // to a server that refuses who it is from
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	look(Serious, "Mails that wait: 2, the oldest for 1h0m0s. Lately: the mail server does not take mails from the address in mail.from")
	now = time.Now()
	letters, _, err := a.Store.Claim(t.Context(), "test", time.Minute, 10)
	if err != nil || len(letters) != 0 {
		t.Fatalf("claimed %v: %v", letters, err)
	}
}

func TestDoctorCountsDeadLetters(t *testing.T) {
	a, err := New(t.Context(), options(configure(t, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Store.Post(t.Context(), mail.New(mail.PasswordChanged, "ada@example.com", "")); err != nil {
		t.Fatal(err)
	}
	letters, _, err := a.Store.Claim(t.Context(), "test", time.Minute, 10)
	if err != nil || len(letters) != 1 {
		t.Fatalf("claimed %v: %v", letters, err)
	}
	if err := a.Store.Bury(t.Context(), letters[0].ID, "test", "there is no such mailbox (550 5.1.1)"); err != nil {
		t.Fatal(err)
	}
	d := &doctor{config: a.config, now: time.Now}
	d.outbox(t.Context(), a.Store)
	examine(t, d.findings, "mail", Note, "Dead letters of the last 30 days: 1, the last because there is no such mailbox (550 5.1.1).")
}

// A server in public without mail drops what nobody can get, instead of keeping it for
// ever; the operator's own templates of mails are read at the start.
func TestMailOfAPublicServer(t *testing.T) {
	public := map[string]string{"public_url": "https://auth.example.com", "verify_email": "optional"}
	a, err := New(t.Context(), options(configure(t, public)))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Store.Post(t.Context(), mail.New(mail.PasswordChanged, "ada@example.com", "")); err != nil {
		t.Fatal(err)
	}
	if err := a.Outbox.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c, err := a.Store.Counts(t.Context()); err != nil || c.Waiting+c.Dead != 0 || len(a.Printed()) != 0 {
		t.Errorf("left are %+v (%v), and %d are printed", c, err, len(a.Printed()))
	}
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "mail"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "mail", "reset_password.txt"), []byte("{{.Nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	public["pages.folder"] = folder
	if _, err := New(t.Context(), Options{Config: configure(t, public), Logger: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "reset_password.txt") {
		t.Errorf("a broken template is told as %v", err)
	}
}
