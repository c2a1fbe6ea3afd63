package app

import (
	"io/fs"
	"net/url"

	"github.com/coatcheck/coatcheck/internal/catalogue"
	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/mail"
)

// hasMail reports whether mails reach people: by a mail server, or by the log and
// /dev/mail where somebody develops.
func hasMail(c *config.Config) bool { return c.Mail.Host != "" || c.Loopback() }

// wireMail puts together what writes and sends mails, by the transport if one is given.
func (a *App) wireMail(words *catalogue.Catalogue, public *url.URL, pages fs.FS, transport mail.Transport) error {
	switch {
	case transport != nil:
	case a.config.Mail.Host != "":
		transport = smtpOf(&a.config)
	case a.config.Loopback():
		a.printer = mail.NewPrinter(a.logger)
		transport = a.printer
	default:
		transport = mail.Nowhere{}
	}
	var shadow fs.FS
	if pages != nil {
		var err error
		if shadow, err = fs.Sub(pages, "mail"); err != nil {
			return err
		}
	}
	brand := &a.config.Brand
	site := mail.Site{PublicURL: public, Name: brand.Name, Color: brand.Color, Help: brand.Help}
	writer, err := mail.NewWriter(site, words, a.Accounts.MailedLink, shadow)
	if err != nil {
		return err
	}
	a.Outbox = mail.NewOutbox(a.Store, writer.Write, transport, a.now, a.logger)
	a.Store.Posted(a.Outbox.Wake)
	return nil
}

// smtpOf is the mail server of a configuration.
func smtpOf(c *config.Config) *mail.SMTP {
	m := &c.Mail
	name := c.Brand.Name
	if name == "" {
		name = c.Host()
	}
	return &mail.SMTP{
		Host: m.Host, Port: m.Port, User: m.User, Password: string(m.Password), TLS: m.TLS, From: m.From, Name: name,
	}
}

// Printed returns the mails that were printed instead of sent, newest first, at most 50.
func (a *App) Printed() []mail.Written {
	if a.printer == nil {
		return nil
	}
	return a.printer.Mails()
}
