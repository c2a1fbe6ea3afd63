package mail_test

import (
	"context"
	"crypto/x509"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"pgregory.net/rapid"

	"github.com/coatcheck/coatcheck/internal/mail"
)

// written returns a mail with everything in it that is hard to carry.
func written(to string) mail.Written {
	return mail.Written{
		ID: "0198c0de", Kind: mail.ResetPassword, To: to, Language: "de", Date: time.Date(2030, 1, 31, 14, 5, 6, 0, time.UTC),
		Subject: "Ein neues Passwort für Zürich & Söhne, mit einem Betreff, der länger ist als eine Zeile",
		Text:    "Grüße\n.\n..\nFrom hier an: =3D " + strings.Repeat("lang ", 60) + "\n-- \nEnde\n",
		HTML:    "<!doctype html><html lang=\"de\"><body>\n<p>Grüße" + strings.Repeat("<br>x", 300) + "</p>\n</body></html>\n",
	}
}

// send sends one mail over a line of its own.
func send(t *testing.T, c *mail.SMTP, w mail.Written) error {
	t.Helper()
	line, err := c.Connect(t.Context())
	if err != nil {
		return err
	}
	defer line.Close()
	return line.Send(w)
}

func TestAMailArrivesWhole(t *testing.T) {
	s := (&server{user: "coatcheck", password: "päss wörd"}).open(t)
	w := written("ada@example.com")
	if err := send(t, s.client(), w); err != nil {
		t.Fatal(err)
	}
	got := s.taken()[0]
	if got.from != "no-reply@acme.example" || got.to != "ada@example.com" || !got.secure {
		t.Errorf("the envelope is %+v", got)
	}
	header, parts := got.open(t)
	for name, want := range map[string]string{
		"From": `"Acme" <no-reply@acme.example>`, "To": "<ada@example.com>", "Subject": w.Subject,
		"Message-Id": "<0198c0de@acme.example>", "Date": "Thu, 31 Jan 2030 14:05:06 +0000",
		"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All", "Content-Language": "de", "Mime-Version": "1.0",
	} {
		if text := decoded(t, header, name); text != want {
			t.Errorf("%s is %q, want %q", name, text, want)
		}
	}
	for _, name := range []string{"User-Agent", "X-Mailer", "Bcc", "Cc", "Reply-To"} {
		if header.Get(name) != "" {
			t.Errorf("the mail says %s: %s", name, header.Get(name))
		}
	}
	if len(parts) != 2 || parts[0] != (part{"text/plain; charset=UTF-8", w.Text}) || parts[1] != (part{"text/html; charset=UTF-8", w.HTML}) {
		t.Errorf("the parts are %q", parts)
	}
	for line := range strings.SplitSeq(string(got.raw), "\r\n") {
		if len(line) > 998 || strings.ContainsAny(line, "\r\n") {
			t.Errorf("a line is too long or broken: %.80q", line)
		}
	}
}

func TestSeveralMailsGoOverOneLine(t *testing.T) {
	s := (&server{}).open(t)
	line, err := s.client().Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	for range 3 {
		if err := line.Send(written("ada@example.com")); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.taken()); n != 3 {
		t.Errorf("%d of 3 mails arrived", n)
	}
}

// No password, address or link travels where others can read it, or to a server that
// is not the one that was named.
func TestTLSIsKeptTo(t *testing.T) {
	for name, c := range map[string]struct {
		server *server
		change func(*mail.SMTP)
		works  bool
	}{
		"starttls":                         {&server{}, nil, true},
		"implicit":                         {&server{implicit: true}, nil, true},
		"none":                             {&server{plain: true, insecure: true}, nil, true},
		"starttls where there is none":     {&server{plain: true, insecure: true}, func(c *mail.SMTP) { c.TLS = mail.StartTLS }, false},
		"no word is starttls":              {&server{plain: true, insecure: true}, func(c *mail.SMTP) { c.TLS = "" }, false},
		"implicit where there is starttls": {&server{insecure: true}, func(c *mail.SMTP) { c.TLS = mail.Implicit }, false},
		"starttls by a stranger":           {&server{insecure: true}, func(c *mail.SMTP) { c.Roots = x509.NewCertPool() }, false},
		"implicit by a stranger":           {&server{implicit: true}, func(c *mail.SMTP) { c.Roots = x509.NewCertPool() }, false},
		"starttls under another name":      {&server{insecure: true}, func(c *mail.SMTP) { c.Host = "localhost" }, false},
		"implicit under another name":      {&server{implicit: true}, func(c *mail.SMTP) { c.Host = "localhost" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.server.user, c.server.password = "coatcheck", "a password"
			s := c.server.open(t)
			client := s.client()
			client.Patience = 3 * time.Second // a server that waits for a greeting, and one that waits for TLS, wait for each other
			if c.change != nil {
				c.change(client)
			}
			err := send(t, client, written("ada@example.com"))
			if (err == nil) != c.works {
				t.Fatalf("the error is %v", err)
			}
			if said := s.said(); !c.works && len(said) > 0 {
				t.Errorf("the server heard %q", said)
			}
			if c.works && s.taken()[0].secure == c.server.plain {
				t.Error("the mail went in the clear, or was said to be encrypted")
			}
		})
	}
}

