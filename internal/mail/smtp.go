package mail

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
	"golang.org/x/net/idna"
)

// The ways of TLS to a mail server. There is none that would go on without it where it
// was wanted, or with a certificate that is not the server's.
const (
	StartTLS = "starttls" // demanded after the greeting
	Implicit = "implicit" // from the first byte
	NoTLS    = "none"     // for a server on this machine
)

// patience is how long connecting may take, and each mail, unless told otherwise.
const patience = 30 * time.Second

// An SMTP is a mail server that takes our mails.
type SMTP struct {
	Host     string
	Port     int
	User     string // empty: nobody signs in
	Password string
	TLS      string         // StartTLS, Implicit or NoTLS
	From     string         // an address, with or without a name before it
	Name     string         // what From is called if it does not say
	Patience time.Duration  // for connecting, and for each mail; zero is 30 s
	Roots    *x509.CertPool // nil: those of the machine
}

// Connect connects and signs in.
func (s *SMTP) Connect(ctx context.Context) (Line, error) {
	from, err := netmail.ParseAddress(s.From)
	if err != nil {
		return nil, fmt.Errorf("mail.from: %w", err)
	}
	// Beside a letter beyond ASCII a backslash makes a name that nobody reads back.
	from.Name = strings.ReplaceAll(line(cmp.Or(from.Name, s.Name)), `\`, "")
	l := &smtpLine{from: *from}
	client, err := gomail.NewClient(s.Host, s.options(ctx, l)...)
	if err != nil {
		return nil, fmt.Errorf("prepare a line to the mail server: %w", err)
	}
	l.client = client
	l.server, err = client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		l.cut()
		return nil, fmt.Errorf("the mail server at %s: %w", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), err)
	}
	return l, nil
}

// options are the client's. The preferred ways to sign in do not show the password to
// the server; those that do are for TLS, or for this machine.
func (s *SMTP) options(ctx context.Context, l *smtpLine) []gomail.Option {
	wait := cmp.Or(s.Patience, patience)
	config := &tls.Config{ServerName: s.Host, MinVersion: tls.VersionTLS12, RootCAs: s.Roots}
	policy := gomail.NoTLS
	if s.TLS != NoTLS && s.TLS != Implicit {
		policy = gomail.TLSMandatory
	}
	hello, err := os.Hostname()
	if err != nil || strings.ContainsFunc(hello, unicode.IsSpace) || hello == "" {
		hello = "localhost"
	}
	options := []gomail.Option{
		gomail.WithPort(s.Port), gomail.WithTimeout(wait), gomail.WithHELO(hello), gomail.WithTLSPolicy(policy),
		gomail.WithTLSConfig(config), gomail.WithoutNoop(), gomail.WithoutRset(),
		gomail.WithDialContextFunc(func(dialing context.Context, network, address string) (net.Conn, error) {
			return l.dial(ctx, dialing, network, address, s.TLS == Implicit, config)
		}),
	}
	if s.User == "" {
		return options
	}
	ways := []gomail.SMTPAuthType{
		gomail.SMTPAuthSCRAMSHA256PLUS, gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthSCRAMSHA1PLUS, gomail.SMTPAuthSCRAMSHA1,
		gomail.SMTPAuthPlain, gomail.SMTPAuthLogin,
	}
	if s.TLS == NoTLS {
		ways = []gomail.SMTPAuthType{
			gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthSCRAMSHA1, gomail.SMTPAuthPlainNoEnc, gomail.SMTPAuthLoginNoEnc,
		}
	}
	return append(options, gomail.WithUsername(s.User), gomail.WithPassword(s.Password), gomail.WithOpportunisticSMTPAuth(ways...))
}

// An smtpLine is a connection on which somebody has signed in.
type smtpLine struct {
	from   netmail.Address
	client *gomail.Client
	server *smtp.Client
	conn   net.Conn
	stop   func() bool // lets go of the context
}

// dial connects, and sees to it that nothing waits on the connection once ctx is over:
// the library itself looks at a context only while it connects, and leaves the
// connection open when it fails later.
func (l *smtpLine) dial(ctx, dialing context.Context, network, address string, encrypted bool, config *tls.Config) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(dialing, network, address)
	if err != nil {
		return nil, err
	}
	l.conn, l.stop = conn, context.AfterFunc(ctx, func() { _ = conn.Close() })
	if !encrypted {
		return conn, nil
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(dialing); err != nil {
		return nil, err
	}
	return secure, nil
}

// cut closes the connection without a word.
func (l *smtpLine) cut() {
	if l.conn != nil {
		l.stop()
		_ = l.conn.Close() // it has failed, or the farewell has closed it
	}
}

// Close says goodbye and closes the connection.
func (l *smtpLine) Close() {
	_ = l.client.CloseWithSMTPClient(l.server) // every mail was acknowledged by itself
	l.cut()
}

// Send hands over one mail.
func (l *smtpLine) Send(w Written) error {
	to, plain, err := mailbox(w.To)
	if err != nil {
		return &Refusal{Why: "this is no address that mail can be sent to", Final: true}
	}
	if able, _ := l.server.Extension("SMTPUTF8"); !able && !plain {
		return &Refusal{Why: "the mail server takes no address with letters beyond ASCII (it does not offer SMTPUTF8)", Final: true}
	}
	message, err := l.compose(w, to)
	if err != nil {
		return &Refusal{Why: "the mail cannot be put together: " + err.Error(), Final: true}
	}
	// Asked for without need, it makes servers further on refuse plain addresses.
	l.server.SkipSMTPUTF8(plain)
	err = l.client.SendWithSMTPClient(l.server, message)
	if err == nil || message.IsDelivered() {
		return nil
	}
	err = judge(err)
	if refused := (*Refusal)(nil); errors.As(err, &refused) {
		_ = l.server.Reset() // else what was begun would still be open; the next mail shows whether it worked
	}
	return err
}

// mailbox returns the address as it is written to a mail server, and whether it is
// plain ASCII. A domain can always be.
func mailbox(address string) (to string, plain bool, err error) {
	local, domain, found := strings.Cut(address, "@")
	if !found {
		return "", false, errors.New("no address")
	}
	domain, err = idna.Lookup.ToASCII(domain)
	if err != nil {
		return "", false, err
	}
	plain = !strings.ContainsFunc(local, func(r rune) bool { return r > unicode.MaxASCII })
	return local + "@" + domain, plain, nil
}

// compose writes the mail with its headers.
func (l *smtpLine) compose(w Written, to string) (*gomail.Msg, error) {
	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := m.From(l.from.String()); err != nil {
		return nil, errors.New("mail.from is no address")
	}
	if err := m.To(to); err != nil {
		return nil, errors.New("the recipient's address is not one") // the library's error quotes it
	}
	_, domain, _ := strings.Cut(l.from.Address, "@")
	m.SetMessageIDWithValue(line(w.ID) + "@" + domain)
	m.SetDateWithValue(w.Date)
	m.Subject(line(w.Subject))
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	m.SetGenHeader("X-Auto-Response-Suppress", "All")
	m.SetGenHeader("Content-Language", line(w.Language))
	m.SetBodyString(gomail.TypeTextPlain, w.Text)
	m.AddAlternativeString(gomail.TypeTextHTML, w.HTML)
	return m, nil
}

// line returns text that fits on one line: whatever ends a line, or is not to be
// printed, becomes a space, so that no value begins another header.
func line(text string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)), " ")
}

// judge tells what the server says about a mail from what ends the line.
func judge(err error) error {
	var failed *gomail.SendError
	if !errors.As(err, &failed) || failed.ErrorCode() == 0 {
		return errors.New("the line to the mail server broke")
	}
	code, status := failed.ErrorCode(), failed.EnhancedStatusCode()
	said := strings.TrimSpace(strconv.Itoa(code) + " " + status)
	const closing, permanent = 421, 500
	// What an operator can mend is no reason to give up: who may send from where and
	// as whom (5.7), and whether anybody may without signing in (530, 535).
	mendable := strings.HasPrefix(status, "5.7.") || code == 530 || code == 535
	switch {
	case code == closing:
		return errors.New("the mail server closes the line (" + said + ")")
	case failed.Reason == gomail.ErrSMTPMailFrom:
		return errors.New("the mail server does not take mails from the address in mail.from (" + said + ")")
	case failed.Reason == gomail.ErrSMTPRcptTo:
		return &Refusal{Why: "the mail server does not take the recipient (" + said + ")", Final: code >= permanent && !mendable}
	}
	return &Refusal{Why: "the mail server does not take the mail (" + said + ")", Final: code >= permanent}
}
