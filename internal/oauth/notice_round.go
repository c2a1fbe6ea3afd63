package oauth

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/coatcheck/coatcheck/internal/outbound"
)

// A noticeRound is one lease of notices to one client.
type noticeRound struct {
	*Notifier
	lease   string
	now     time.Time       // of the store, when they were claimed
	claimed time.Time       // by the process
	ctx     context.Context // the store's
	sending context.Context // of calls
	stop    context.Context // when it ends, what was not begun is given back
}

// send sends the notices of one lease, all at once.
func (b *noticeRound) send(id string, notices []Notice) error {
	client, err := b.find(b.sending, id)
	if err != nil && !errors.Is(err, ErrNoClient) {
		return errors.Join(err, b.giveBack(notices))
	}
	if err != nil || client.BackchannelLogoutURI == "" {
		b.logger.Debug("a client does not want to hear of sign-outs any more", "client", id, "notices", len(notices))
		return b.drop(notices)
	}
	var calls sync.WaitGroup
	errs := make([]error, len(notices))
	for i, one := range notices {
		calls.Go(func() { errs[i] = b.settle(client, one) })
	}
	calls.Wait()
	return errors.Join(errs...)
}

// settle sends one notice and keeps what became of it.
func (b *noticeRound) settle(client *Client, one Notice) error {
	switch {
	case !b.now.Before(one.Expires):
		why := "it was not taken in time"
		if one.Failure != "" {
			why += ": " + one.Failure
		}
		return b.bury(one, why)
	case b.stop.Err() != nil:
		return b.giveBack([]Notice{one})
	case b.away(client.ID):
		return b.putOff(one, waitOf(one, b.now, noticeWait, longestPause), cmp.Or(one.Failure, "the receiver is away"))
	}
	token, err := b.token(b.sending, client.ID, one.UserID, one.GrantID, b.now.Add(time.Since(b.claimed)))
	if err != nil {
		b.logger.Error("a logout token cannot be made, it will be tried again", "client", client.ID, "grant", one.GrantID, "error", err)
		return b.putOff(one, waitOf(one, b.now, noticeWait, noticeLongest), "the logout token cannot be made")
	}
	answer, err := b.call(b.sending, outbound.Call{
		Method: "POST", URL: client.BackchannelLogoutURI, Type: "application/x-www-form-urlencoded",
		Body: []byte("logout_token=" + url.QueryEscape(token)),
	})
	if err != nil {
		b.note(client.ID, false)
		return b.fail(one, err.Error())
	}
	return b.judge(client, one, answer.Status)
}

// judge keeps what a receiver has answered. Its status is all that counts: 200, or 204 as
// many frameworks say it, is done; 400 is that it does not take this token (Back-Channel
// Logout 1.0 §2.8).
func (b *noticeRound) judge(client *Client, one Notice, status int) error {
	why := "the receiver answered " + strconv.Itoa(status)
	switch {
	case status >= 200 && status < 300:
		b.note(client.ID, true)
		b.sent.Add(1)
		b.logger.Debug("a client was told of a sign-out", "client", client.ID, "grant", one.GrantID)
		return unleased(b.store.NoticeSent(b.ctx, one.GrantID, b.lease))
	case status >= 500 || status == 408 || status == 425 || status == 429:
		b.note(client.ID, false)
		return b.fail(one, why)
	case one.Attempts >= mostRefusals:
		b.note(client.ID, true)
		return b.bury(one, why)
	}
	b.note(client.ID, true)
	b.logger.Info("a client refused a notice of a sign-out, it will be tried again", "client", client.ID, "grant", one.GrantID, "why", why)
	return b.putOff(one, waitOf(one, b.now, refusalWait, noticeLongest), why)
}

func (b *noticeRound) fail(one Notice, why string) error {
	b.logger.Info("a client could not be told of a sign-out, it will be tried again", "client", one.ClientID, "grant", one.GrantID, "why", why)
	return b.putOff(one, waitOf(one, b.now, noticeWait, noticeLongest), why)
}

func (b *noticeRound) putOff(one Notice, wait time.Duration, why string) error {
	b.failed.Add(1)
	return unleased(b.store.PostponeNotice(b.ctx, one.GrantID, b.lease, wait, why))
}

func (b *noticeRound) bury(one Notice, why string) error {
	b.buried.Add(1)
	b.logger.Warn("a client could not be told of a sign-out: the notice is a dead letter now", "client", one.ClientID, "grant", one.GrantID, "attempts", one.Attempts, "why", why)
	return unleased(b.store.BuryNotice(b.ctx, one.GrantID, b.lease, why))
}

// giveBack makes notices that were not tried due at once.
func (b *noticeRound) giveBack(notices []Notice) error {
	for _, one := range notices {
		if err := unleased(b.store.PostponeNotice(b.ctx, one.GrantID, b.lease, 0, one.Failure)); err != nil {
			return err
		}
	}
	return nil
}

// drop removes notices that nobody wants.
func (b *noticeRound) drop(notices []Notice) error {
	for _, one := range notices {
		if err := unleased(b.store.NoticeSent(b.ctx, one.GrantID, b.lease)); err != nil {
			return err
		}
	}
	return nil
}

// unleased lets pass that another node has the notice now.
func unleased(err error) error {
	if errors.Is(err, ErrLease) {
		return nil
	}
	return err
}

// waitOf returns how long a notice waits for its next attempt: twice as long each time,
// up to a bound, but never more than half of the time in which it is still worth sending.
func waitOf(one Notice, now time.Time, first, longest time.Duration) time.Duration {
	wait := longest
	if doublings := one.Attempts - 1; doublings < 12 {
		wait = min(longest, first<<max(0, doublings))
	}
	return max(noticeWait, min(wait, one.Expires.Sub(now)/2))
}