func TestSigningInToTheServer(t *testing.T) {
	s := (&server{user: "coatcheck", password: "right-password"}).open(t)
	for _, change := range []func(*mail.SMTP){
		func(c *mail.SMTP) { c.Password = "wrong-password" },
		func(c *mail.SMTP) { c.User = "another" },
		func(c *mail.SMTP) { c.User, c.Password = "", "" },
	} {
		client := s.client()
		change(client)
		err := send(t, client, written("ada@example.com"))
		if refused := (*mail.Refusal)(nil); err == nil || errors.As(err, &refused) {
			t.Errorf("as %q the mail was sent or is to blame: %v", client.User, err)
		} else if strings.Contains(err.Error(), "password") && strings.Contains(err.Error(), client.Password) && client.Password != "" {
			t.Errorf("the error tells the password: %v", err)
		}
	}
	unasked := (&server{}).open(t)
	client := unasked.client()
	client.User, client.Password = "coatcheck", "right-password"
	if err := send(t, client, written("ada@example.com")); err == nil {
		t.Error("a mail was sent without the signing in that was asked for")
	}
}

// D-22: what a server says about one mail is told from what ends the line, what is for
// good from what passes, and what an operator can mend is never for good.
func TestWhatServersSay(t *testing.T) {
	coded := func(code int, status ...int) error {
		e := &smtp.SMTPError{Code: code, Message: "ada@example.com says no"}
		if len(status) == 3 {
			e.EnhancedCode = smtp.EnhancedCode(status)
		} else {
			e.EnhancedCode = smtp.NoEnhancedCode
		}
		return e
	}
	for _, c := range []struct {
		name, stage string
		answer      error
		refused     bool
		final       bool
	}{
		{"greylisting", "RCPT", coded(451, 4, 7, 1), true, false},
		{"a full mailbox", "RCPT", coded(452, 4, 2, 2), true, false},
		{"no such mailbox", "RCPT", coded(550, 5, 1, 1), true, true},
		{"no such mailbox, in old words", "RCPT", coded(550), true, true},
		{"we may not relay", "RCPT", coded(550, 5, 7, 1), true, false},
		{"we ought to sign in", "RCPT", coded(530, 5, 7, 0), true, false},
		{"the content is refused", "DATA", coded(554, 5, 6, 0), true, true},
		{"the content is looked at later", "DATA", coded(451, 4, 3, 0), true, false},
		{"our address is refused", "MAIL", coded(553, 5, 1, 8), false, false},
		{"the server is tired", "MAIL", coded(451, 4, 3, 2), false, false},
		{"the server closes", "RCPT", coded(421, 4, 3, 2), false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := (&server{refuse: func(stage, argument string) error {
				if stage == c.stage && (stage == "MAIL" || strings.HasPrefix(argument, "ada@")) {
					return c.answer
				}
				return nil
			}}).open(t)
			line, err := s.client().Connect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer line.Close()
			err = line.Send(written("ada@example.com"))
			var refused *mail.Refusal
			if err == nil || errors.As(err, &refused) != c.refused || c.refused && refused.Final != c.final {
				t.Fatalf("the error is %#v", err)
			}
			if strings.Contains(err.Error(), "ada@") {
				t.Errorf("the error holds an address: %v", err)
			}
			if c.refused {
				if err := line.Send(written("bob@example.com")); err != nil {
					t.Errorf("the line is of no more use: %v", err)
				}
			}
		})
	}
}

