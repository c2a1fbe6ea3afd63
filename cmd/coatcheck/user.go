package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/credential"
)

func (c *console) user() *cobra.Command {
	return group("user", "Add, see and change people's accounts",
		c.userAdd(), c.userInvite(), c.userList(), c.userShow(), c.userDisable(true), c.userDisable(false), c.userDelete(), c.userSetPassword())
}

// userView is a user as the commands print it.
type userView struct {
	ID            string    `json:"id"`
	Email         string    `json:"email"`
	EmailVerified bool      `json:"email_verified"`
	Name          string    `json:"name"`
	Roles         []string  `json:"roles"`
	Disabled      bool      `json:"disabled"`
	CreatedAt     time.Time `json:"created_at"`
}

func viewUser(u account.User) userView {
	roles := u.Roles
	if roles == nil {
		roles = []string{}
	}
	return userView{u.ID, u.Email, u.EmailVerified, u.Name, roles, u.Disabled, u.CreatedAt.UTC()}
}

func (c *console) userAdd() *cobra.Command {
	var n account.NewUser
	var admin, stdin bool
	cmd := &cobra.Command{
		Use: "add", Short: "Add a user",
		Example: `  coatcheck user add --email ada@example.com --name Ada
  coatcheck user add --email root@example.com --admin
  echo "$PASSWORD" | coatcheck user add --email ada@example.com --verified --password-stdin --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n.Email == "" {
				return usage{errors.New("--email is needed")}
			}
			password, err := c.readPassword(stdin)
			if err != nil {
				return err
			}
			n.Password = password
			if admin {
				n.Roles = []string{account.Admin}
			}
			return c.openOrMake(cmd, func(ctx context.Context, a *app.App) error {
				u, err := a.Accounts.Add(ctx, n, byCommand, from)
				if err != nil {
					return err
				}
				if c.asJSON {
					return c.printJSON(viewUser(u))
				}
				c.say("Added %s as %s.", u.Email, u.ID)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&n.Email, "email", "", "email address")
	cmd.Flags().StringVar(&n.Name, "name", "", "name to show")
	cmd.Flags().BoolVar(&n.Verified, "verified", false, "the address is known to be theirs")
	cmd.Flags().BoolVar(&admin, "admin", false, "may administer this server")
	cmd.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from standard input")
	return c.withJSON(cmd)
}

func (c *console) userList() *cobra.Command {
	return c.withJSON(&cobra.Command{
		Use: "list", Short: "List all users", Args: noArguments,
		Example: "  coatcheck user list --json | jq -r '.[].email'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.open(cmd, func(ctx context.Context, a *app.App) error {
				var all []userView
				for after := ""; ; {
					page, err := a.Accounts.List(ctx, after, pageSize)
					if err != nil {
						return err
					}
					for _, u := range page {
						all = append(all, viewUser(u))
						after = u.ID
					}
					if len(page) < pageSize {
						break
					}
				}
				return list(c, all, []string{"ID", "EMAIL", "NAME", "VERIFIED", "DISABLED", "ROLES", "CREATED"}, func(u userView) []string {
					return []string{u.ID, u.Email, u.Name, yesNo(u.EmailVerified), yesNo(u.Disabled), strings.Join(u.Roles, " "), shown(u.CreatedAt)}
				})
			})
		},
	})
}

// pageSize is how many rows a listing reads at once.
const pageSize = 500

// find returns a user by id or email.
func find(ctx context.Context, a *app.App, who string) (account.User, error) {
	search := a.Accounts.FindByEmail
	if credential.IsID(credential.User, who) {
		search = a.Accounts.Find
	}
	u, err := search(ctx, who)
	if errors.Is(err, account.ErrNoUser) {
		err = fmt.Errorf("there is no user %q: see coatcheck user list", who)
	}
	return u, err
}

// onUser is a command that does something with one user.
func (c *console) onUser(use, short, example string, do func(context.Context, *app.App, account.User) error) *cobra.Command {
	return &cobra.Command{
		Use: use + " ID|EMAIL", Short: short, Example: example, Args: oneArgument("id or email"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(cmd, func(ctx context.Context, a *app.App) error {
				u, err := find(ctx, a, args[0])
				if err != nil {
					return err
				}
				return do(ctx, a, u)
			})
		},
	}
}

func (c *console) userShow() *cobra.Command {
	return c.withJSON(c.onUser("show", "Show one user", "  coatcheck user show ada@example.com",
		func(_ context.Context, _ *app.App, u account.User) error {
			v := viewUser(u)
			if c.asJSON {
				return c.printJSON(v)
			}
			c.say("id        %s\nemail     %s (verified: %s)\nname      %s\nroles     %s\ndisabled  %s\ncreated   %s",
				v.ID, v.Email, yesNo(v.EmailVerified), v.Name, strings.Join(v.Roles, " "), yesNo(v.Disabled), shown(v.CreatedAt))
			return nil
		}))
}

func (c *console) userDisable(disable bool) *cobra.Command {
	use, short, done := "enable", "Let a user sign in again; what was ended stays ended", "%s can sign in again."
	if disable {
		use, short, done = "disable", "Keep a user out, and end all their sessions", "%s is disabled, and signed out everywhere."
	}
	return c.onUser(use, short, "  coatcheck user "+use+" ada@example.com",
		func(ctx context.Context, a *app.App, u account.User) error {
			_, err := a.Accounts.Change(ctx, u.ID, account.UserChange{Disabled: &disable}, byCommand, from)
			if err == nil {
				c.say(done, u.Email)
			}
			return err
		})
}

func (c *console) userDelete() *cobra.Command {
	var yes bool
	cmd := c.onUser("delete", "Delete a user with everything that is theirs", "  coatcheck user delete ada@example.com --yes",
		func(ctx context.Context, a *app.App, u account.User) error {
			if !yes {
				sure, err := c.confirm("Delete " + u.Email + " for ever?")
				if err != nil || !sure {
					return err
				}
			}
			if err := a.Accounts.Delete(ctx, u.ID, byCommand, from); err != nil {
				return err
			}
			c.say("Deleted %s.", u.Email)
			return nil
		})
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (c *console) userSetPassword() *cobra.Command {
	var stdin bool
	cmd := c.onUser("set-password", "Set a password, and end all sessions of the user", "  coatcheck user set-password ada@example.com",
		func(ctx context.Context, a *app.App, u account.User) error {
			password, err := c.readPassword(stdin)
			if err != nil {
				return err
			}
			if err := a.Accounts.SetPassword(ctx, u.ID, password, byCommand, from); err != nil {
				return err
			}
			c.say("The password of %s is set, and they are signed out everywhere.", u.Email)
			return nil
		})
	cmd.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from standard input")
	return cmd
}
