package session

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/throttle"
)

// KnownFor is how long a browser is known after a sign-in: the longest that browsers
// keep a cookie.
const KnownFor = 400 * 24 * time.Hour

const (
	maxTags  = 5  // people who share a browser; the one who came longest ago is forgotten
	tagBytes = 16 // of an HMAC-SHA256: tagLength characters
)

// deviceKey makes and recognises the cookie by which a browser is known: a tag for each
// person who has signed in there, newest first, with a dot between. It opens nothing:
// who steals it is not told of, and needs the password as before. Nothing of it is kept.
type deviceKey struct{ tags macs }

func newDeviceKey(secret []byte) (*deviceKey, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "coatcheck known device", 32)
	if err != nil {
		return nil, fmt.Errorf("derive the key of known devices: %w", err)
	}
	return &deviceKey{tags: newMACs(key)}, nil
}

func (k *deviceKey) tag(userID string) string {
	var sum [sha256.Size]byte
	return base64.RawURLEncoding.EncodeToString(k.tags.sum(sum[:0], []byte(userID))[:tagBytes])
}

// recognise reports whether the cookie says that the user was here before, and returns
// the cookie that says so from now on. A cookie that we did not write is none.
func (k *deviceKey) recognise(value, userID string) (known bool, next string) {
	own := k.tag(userID)
	tags := []string{own}
	for _, tag := range cutTags(value) {
		if hmac.Equal([]byte(tag), []byte(own)) {
			known = true
		} else if len(tags) < maxTags {
			tags = append(tags, tag)
		}
	}
	return known, strings.Join(tags, ".")
}

// cutTags returns the tags of a cookie, or none at all unless it has the form that we
// write: one to five different ones, each in its only spelling.
func cutTags(value string) []string {
	if len(value) > maxTags*(tagLength+1)-1 {
		return nil
	}
	tags := strings.Split(value, ".")
	for i, tag := range tags {
		raw, err := base64.RawURLEncoding.Strict().DecodeString(tag)
		if err != nil || len(raw) != tagBytes || len(tag) != tagLength || slices.Contains(tags[:i], tag) {
			return nil
		}
	}
	return tags
}

// toldRate bounds what a person is told of sign-ins with devices that we do not know:
// a program that keeps no cookies must not fill a mailbox.
var toldRate = throttle.Rate{Burst: 10, Every: 10 * time.Minute}

// maxTold bounds the memory of that.
const maxTold = 100_000

// arrival decides whether the user is to be told of the session that st drafts, and
// fills in the cookie by which the browser is known next time.
//
// The first session of an account is no news. A browser is known by its cookie alone;
// an application that keeps none, by an earlier session without a cookie of the same
// readable device: the name of a browser is too easily guessed.
func (m *Manager) arrival(ctx context.Context, st *Standing, o Opening, opened *Opened) ([]mail.Message, error) {
	known, cookie := m.devices.recognise(o.DeviceCookie, st.User.ID)
	opened.DeviceCookie = cookie
	if known || o.Event != audit.SignedIn {
		return nil, nil
	}
	name := st.Session.Device
	if o.Browser {
		name = "" // for one that sends no cookie of ours, its name is no help
	}
	before, same, err := m.history.Devices(ctx, st.User.ID, name)
	if err != nil {
		return nil, unavailable("read the devices of a user", err)
	}
	// Sessions are kept for at least as long as they may last, so an account that is
	// younger and has none never had one.
	first := !before && st.Now.Sub(st.User.CreatedAt) < m.config.Absolute
	if first || same {
		return nil, nil
	}
	waits, err := m.told.Take(ctx, throttle.Limit{Key: "d" + st.User.ID, Rate: toldRate})
	if err != nil {
		return nil, err
	}
	if waits.Longest() > 0 {
		m.logger.Debug("somebody signs in with new devices so often that they are not told of each", "user", st.User.ID)
		return nil, nil
	}
	return []mail.Message{account.Notice(mail.NewDevice, st.User, st.Session.Device, o.From, st.Session.CreatedAt, m.config.Place)}, nil
}
