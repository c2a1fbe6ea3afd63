package config

import (
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"unicode"
)

// host is the name or address of another machine.
func host(p *string) value {
	return single("host", func(text string) error {
		if text != "" && !isHost(text) {
			return fmt.Errorf("%s is no host: write a name such as mail.example.com or an IP address, without a port", quote(text))
		}
		*p = text
		return nil
	}, func() string { return *p })
}

func isVisible(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// visible is any text on one line.
func visible(p *string) value {
	return single("text", func(text string) error {
		if !isVisible(text) {
			return fmt.Errorf("%s holds what cannot be printed", quote(text))
		}
		*p = text
		return nil
	}, func() string { return *p })
}

// password is a secret that somebody else has made. Its error does not repeat it.
func password(p *Secret) value {
	return single("text", func(text string) error {
		if !isVisible(text) {
			return errors.New("a password is one line of what can be printed")
		}
		*p = Secret(text)
		return nil
	}, func() string {
		if len(*p) == 0 {
			return ""
		}
		return hidden
	})
}

// sender is who mails are from. Its address is plain ASCII, which every server takes.
func sender(p *string) value {
	return single("address", func(text string) error {
		if text == "" {
			*p = ""
			return nil
		}
		address, err := mail.ParseAddress(text)
		odd := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"(),:;<>[\]`, r) }
		if err == nil {
			local, domain, _ := strings.Cut(address.Address, "@")
			if !isHost(domain) || strings.ContainsFunc(local, odd) || !isVisible(address.Name) {
				err = errors.New("odd")
			}
		}
		if err != nil {
			return fmt.Errorf("%s is nobody that mails can be from: write no-reply@example.com or Example <no-reply@example.com>", quote(text))
		}
		*p = text
		return nil
	}, func() string { return *p })
}

const implicitPort = 465

// checkMail checks the mail server, and what is asked of people where there is none.
func (r *reading) checkMail() {
	if !r.sound("mail.host") {
		return
	}
	if r.Mail.Host == "" {
		r.checkWithoutMail()
		return
	}
	if r.sound("mail.tls", "mail.port") {
		if r.Mail.TLS == "none" && !isLoopback(r.Mail.Host) {
			r.mistake("mail.tls", "none sends passwords, links and addresses for everyone on the way to read: only a mail server on this machine may be spoken to like that")
		}
		if r.Mail.TLS == "implicit" && !r.Given("mail.port") {
			r.Mail.Port = implicitPort
			r.sources["mail.port"] = source{where: `default with mail.tls = "implicit"`}
		}
	}
	if r.sound("mail.from") && r.Mail.From == "" {
		r.mistake("mail.from", "mail.host is given, and mails need an address to be from, such as no-reply@example.com")
	}
	if r.sound("mail.user", "mail.password", "mail.password_file") && (r.Mail.User == "") != (len(r.Mail.Password) == 0) {
		r.blame("signing in to the mail server needs both mail.user and mail.password", "mail.user", "mail.password", "mail.password_file")
	}
}

// checkWithoutMail decides what verify_email is without a mail server. On this machine
// mails are printed, so nothing is impossible.
func (r *reading) checkWithoutMail() {
	switch {
	case !r.sound("public_url", "verify_email"):
	case r.Loopback():
		if !r.Given("verify_email") {
			r.VerifyEmail = "optional"
			r.sources["verify_email"] = source{where: "default without mail.host"}
		}
	case !r.Given("verify_email"):
		r.mistake("verify_email", `there is no mail.host, so nobody can prove that an address is theirs: set up mail, or write verify_email = "optional" if anyone may sign up with any address`)
	case r.VerifyEmail == "required":
		r.mistake("verify_email", `there is no mail.host, so nobody could prove their address and no account would ever be made: set up mail, or write verify_email = "optional"`)
	}
}
