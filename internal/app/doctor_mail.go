package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/mail"
)

const (
	// patient is how long the doctor waits for the mail server.
	patient = 10 * time.Second
	// overdue is how long a mail may wait before it is worth a word.
	overdue = 10 * time.Minute
)

// mail connects to the mail server and signs in. It sends nothing.
func (d *doctor) mail(ctx context.Context) {
	c := &d.config
	if c.Mail.Host == "" {
		if c.Loopback() {
			d.find("mail", Fine, "None is needed on this machine: mails are printed in the log and at /dev/mail.", "")
			return
		}
		d.find("mail", Note, "No mail is sent, so nobody proves that an address is theirs (verify_email is optional) and nobody can reset a password alone.",
			"Treat an email as a name that somebody chose. A password is reset with coatcheck user set-password. Or set up mail: see docs/mail.md.")
		return
	}
	server := smtpOf(c)
	server.Patience, server.Roots = patient, d.roots
	ctx, cancel := context.WithTimeout(ctx, 2*patient)
	defer cancel()
	line, err := server.Connect(ctx)
	if err != nil {
		d.find("mail", Serious, "The mail server cannot be used: "+err.Error()+".", mailAdvice(err, c.Mail.TLS))
		return
	}
	line.Close()
	how := map[string]string{mail.StartTLS: "with STARTTLS", mail.Implicit: "with TLS", mail.NoTLS: "without TLS, on this machine"}[c.Mail.TLS]
	if c.Mail.User != "" {
		how += ", and lets us sign in"
	}
	d.find("mail", Fine, fmt.Sprintf("The mail server at %s answers %s.", net.JoinHostPort(c.Mail.Host, fmt.Sprint(c.Mail.Port)), how), "")
}

// mailAdvice says what to do about a mail server that cannot be used.
func mailAdvice(err error, policy string) string {
	var name *net.DNSError
	var dialed *net.OpError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch text := err.Error(); {
	case errors.As(err, &name):
		return "Look whether mail.host is written right, and whether this machine can look up names."
	case errors.As(err, &certificate):
		return "mail.host has to be a name in the server's certificate. If its authority is your own, let this machine trust it (SSL_CERT_FILE)."
	case errors.As(err, &record):
		return `The port speaks no TLS from its beginning: write mail.tls = "starttls" with port 587, or use port 465.`
	case strings.Contains(text, "STARTTLS"):
		return `Nothing is sent in the clear. Use the server's port for submission (587), or mail.tls = "implicit" with port 465.`
	case strings.Contains(text, "AUTH"):
		return "Look at mail.user and mail.password: coatcheck config says where each comes from. Some servers want a password that is for programs alone."
	case errors.As(err, &dialed) && dialed.Op == "dial":
		return "Look at mail.host and mail.port, and whether a firewall on the way, or your provider, lets this machine out to that port."
	case policy == mail.Implicit:
		return `Look at mail.port: TLS from the beginning is spoken at 465. For 587 write mail.tls = "starttls".`
	}
	return `Look at mail.host, mail.port and mail.tls: STARTTLS is usually spoken at 587, TLS from the beginning ("implicit") at 465.`
}

// outbox looks at what waits and at what could not be sent.
func (d *doctor) outbox(ctx context.Context, store mail.Store) {
	c, err := store.Counts(ctx)
	if err != nil {
		d.find("mail", Serious, "The outbox cannot be read: "+err.Error()+".", d.databaseAdvice())
		return
	}
	if waits := d.now().Sub(c.Oldest); c.Waiting > 0 && waits > overdue {
		why := ""
		if c.Failure != "" {
			why = " Lately: " + c.Failure + "."
		}
		d.find("mail", Serious, fmt.Sprintf("Mails that wait: %d, the oldest for %s.%s", c.Waiting, waits.Round(time.Minute), why),
			"Look whether the server runs, for it sends them, and whether the mail server takes them. None is lost; those with a link are given up after an hour, others after three days.")
	}
	if c.Dead > 0 {
		d.find("mail", Note, fmt.Sprintf("Dead letters of the last 30 days: %d, the last because %s.", c.Dead, c.Failure),
			"A few are mistyped addresses. Many are a sign that the mail server does not like our mails: look at its log, and at SPF and DKIM of the domain in mail.from.")
	}
	if c.Waiting+c.Dead == 0 || c.Dead == 0 && d.now().Sub(c.Oldest) <= overdue {
		d.find("mail", Fine, fmt.Sprintf("Mails that wait: %d, and there are no dead letters.", c.Waiting), "")
	}
}