// V-41: whatever stands in a value, it makes no header, no recipient and no command.
func TestHeadersCannotBeInjected(t *testing.T) {
	const evil = "\r\nBcc: eve@evil.example\r\n\r\nYou have won"
	s := (&server{utf8: true}).open(t)
	for name, change := range map[string]func(*mail.Written, *mail.SMTP){
		"subject":        func(w *mail.Written, _ *mail.SMTP) { w.Subject += evil },
		"new line":       func(w *mail.Written, _ *mail.SMTP) { w.Subject += "\nBcc: eve@evil.example\x00\u2028\u0085" },
		"id":             func(w *mail.Written, _ *mail.SMTP) { w.ID += evil },
		"language":       func(w *mail.Written, _ *mail.SMTP) { w.Language += evil },
		"our name":       func(_ *mail.Written, c *mail.SMTP) { c.From, c.Name = "no-reply@acme.example", "Acme"+evil },
		"recipient":      func(w *mail.Written, _ *mail.SMTP) { w.To += evil },
		"its local part": func(w *mail.Written, _ *mail.SMTP) { w.To = "ada" + evil + "@example.com" },
		"a second one":   func(w *mail.Written, _ *mail.SMTP) { w.To = "ada@example.com, eve@evil.example" },
		"brackets":       func(w *mail.Written, _ *mail.SMTP) { w.To = "ada@example.com><eve@evil.example" },
		"a command":      func(w *mail.Written, _ *mail.SMTP) { w.To = "ada@example.com>\r\nRCPT TO:<eve@evil.example" },
	} {
		t.Run(name, func(t *testing.T) {
			before := len(s.taken())
			w, client := written("ada@example.com"), s.client()
			change(&w, client)
			err := send(t, client, w)
			if said := s.said(); slices.ContainsFunc(said, func(c string) bool { return strings.Contains(c, "evil") }) {
				t.Fatalf("the server heard %q", said)
			}
			for _, got := range s.taken()[before:] {
				header, parts := got.open(t)
				if header.Get("Bcc") != "" || got.to != "ada@example.com" || len(parts) != 2 || parts[0].body != w.Text {
					t.Errorf("the mail is\n%s", got.raw)
				}
			}
			var refused *mail.Refusal
			if err != nil && (!errors.As(err, &refused) || !refused.Final) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// Addresses in all scripts: the domain is written in ASCII for every server, and a local
// part beyond ASCII goes to servers that can take it, with a clear word for others.
func TestUnicodeAddresses(t *testing.T) {
	for _, c := range []struct {
		address    string
		able       bool
		wantTo     string
		wantsUTF8  bool
		wantRefuse bool
	}{
		{"ada@example.com", true, "ada@example.com", false, false},
		{"ada@example.com", false, "ada@example.com", false, false},
		{"ada@bücher.example", false, "ada@xn--bcher-kva.example", false, false},
		{"ada@bücher.example", true, "ada@xn--bcher-kva.example", false, false},
		{"用户@例え.example", true, "用户@xn--r8jz45g.example", true, false},
		{"jürgen@example.com", true, "jürgen@example.com", true, false},
		{"jürgen@example.com", false, "", false, true},
	} {
		s := (&server{utf8: c.able}).open(t)
		err := send(t, s.client(), written(c.address))
		var refused *mail.Refusal
		if c.wantRefuse {
			if !errors.As(err, &refused) || !refused.Final || !strings.Contains(refused.Why, "SMTPUTF8") {
				t.Errorf("%s: the error is %v", c.address, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.address, err)
			continue
		}
		got := s.taken()[0]
		header, _ := got.open(t)
		if got.to != c.wantTo || got.wantsUTF8 != c.wantsUTF8 || decoded(t, header, "To") != "<"+c.wantTo+">" {
			t.Errorf("%s goes to %q, SMTPUTF8 %t, with To: %s", c.address, got.to, got.wantsUTF8, header.Get("To"))
		}
	}
}

// D-22: a server that is away, says nothing, or stops in the middle costs no more than
// our patience, and is no mail's fault.
func TestServersThatHang(t *testing.T) {
	for name, hang := range map[string]func(t *testing.T) *mail.SMTP{
		"nobody listens": func(t *testing.T) *mail.SMTP {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			return &mail.SMTP{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, TLS: mail.NoTLS}
		},
		"no greeting":               func(t *testing.T) *mail.SMTP { return script(t, "") },
		"no answer to the greeting": func(t *testing.T) *mail.SMTP { return script(t, "220 hello") },
		"no answer to MAIL":         func(t *testing.T) *mail.SMTP { return script(t, "220 hello", "250 hello") },
		"no answer to RCPT":         func(t *testing.T) *mail.SMTP { return script(t, "220 hello", "250 hello", "250 ok") },
		"no answer to DATA":         func(t *testing.T) *mail.SMTP { return script(t, "220 hello", "250 hello", "250 ok", "250 ok") },
		"no word of what was taken": func(t *testing.T) *mail.SMTP {
			return script(t, "220 hello", "250 hello", "250 ok", "250 ok", "354 go")
		},
		"something that is no reply": func(t *testing.T) *mail.SMTP { return script(t, "HTTP/1.1 400 Bad Request") },
		"the greeting is a refusal":  func(t *testing.T) *mail.SMTP { return script(t, "554 not today") },
	} {
		t.Run(name, func(t *testing.T) {
			client := hang(t)
			client.From, client.Patience = "no-reply@acme.example", 200*time.Millisecond
			err := send(t, client, written("ada@example.com"))
			if refused := (*mail.Refusal)(nil); err == nil || errors.As(err, &refused) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// script is a server that says one line after the other, each when something has come,
// and then nothing more.
func script(t *testing.T, lines ...string) *mail.SMTP {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		heard := make([]byte, 4096)
		for i, line := range lines {
			if line == "" {
				break
			}
			if i > 0 {
				if _, err := conn.Read(heard); err != nil {
					return
				}
			}
			if _, err := conn.Write([]byte(line + "\r\n")); err != nil {
				return
			}
		}
		for err == nil { // until the client has had enough
			_, err = conn.Read(heard)
		}
	}()
	return &mail.SMTP{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, TLS: mail.NoTLS}
}

// A server that never answers does not keep the process from ending.
func TestALineEndsWithItsContext(t *testing.T) {
	client := script(t, "220 hello", "250 hello")
	client.From, client.Patience = "no-reply@acme.example", time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	line, err := client.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error)
	go func() { sent <- line.Send(written("ada@example.com")) }()
	cancel()
	if err := <-sent; err == nil {
		t.Error("a mail was sent to a server that says nothing")
	}
	line.Close()
}

// A server that refuses the command DATA still has the mail open: it is told to forget
// it before the next.
func TestNothingIsLeftOpen(t *testing.T) {
	client := script(t, "220 hello", "250 hello", "250 from", "250 to", "452 no room", "250 reset", "250 from", "250 to", "452 no room", "250 reset")
	client.From, client.Patience = "no-reply@acme.example", time.Second
	line, err := client.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	for range 2 {
		var refused *mail.Refusal
		if err := line.Send(written("ada@example.com")); !errors.As(err, &refused) || refused.Final || !strings.Contains(refused.Why, "452") {
			t.Errorf("the error is %v", err)
		}
	}
}

// V-41, over texts that nobody would think of: one mail, to one address, with our
// headers and no others.
func TestAnyTextMakesOneMail(t *testing.T) {
	s := (&server{plain: true, insecure: true}).open(t)
	client := s.client()
	ours := []string{
		"Auto-Submitted", "Content-Language", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To", "X-Auto-Response-Suppress",
	}
	nasty := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"\r\n", "\n", "\r", "\r\nBcc: eve@evil.example\r\n\r\n", "\r\n.\r\nRSET\r\n", "=?utf-8?q?=0D=0ABcc:_x?=", "\u2028", "\x00", "<>", "\"", "\\ö"}))
	text := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(nasty, 0, 5).Draw(t, "pieces"), "")
	})
	rapid.Check(t, func(r *rapid.T) {
		before := len(s.taken())
		w := written("ada@example.com")
		w.ID, w.Language, w.Subject = text.Draw(r, "id"), text.Draw(r, "language"), text.Draw(r, "subject")
		w.Text, w.HTML, client.Name, client.From = text.Draw(r, "text"), text.Draw(r, "html"), text.Draw(r, "name"), "no-reply@acme.example"
		if err := send(t, client, w); err != nil {
			r.Fatalf("it is not sent: %v", err)
		}
		got := s.taken()[before:]
		if len(got) != 1 || got[0].to != "ada@example.com" {
			r.Fatalf("%d mails were taken", len(got))
		}
		header, parts := got[0].open(t)
		names := slices.Sorted(maps.Keys(header))
		if w.Language == "" || header.Get("Content-Language") == "" {
			names = slices.DeleteFunc(names, func(name string) bool { return name == "Content-Language" })
		}
		for _, name := range names {
			if !slices.Contains(ours, name) || len(header[name]) != 1 {
				r.Fatalf("the mail says %s: %q", name, header[name])
			}
		}
		if len(parts) != 2 {
			r.Fatalf("the mail has %d parts:\n%s", len(parts), got[0].raw)
		}
	})
}
