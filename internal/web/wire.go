package web

import (
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/session"
)

// What goes over the wire. Times are RFC 3339 in UTC.

type user struct {
	ID            string    `json:"id"`
	Email         string    `json:"email"`
	EmailVerified bool      `json:"email_verified"`
	Name          string    `json:"name"`
	CreatedAt     time.Time `json:"created_at"`
}

func userOf(u *account.User) user {
	return user{ID: u.ID, Email: u.Email, EmailVerified: u.EmailVerified, Name: u.Name, CreatedAt: u.CreatedAt.UTC()}
}

type sessionView struct {
	ID            string    `json:"id"`
	CreatedAt     time.Time `json:"created_at"`
	LastSeenAt    time.Time `json:"last_seen_at"`
	IdleExpiresAt time.Time `json:"idle_expires_at"`
	ExpiresAt     time.Time `json:"expires_at"`
	AuthTime      time.Time `json:"auth_time"`
	AMR           []string  `json:"amr"`
	ACR           string    `json:"acr"`
}

func sessionOf(st *session.Standing, seen time.Time) sessionView {
	v := &st.Session
	return sessionView{
		ID: v.ID, CreatedAt: v.CreatedAt.UTC(), LastSeenAt: seen.UTC(), IdleExpiresAt: st.IdleEnds(seen).UTC(),
		ExpiresAt: v.ExpiresAt.UTC(), AuthTime: time.Unix(v.AuthTime, 0).UTC(), AMR: v.AMR, ACR: v.ACR,
	}
}

type tokens struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in" about:"seconds"`
	RefreshToken string `json:"refresh_token,omitzero"`
}

func tokensOf(t session.Tokens) *tokens {
	return &tokens{AccessToken: t.Access, TokenType: "Bearer", ExpiresIn: int64(t.ExpiresIn / time.Second), RefreshToken: t.Refresh}
}

type signedIn struct {
	User    user        `json:"user"`
	Session sessionView `json:"session"`
	Tokens  *tokens     `json:"tokens,omitzero"`
}

type signedInAs struct {
	User    user        `json:"user"`
	Session sessionView `json:"session"`
	Via     session.Via `json:"via" about:"cookie or token"`
}
