package account

import (
	"context"
	"fmt"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/mail"
)

// A Place names the place of an address ("Berlin, Germany"), or says "" of one that it
// does not know. language is a language tag or an Accept-Language header. Nil knows no
// place. It is called from many goroutines.
type Place func(ip, language string) string

// Name is the place, called where nil is one too.
func (p Place) Name(ip, language string) string {
	if p == nil || ip == "" {
		return ""
	}
	return p(ip, language)
}

// Notice returns a mail that tells a user what happened: with which device, and from
// where and when. The address stands in for a place that is not known. What is empty
// (an administrator's device and origin are not the person's to know) is left out.
func Notice(kind mail.Kind, u User, device string, from audit.Origin, at time.Time, place Place) mail.Message {
	m := mail.New(kind, u.Email, from.Language)
	m.Values = map[string]string{"at": at.UTC().Format(time.RFC3339)}
	where, ip := place.Name(from.IP, from.Language), from.IP
	if where != "" {
		ip = ""
	}
	for name, value := range map[string]string{"name": u.Name, "device": device, "place": where, "ip": ip} {
		if value != "" {
			m.Values[name] = value
		}
	}
	return m
}

// Links returns the mailed links that are kept of a user, the oldest first: those about
// the account, and those to its address once that is known to be theirs.
func (d *Directory) Links(ctx context.Context, u User) ([]Link, error) {
	key := ""
	if u.EmailVerified {
		key = u.EmailKey
	}
	links, err := d.links.LinksOf(ctx, u.ID, key)
	if err != nil {
		return nil, fmt.Errorf("list links: %w: %w", fault.ErrUnavailable, err)
	}
	return links, nil
}
