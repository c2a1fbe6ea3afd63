package account_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/mail"
)

// A model of one account: which of the links that were ever mailed are good.
type accountModel struct {
	*place
	id       string
	email    string
	verified bool
	password string
	links    []*modelLink
	changes  int
}

type modelLink struct {
	kind    account.LinkKind
	token   string
	email   string
	expires time.Time
	dead    bool
}

func (m *accountModel) die(kinds ...account.LinkKind) {
	for _, l := range m.links {
		for _, kind := range kinds {
			l.dead = l.dead || l.kind == kind
		}
	}
}

// mailed takes the one link from the outbox.
func (m *accountModel) mailed(kind account.LinkKind, email string) {
	token := ""
	for _, mail := range m.mails() {
		if mail.token != "" {
			token = mail.token
		}
	}
	m.die(kind)
	m.links = append(m.links, &modelLink{kind: kind, token: token, email: email, expires: m.now.Add(account.LinkLife)})
}

func (m *accountModel) next(what string) string {
	m.changes++
	return fmt.Sprintf("%s %d of %s", what, m.changes, m.id)
}

func (m *accountModel) forgets() {
	m.must(m.Forgot(m.t.Context(), m.email, here))
	m.mailed(account.LinkReset, m.email)
}

func (m *accountModel) asksAgain() {
	u := m.user(m.email)
	m.must(m.SendVerification(m.t.Context(), u, here))
	if !m.verified {
		m.mailed(account.LinkVerify, m.email)
	} else if got := m.mails(); got != nil {
		m.t.Errorf("mailed %+v", got)
	}
}

func (m *accountModel) moves() {
	m.changes++
	email := fmt.Sprintf("new.%d.%s@example.com", m.changes, m.id)
	m.must(m.ChangeEmail(m.t.Context(), m.user(m.email), email, m.password, here))
	m.mailed(account.LinkEmail, email)
}

func (m *accountModel) changesPassword() {
	next := m.next("a phrase to remember")
	m.must(m.ChangePassword(m.t.Context(), m.user(m.email), m.password, next, "", false, here))
	m.password = next
	m.die(account.LinkReset, account.LinkEmail)
	if got := m.mails(); len(got) != 1 || got[0].kind != mail.PasswordChanged {
		m.t.Errorf("mailed %+v", got)
	}
}

// spends tries a link, and says what the model says.
func (m *accountModel) spends(l *modelLink) {
	next := m.next("a phrase by link")
	var err error
	if l.kind == account.LinkReset {
		err = m.Reset(m.t.Context(), l.token, next, here)
	} else {
		err = m.verify(l.token)
	}
	_ = m.mails()
	if l.dead || !m.now.Before(l.expires) {
		if !errors.Is(err, account.ErrLinkOver) {
			m.t.Errorf("a %s link that is over answers %v", l.kind, err)
		}
		return
	}
	m.must(err)
	l.dead = true
	m.verified = true
	switch l.kind {
	case account.LinkReset:
		m.password = next
		m.die(account.LinkReset, account.LinkEmail)
	case account.LinkEmail:
		m.email = l.email
		m.die(account.LinkReset, account.LinkVerify, account.LinkEmail)
	}
}

// V-87, V-91: whatever happens in whatever order, a link is good or not as this model
// says, and the account is as the last good one left it.
func TestLinksOfOneAccount(t *testing.T) {
	p := newPlace(t, account.Config{})
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		m := &accountModel{place: p, id: fmt.Sprint(n), email: fmt.Sprintf("ada.%d@example.com", n), password: password}
		p.add(m.email)
		for range 12 {
			p.now = p.now.Add(3 * account.LinkLife / 10) // so that nobody asks too often
			switch rapid.IntRange(0, 6).Draw(r, "what") {
			case 0:
				m.forgets()
			case 1:
				m.asksAgain()
			case 2:
				m.moves()
			case 3:
				m.changesPassword()
			default:
				if len(m.links) > 0 {
					m.spends(rapid.SampledFrom(m.links).Draw(r, "link"))
				}
			}
			u := p.user(m.email)
			if u.EmailVerified != m.verified || !p.signsIn(m.email, m.password) || t.Failed() {
				r.Fatalf("the account is %+v, want verified %v", u, m.verified)
			}
		}
	})
}
