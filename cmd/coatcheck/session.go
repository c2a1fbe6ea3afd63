package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

func (c *console) session() *cobra.Command {
	return group("session", "See and end sign-ins", c.sessionList(), c.sessionShow(), c.sessionEnd())
}

// sessionView is a session as the commands print it.
type sessionView struct {
	ID         string    `json:"id"`
	UserID     string    `json:"user_id"`
	Email      string    `json:"email"`
	Device     string    `json:"device"`
	IP         string    `json:"ip"`
	UserAgent  string    `json:"user_agent"`
	AMR        []string  `json:"amr"`
	ACR        string    `json:"acr"`
	CreatedAt  time.Time `json:"created_at"`
	LastSeenAt time.Time `json:"last_seen_at"`
	ExpiresAt  time.Time `json:"expires_at"`
	Clients    []string  `json:"clients,omitempty"`
}

func viewSession(s session.Session, email string, clients []string) sessionView {
	return sessionView{
		s.ID, s.UserID, email, s.Device, s.IP, s.UserAgent, s.AMR, s.ACR,
		s.CreatedAt.UTC(), s.LastSeenAt.UTC(), s.ExpiresAt.UTC(), clients,
	}
}

func (c *console) sessionList() *cobra.Command {
	var who string
	cmd := &cobra.Command{
		Use: "list", Short: "List live sessions, newest first", Args: noArguments,
		Example: "  coatcheck session list\n  coatcheck session list --user ada@example.com --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.open(cmd, func(ctx context.Context, a *app.App) error {
				userID := ""
				if who != "" {
					u, err := find(ctx, a, who)
					if err != nil {
						return err
					}
					userID = u.ID
				}
				var all []sessionView
				for before := ""; ; {
					page, err := a.Sessions.List(ctx, userID, before, pageSize)
					if err != nil {
						return err
					}
					for _, row := range page {
						all = append(all, viewSession(row.Session, row.Email, row.Clients))
						before = row.Session.ID
					}
					if len(page) < pageSize {
						break
					}
				}
				return list(c, all, []string{"ID", "EMAIL", "DEVICE", "IP", "BEGUN", "LAST SEEN"}, func(s sessionView) []string {
					return []string{s.ID, s.Email, s.Device, s.IP, shown(s.CreatedAt), shown(s.LastSeenAt)}
				})
			})
		},
	}
	cmd.Flags().StringVar(&who, "user", "", "of this user only: id or email")
	return c.withJSON(cmd)
}

func (c *console) sessionShow() *cobra.Command {
	return c.withJSON(&cobra.Command{
		Use: "show ID", Short: "Show one live session", Args: oneArgument("session id"), Example: "  coatcheck session show ses_…",
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(cmd, func(ctx context.Context, a *app.App) error {
				st, err := a.Sessions.Find(ctx, args[0])
				if errors.Is(err, session.ErrNoSession) {
					return fmt.Errorf("no session %q is live: see coatcheck session list", args[0])
				}
				if err != nil {
					return err
				}
				v := viewSession(st.Session, st.User.Email, nil)
				if c.asJSON {
					return c.printJSON(v)
				}
				c.say("id         %s\nuser       %s (%s)\ndevice     %s\nip         %s\nproven by  %s (%s)\nbegun      %s\nlast seen  %s\nends       %s",
					v.ID, v.Email, v.UserID, v.Device, v.IP, strings.Join(v.AMR, " "), v.ACR, shown(v.CreatedAt), shown(v.LastSeenAt), shown(v.ExpiresAt))
				return nil
			})
		},
	})
}

func (c *console) sessionEnd() *cobra.Command {
	var who string
	var all, yes bool
	cmd := &cobra.Command{
		Use: "end [ID]", Short: "End sessions: everything drawn on them is refused everywhere",
		Example: `  coatcheck session end ses_…
  coatcheck session end --user ada@example.com
  coatcheck session end --all --yes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if named := len(args); named > 1 || named == 1 && (all || who != "") || named == 0 && !all && who == "" || all && who != "" {
				return usage{errors.New("name one session id, or --user, or --all (see coatcheck session end --help)")}
			}
			if len(args) == 1 && !credential.IsID(credential.Session, args[0]) {
				return usage{errors.New("a session id looks like ses_ and 26 characters: see coatcheck session list")}
			}
			if all && !yes {
				sure, err := c.confirm("End every session of everyone?")
				if err != nil || !sure {
					return err
				}
			}
			return c.open(cmd, func(ctx context.Context, a *app.App) error { return c.end(ctx, a, args, who) })
		},
	}
	cmd.Flags().StringVar(&who, "user", "", "all sessions of this user: id or email")
	cmd.Flags().BoolVar(&all, "all", false, "all sessions of everyone")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

var errNotLive = errors.New("no such session is live: it may have ended already")

func (c *console) end(ctx context.Context, a *app.App, ids []string, who string) error {
	what, done := session.Ending{Kind: feed.All, Reason: "administrator"}, "Everyone is signed out."
	switch {
	case len(ids) == 1:
		st, err := a.Sessions.Find(ctx, ids[0])
		if errors.Is(err, session.ErrNoSession) {
			return errNotLive
		}
		if err != nil {
			return err
		}
		what.Kind, what.ID, what.UserID, done = feed.Session, ids[0], st.User.ID, "Ended "+ids[0]+"."
	case who != "":
		u, err := find(ctx, a, who)
		if err != nil {
			return err
		}
		what.Kind, what.ID, done = feed.User, u.ID, u.Email+" is signed out everywhere."
	}
	n, err := a.Sessions.End(ctx, what, byCommand, from)
	if err != nil {
		return err
	}
	if n == 0 {
		return errNotLive
	}
	c.say("%s", done)
	return nil
}
