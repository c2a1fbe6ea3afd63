package main

import (
	"context"
	"time"

	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/oauth"
)

// A clientView is a client with the sign-outs that it is to be told of.
type clientView struct {
	oauth.Description
	Notices *noticesView `json:"logout_notices,omitempty"` // nil: it is told of none
}

// A noticesView counts them.
type noticesView struct {
	Waiting int        `json:"waiting"`
	Oldest  *time.Time `json:"oldest,omitempty"` // since when the oldest waits
	Dead    int        `json:"dead"`             // given up, of the last 30 days
	Failure string     `json:"failure,omitempty"`
}

// noticesOf counts the sign-outs that a client is to be told of; nil if it does not want
// to be told.
func noticesOf(ctx context.Context, a *app.App, client *oauth.Client) (*noticesView, error) {
	if client.BackchannelLogoutURI == "" {
		return nil, nil
	}
	c, err := a.Provider.Notices.Counts(ctx, client.ID)
	if err != nil {
		return nil, err
	}
	v := &noticesView{Waiting: c.Waiting, Dead: c.Dead, Failure: c.Failure}
	if !c.Oldest.IsZero() {
		v.Oldest = &c.Oldest
	}
	return v, nil
}

func (c *console) showNotices(v *noticesView) {
	if v == nil {
		return
	}
	waiting := ""
	if v.Oldest != nil {
		waiting = ", the oldest since " + shown(*v.Oldest)
	}
	c.say("%-15s %d wait%s; %d given up in 30 days", "sign-outs", v.Waiting, waiting, v.Dead)
	if v.Failure != "" {
		c.say("%-15s %s", "last failure", v.Failure)
	}
}
