package web

import (
	"context"

	"github.com/coatcheck/coatcheck/internal/oauth"
)

// watchLogout adds the figures of the back channel.
func (m *Metrics) watchLogout(p Parts) {
	if p.Provider == nil || p.Provider.Notices == nil {
		return
	}
	notices := p.Provider.Notices
	count := seldom(p.Now, func(ctx context.Context) (oauth.NoticeCounts, error) { return notices.Counts(ctx, "") })
	m.watchQueue(queue{
		name:  "coatcheck_logout_notices",
		about: "Sign-outs of which clients are to be told by the back channel, counted at most every 15 seconds: that wait to be sent, and that could not be.",
		backlog: func() (waiting, dead int, known bool) {
			c, known := count()
			return c.Waiting, c.Dead, known
		},
		sums: map[string]sum{
			"sent":   {"Sign-outs that this node has told a client of.", func() uint64 { return notices.Figures().Sent }},
			"failed": {"Attempts to tell a client of a sign-out that failed on this node.", func() uint64 { return notices.Figures().Failed }},
			"buried": {"Sign-outs that this node has given up telling a client of.", func() uint64 { return notices.Figures().Buried }},
		},
	})
}
