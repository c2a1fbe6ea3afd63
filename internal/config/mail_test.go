package config

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// What is asked of people hangs on whether they can be reached, and nothing is decided
// in silence: a public server that cannot mail starts only if it was told so in words.
func TestVerifyEmailByMail(t *testing.T) {
	const public, mailed = "public_url = 'https://auth.example.com'\n", "mail.host = 'mail.example.com'\nmail.from = 'a@b.example'\n"
	for _, c := range []struct{ text, want, source string }{
		{"", "optional", "default without mail.host"},
		{"verify_email = 'required'\n", "required", "coatcheck.toml:1"},
		{mailed, "required", "default"},
		{public + mailed, "required", "default"},
		{public + mailed + "verify_email = 'optional'\n", "optional", "coatcheck.toml:4"},
		{public + "verify_email = 'optional'\n", "optional", "coatcheck.toml:2"},
	} {
		write(t, c.text)
		l := load(t, Options{})
		if l.VerifyEmail != c.want || l.Source("verify_email") != c.source {
			t.Errorf("with %q it is %s, from %s", c.text, l.VerifyEmail, l.Source("verify_email"))
		}
	}
}

func TestMailServer(t *testing.T) {
	write(t, "mail.host = 'mail.example.com'\nmail.from = 'Zoë & Söhne <no-reply@b.example>'\nmail.tls = 'implicit'\nmail.user = 'u@b.example'\n")
	if err := os.WriteFile("password", []byte("p ä'\"ss\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := load(t, Options{Environ: []string{"COATCHECK_MAIL_PASSWORD_FILE=password"}})
	if m := l.Mail; m.Port != 465 || string(m.Password) != "p ä'\"ss" || m.User != "u@b.example" || m.From != "Zoë & Söhne <no-reply@b.example>" {
		t.Errorf("the mail server is %+v", m)
	}
	if source := l.Source("mail.port"); source != `default with mail.tls = "implicit"` {
		t.Errorf("mail.port comes from %s", source)
	}
	if l = load(t, Options{Environ: []string{"COATCHECK_MAIL_PASSWORD=x", "COATCHECK_MAIL_PORT=2465"}}); l.Mail.Port != 2465 {
		t.Errorf("mail.port is %d", l.Mail.Port)
	}
	for _, host := range []string{"127.0.0.1", "::1", "localhost", "mail.localhost"} {
		write(t, fmt.Sprintf("mail.host = '%s'\nmail.from = 'a@b.example'\nmail.tls = 'none'\n", host))
		load(t, Options{})
	}
}

// V-104: the password is in no table, flag or print.
func TestMailPasswordIsHidden(t *testing.T) {
	write(t, "mail.host = 'mail.example.com'\nmail.from = 'a@b.example'\nmail.user = 'u'\nmail.password = 'a very good one'\n")
	l := load(t, Options{})
	if all := fmt.Sprintf("%v %+v %#v", l.Table(), l.Config, l.Config); strings.Contains(all, "good one") || !strings.Contains(all, "hidden") {
		t.Errorf("the password is shown: %s", all)
	}
	if k, _ := keyNamed("mail.password"); k.Flag() != "" {
		t.Errorf("the password is a flag, %s", k.Flag())
	}
}
