package session

import (
	"context"
	"strings"

	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
)

// A knownAnswer is what a client was told of an access token, held to the log on every
// use as a verifier holds the token: so that a gateway which asks for each request costs
// neither a signature check nor a reading of the store.
type knownAnswer struct {
	feed.Hold
	text    string
	answer  Answer
	subject feed.Subject
}

func (k *knownAnswer) Is(text string) bool { return k.text == text }

func (k *knownAnswer) Subject() feed.Subject { return k.subject }

// answersPerSession is how many sessions may be remembered for each answer that is.
const answersPerSession = 50

// knownAnswer returns what is remembered of a token, while this node knows that it has
// heard of every end.
func (m *Manager) knownAnswer(ctx context.Context, token string) (Answer, bool) {
	now := m.now()
	if m.log.CurrentAt(ctx, now) != nil {
		return Answer{}, false
	}
	known, verdict := m.answers.Get(token, later(now, m.log.Recorded()).Unix())
	if verdict != feed.Live {
		return Answer{}, false
	}
	return known.answer, true
}

// remember keeps an answer about an access token: no longer than the token lives, nor
// past the moment when its session is over unless it is seen again, which the store
// decides then. What the token does not name is held to the log as well.
func (m *Manager) remember(token string, a Answer, keyID string) {
	st, expires := &a.Standing, a.Expires
	subject := feed.Subject{Client: st.Client.ID, Key: keyID, IssuedAt: a.Issued}
	if !a.ClientOnly {
		subject.Session, subject.Grant, subject.User = st.Session.ID, st.Grant.ID, st.User.ID
		expires = min(expires, st.IdleEnds(m.seen.at(st.Session.ID)).Unix())
	}
	m.answers.Put(token, &knownAnswer{text: strings.Clone(token), answer: a, subject: subject}, expires)
}

// introspectAccess says what an access token is worth. A client is told what it was told
// before, if nothing has ended or changed since; others are told what the store says.
func (m *Manager) introspectAccess(ctx context.Context, token, clientID string) (Answer, error) {
	if clientID != "" {
		if a, known := m.knownAnswer(ctx, token); known {
			return a, nil
		}
	}
	claims, err := m.parse(ctx, token, "", later(m.now(), m.log.Recorded()))
	if err != nil {
		return Answer{}, ErrNone
	}
	var a Answer
	if credential.IsID(credential.Grant, claims.GrantID) {
		var st Standing
		if st, err = m.store.OfGrant(ctx, claims.GrantID); err != nil {
			return Answer{}, err
		}
		if claims.IssuedAt < st.floor() || st.over(st.Now, m.seen.at(st.Session.ID)) || st.grantOver() {
			return Answer{}, ErrNone
		}
		a = Answer{
			Standing: st, Subject: claims.Subject, Audience: claims.Audience[0], Scope: claims.Scope,
			Issued: claims.IssuedAt, Expires: claims.ExpiresAt, Session: claims.SessionID != "",
		}
	} else if a, err = m.introspectClient(ctx, &claims); err != nil {
		return Answer{}, err
	}
	if clientID != "" {
		m.remember(token, a, claims.KeyID)
	}
	return a, nil
}
