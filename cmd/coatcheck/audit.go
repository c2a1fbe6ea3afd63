package main

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/audit"
)

// auditView is an audit entry as the commands print it.
type auditView struct {
	Seq       int64     `json:"seq"`
	At        time.Time `json:"at"`
	Event     string    `json:"event"`
	Outcome   string    `json:"outcome"`
	Actor     string    `json:"actor,omitempty"`
	UserID    string    `json:"user_id,omitempty"`
	SessionID string    `json:"session_id,omitempty"`
	Subject   string    `json:"subject,omitempty"`
	IP        string    `json:"ip,omitempty"`
	UserAgent string    `json:"user_agent,omitempty"`
	RequestID string    `json:"request_id,omitempty"`
}

func (c *console) audit() *cobra.Command {
	var who, event string
	var limit int
	cmd := &cobra.Command{
		Use: "audit", Short: "Show what happened, newest first", Args: noArguments,
		Example: "  coatcheck audit --limit 20\n  coatcheck audit --user ada@example.com --event sign_in_failed --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.open(cmd, func(ctx context.Context, a *app.App) error {
				filter := audit.Filter{Event: audit.Event(event)}
				if who != "" {
					u, err := find(ctx, a, who)
					if err != nil {
						return err
					}
					filter.UserID = u.ID
				}
				entries, err := a.Audit.Entries(ctx, filter, 0, limit)
				if err != nil {
					return err
				}
				rows := make([]auditView, len(entries))
				for i, e := range entries {
					rows[i] = auditView{e.Seq, e.At.UTC(), string(e.Event), e.Outcome, e.Actor, e.UserID, e.SessionID, e.Subject, e.IP, e.UserAgent, e.RequestID}
				}
				return list(c, rows, []string{"SEQ", "AT", "EVENT", "OUTCOME", "ACTOR", "USER", "SESSION", "SUBJECT", "IP"}, func(e auditView) []string {
					return []string{strconv.FormatInt(e.Seq, 10), shown(e.At), e.Event, e.Outcome, e.Actor, e.UserID, e.SessionID, e.Subject, e.IP}
				})
			})
		},
	}
	cmd.Flags().StringVar(&who, "user", "", "about this user only: id or email")
	cmd.Flags().StringVar(&event, "event", "", "of this event only, such as sign_in_failed")
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many")
	return c.withJSON(cmd)
}
