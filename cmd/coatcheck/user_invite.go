package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
)

// invitationView is an invitation as the command prints it. The link is in the mail
// alone, so that nobody but its reader can use it.
type invitationView struct {
	Email     string    `json:"email"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (c *console) userInvite() *cobra.Command {
	var n account.Invited
	var admin bool
	cmd := &cobra.Command{
		Use: "invite", Short: "Mail somebody a link that makes their account",
		Long: "Mail somebody a link that makes their account: they choose the password, and the\naddress is known to be theirs. With sign_up = \"invite\" there is no other way in.\nThe link is good for an hour and once; a running server sends the mail.",
		Example: `  coatcheck user invite --email ada@example.com --name Ada
  coatcheck user invite --email root@example.com --admin --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n.Email == "" {
				return usage{errors.New("--email is needed")}
			}
			if admin {
				n.Roles = []string{account.Admin}
			}
			return c.openOrMake(cmd, func(ctx context.Context, a *app.App) error {
				expires, err := a.Accounts.Invite(ctx, n, byCommand, from)
				if err != nil {
					return err
				}
				if c.asJSON {
					return c.printJSON(invitationView{n.Email, expires.UTC()})
				}
				c.say("Invited %s: the link is good until %s.", n.Email, shown(expires))
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&n.Email, "email", "", "email address")
	cmd.Flags().StringVar(&n.Name, "name", "", "name to show, which they may change")
	cmd.Flags().BoolVar(&admin, "admin", false, "will administer this server")
	return c.withJSON(cmd)
}
