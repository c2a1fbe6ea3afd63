package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/mail"
)

// A RefreshRequest asks for a successor.
type RefreshRequest struct {
	Token    string
	ClientID string // who asks: first-party here, else the authenticated client
	Key      string // the Idempotency-Key; shorter than 22 characters it is ignored
	Audience string
	Scope    string
	Arrived  time.Time // when the request came in: what grace is measured to
	Beside   string    // a grant id that the token must be of; empty: any
	From     audit.Origin
}

// remembered is how many spent generations a grant remembers.
const remembered = 8

// minKeyLength is the length of an Idempotency-Key of 128 bits in base64url.
const minKeyLength = 22

// Refresh exchanges a refresh token for its successor and a new access token.
// It is idempotent: within the grace, or with the Idempotency-Key that rotated
// it, a spent token gives the same successor again. Any other spent token is
// theft and ends what it was drawn on.
func (m *Manager) Refresh(ctx context.Context, r RefreshRequest) (Tokens, error) {
	drawn, err := m.exchange(ctx, r)
	return Tokens{Access: drawn.Access, ExpiresIn: drawn.ExpiresIn, Refresh: drawn.Refresh, Until: drawn.until}, err
}

// exchange is Refresh for any client.
func (m *Manager) exchange(ctx context.Context, r RefreshRequest) (Drawn, error) {
	token, genuine := m.refresh.parse(r.Token)
	if !genuine || r.Beside != "" && r.Beside != token.grantID {
		return Drawn{}, ErrInvalidToken
	}
	for range attempts {
		drawn, err := m.exchangeOnce(ctx, token, r)
		if !errors.Is(err, ErrLost) {
			return drawn, err
		}
	}
	return Drawn{}, fault.ErrUnavailable
}

func (m *Manager) exchangeOnce(ctx context.Context, token refreshToken, r RefreshRequest) (Drawn, error) {
	st, err := m.store.OfGrant(ctx, token.grantID)
	if errors.Is(err, ErrNone) {
		return Drawn{}, ErrEnded
	}
	if err != nil {
		return Drawn{}, unavailable("read a grant", err)
	}
	if st.Client.ID != r.ClientID {
		return Drawn{}, ErrInvalidToken
	}
	if st.over(st.Now, m.seen.at(st.Session.ID)) || st.grantOver() {
		return Drawn{}, ErrEnded
	}
	if r.Audience, r.Scope, err = st.reach(r.Audience, r.Scope, m.config.Issuer); err != nil {
		return Drawn{}, err
	}
	return m.decide(ctx, &st, token, r)
}

// decide is the heart of rotation: what a genuine token of a living grant is
// worth, by its generation.
func (m *Manager) decide(ctx context.Context, st *Standing, token refreshToken, r RefreshRequest) (Drawn, error) {
	g := &st.Grant
	switch behind := int64(g.Generation) - int64(token.generation); {
	case behind < 0, behind == 0 && !token.secret.Opens(g.RefreshHash):
		return Drawn{}, m.endGrant(ctx, st, "restored", r.From)
	case behind == 0:
		return m.rotate(ctx, st, token, r)
	case behind == 1 && m.mayRepeat(st, 0, r):
		next := m.refresh.successor(token, g.Salt)
		if !next.secret.Opens(g.RefreshHash) {
			return Drawn{}, m.endGrant(ctx, st, "restored", r.From)
		}
		return m.giveOut(ctx, st, next, r)
	case behind > 1 && behind <= int64(len(g.Rotations)) && m.mayRepeat(st, int(behind)-1, r):
		return Drawn{}, ErrInvalidToken
	}
	return Drawn{}, m.endGrant(ctx, st, "refresh_reused", r.From)
}

// mayRepeat reports whether presenting again a token that the given rotation
// spent is a duplicate and not a theft: it came within the grace of that
// rotation, or with its key.
func (m *Manager) mayRepeat(st *Standing, rotation int, r RefreshRequest) bool {
	if rotation >= len(st.Grant.Rotations) {
		return false
	}
	spent := st.Grant.Rotations[rotation]
	key := hashKey(r.Key)
	if key != (credential.Hash{}) && key == spent.Key {
		return true
	}
	arrived := st.Now.Add(-m.now().Sub(r.Arrived)) // in the store's time
	return arrived.Sub(spent.At) <= m.config.Grace
}

// hashKey returns what is kept of an Idempotency-Key; zero for one that is too
// short to count.
func hashKey(key string) credential.Hash {
	if len(key) < minKeyLength {
		return credential.Hash{}
	}
	return sha256.Sum256([]byte(key))
}

// rotate spends the current generation by one swap. The tokens are minted first,
// so that what cannot be given out spends nothing.
func (m *Manager) rotate(ctx context.Context, st *Standing, token refreshToken, r RefreshRequest) (Drawn, error) {
	var salt [16]byte
	_, _ = rand.Read(salt[:]) // never fails: crypto/rand.Read ends the program instead
	next := m.refresh.successor(token, salt)
	drawn, err := m.giveOut(ctx, st, next, r)
	if err != nil {
		return Drawn{}, err
	}
	key := hashKey(r.Key)
	if len(st.Grant.Rotations) > 0 && key == st.Grant.Rotations[0].Key {
		key = credential.Hash{} // a key that does not change proves nothing
	}
	kept := st.Grant.Rotations[:min(len(st.Grant.Rotations), remembered-1)]
	rotations := append(append(make([]Rotation, 0, remembered), Rotation{Key: key}), kept...)
	if err := m.writeSeen(ctx, m.seen.of(st.Session.ID)); err != nil {
		return Drawn{}, err
	}
	err = m.store.Rotate(ctx, Swap{
		GrantID: st.Grant.ID, Generation: token.generation, Presented: token.secret.Hash(),
		Next: next.secret.Hash(), Salt: salt, Rotations: rotations,
		Seen: !m.config.Strict,
	})
	if err != nil {
		return Drawn{}, unavailable("rotate a refresh token", err)
	}
	return drawn, nil
}

func (m *Manager) giveOut(ctx context.Context, st *Standing, next refreshToken, r RefreshRequest) (Drawn, error) {
	drawn, err := m.give(ctx, st, r.Audience, r.Scope, "")
	if err != nil {
		return Drawn{}, err
	}
	drawn.Refresh = m.refresh.encode(next)
	return drawn, nil
}

// endGrant ends the grant, and the session too if that is the client's own or the grant
// first-party, and returns what the holder is told.
func (m *Manager) endGrant(ctx context.Context, st *Standing, reason string, from audit.Origin) error {
	what := Ending{Kind: feed.Grant, ID: st.Grant.ID, Reason: reason}
	if st.Client.FirstParty || st.Session.ClientID != "" {
		what = Ending{Kind: feed.Session, ID: st.Session.ID, Reason: reason}
	}
	event, told := audit.SessionEnded, error(ErrEnded)
	var notices []mail.Message
	if reason == "refresh_reused" {
		event, told = audit.RefreshReused, ErrRefreshReused
		notices = append(notices, account.Notice(mail.RefreshReused, st.User, st.Session.Device, from, st.Now, m.config.Place))
	}
	e := audit.New(event, audit.OK, from)
	e.UserID, e.SessionID, e.Subject = st.User.ID, st.Session.ID, st.Grant.ID
	n, err := m.store.End(ctx, what, e, notices...)
	if err != nil {
		return unavailable("end a grant", err)
	}
	if n == 0 { // a sibling was faster, and was told
		return ErrEnded
	}
	return told
}
