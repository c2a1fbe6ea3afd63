package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/oauth"
)

func (c *console) client() *cobra.Command {
	return group("client", "Applications that sign people in through this server, or ask for tokens of their own",
		c.clientAdd(), c.clientList(), c.clientShow(), c.clientChange(), c.clientDisable(true), c.clientDisable(false),
		c.clientRotateSecret(), c.clientRemove())
}

// credentials are what an application is given to show who it is.
type credentials struct {
	ID     string `json:"client_id"`
	Secret string `json:"client_secret,omitempty"`
}

func (c *console) clientAdd() *cobra.Command {
	var f clientFlags
	var kind string
	cmd := &cobra.Command{
		Use: "add", Short: "Register an application; its secret is shown once",
		Long: `Register an application. Its type decides what you do not say: web runs on a server and
keeps a secret; spa runs in a browser and keeps none; native runs on a device and keeps
none; machine acts for itself, and nobody signs in.

Its secret is made here and shown once. Addresses are compared character for character;
give --redirect-uri more than once for several.`,
		Example: `  coatcheck client add --name Shop --type web --redirect-uri https://shop.example/callback --post-logout-redirect-uri https://shop.example/ --scope openid --scope email
  coatcheck client add --name Phone --type native --redirect-uri http://127.0.0.1/callback --scope openid,offline_access
  coatcheck client add --name Nightly --type machine --scope report --audience orders --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.name == "" || kind == "" {
				return usage{errors.New("--name and --type are needed (see coatcheck client add --help)")}
			}
			draft := oauth.Client{Type: oauth.Type(kind)}
			if err := f.apply(cmd, &draft); err != nil {
				return err
			}
			return c.openOrMake(cmd, func(ctx context.Context, a *app.App) error {
				added, secret, err := a.Provider.Clients.Add(ctx, draft, byCommand, from)
				if err != nil {
					return inFlags(err)
				}
				if c.asJSON {
					return c.printJSON(credentials{added.ID, secret})
				}
				c.introduce(&added, secret, a.Issuer())
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&kind, "type", "", "what it is: web, spa, native or machine")
	f.declare(cmd)
	return c.withJSON(cmd)
}

// introduce says what the application's developer needs to know, and what to do next.
func (c *console) introduce(added *oauth.Client, secret, issuer string) {
	c.say("Added %s as a client of the type %s.\n", added.Name, added.Type)
	c.say("issuer         %s", issuer)
	c.say("discovery      %s/.well-known/openid-configuration", issuer)
	c.say("client id      %s", added.ID)
	if secret != "" {
		c.say("client secret  %s", secret)
		c.say("\nThis is the only time that the secret is shown. coatcheck client rotate-secret makes another.")
	}
	switch {
	case added.Type == oauth.Machine && secret != "":
		c.say("Next: let it ask %s/oauth2/token for a token, with grant_type=client_credentials\nand its id and secret in the Authorization header.", issuer)
	case added.Type == oauth.Machine:
		c.say("\nNext: let it ask %s/oauth2/token for a token, with grant_type=client_credentials and\na client_assertion that its own key has signed, whose aud is %s.", issuer, issuer)
	default:
		if secret == "" {
			c.say("")
		}
		c.say("Next: give these to its OpenID Connect library, with the redirect address\n%s. The library finds the rest by discovery.", added.RedirectURIs[0])
	}
}

func (c *console) clientList() *cobra.Command {
	return c.withJSON(&cobra.Command{
		Use: "list", Short: "List all clients, oldest first", Args: noArguments,
		Example: "  coatcheck client list\n  coatcheck client list --json | jq -r '.[] | select(.without_pkce) | .name'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.open(cmd, func(ctx context.Context, a *app.App) error {
				var all []oauth.Description
				for after := ""; ; {
					page, err := a.Provider.Clients.List(ctx, after, pageSize)
					if err != nil {
						return err
					}
					for i := range page {
						all = append(all, page[i].Describe())
						after = page[i].ID
					}
					if len(page) < pageSize {
						break
					}
				}
				return list(c, all, []string{"ID", "NAME", "TYPE", "METHOD", "TRUSTED", "DISABLED", "CREATED"}, func(d oauth.Description) []string {
					return []string{d.ID, d.Name, string(d.Type), string(d.AuthMethod), yesNo(d.Trusted), yesNo(d.Disabled), shown(d.CreatedAt)}
				})
			})
		},
	})
}

// onClient is a command that does something with one client.
func (c *console) onClient(use, short, example string, do func(ctx context.Context, cmd *cobra.Command, a *app.App, id string) error) *cobra.Command {
	return &cobra.Command{
		Use: use + " ID", Short: short, Example: example, Args: oneArgument("client id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(cmd, func(ctx context.Context, a *app.App) error {
				err := do(ctx, cmd, a, args[0])
				if errors.Is(err, oauth.ErrNoClient) {
					return fmt.Errorf("there is no client %q: see coatcheck client list", args[0])
				}
				return inFlags(err)
			})
		},
	}
}

func (c *console) clientShow() *cobra.Command {
	return c.withJSON(c.onClient("show", "Show one client", "  coatcheck client show cli_…",
		func(ctx context.Context, _ *cobra.Command, a *app.App, id string) error {
			found, err := a.Provider.Clients.Find(ctx, id)
			if err != nil {
				return err
			}
			d := found.Describe()
			notices, err := noticesOf(ctx, a, found)
			if err != nil {
				return err
			}
			if c.asJSON {
				return c.printJSON(clientView{d, notices})
			}
			c.show(&d)
			c.showNotices(notices)
			return nil
		}))
}

// show prints a client, a line for each thing that it has.
func (c *console) show(d *oauth.Description) {
	lifetime := ""
	if d.AccessLifetime > 0 {
		lifetime = fmt.Sprintf("%d seconds", d.AccessLifetime)
	}
	keys := d.JWKSURI
	if d.JWKS != nil {
		keys = "its own, see --json"
	}
	for _, line := range []struct {
		what   string
		values []string
	}{
		{"id", []string{d.ID}},
		{"name", []string{d.Name}},
		{"type", []string{string(d.Type)}},
		{"method", []string{string(d.AuthMethod)}},
		{"keys", []string{keys}},
		{"grants", []string{strings.Join(d.Grants, " ")}},
		{"redirect to", d.RedirectURIs},
		{"after sign-out", d.PostLogoutRedirectURIs},
		{"told at", []string{d.BackchannelLogoutURI}},
		{"scopes", []string{d.Scope}},
		{"audiences", []string{strings.Join(d.Audiences, " ")}},
		{"access tokens", []string{lifetime}},
		{"ID tokens", []string{d.IDAlgorithm}},
		{"sector", []string{d.Sector}},
		{"home", []string{d.HomeURI}},
		{"policy", []string{d.PolicyURI}},
		{"terms", []string{d.TermsURI}},
		{"trusted", []string{yesNo(d.Trusted)}},
		{"without PKCE", []string{yesNo(d.WithoutPKCE)}},
		{"disabled", []string{yesNo(d.Disabled)}},
		{"created", []string{shown(d.CreatedAt)}},
	} {
		for _, value := range line.values {
			if value != "" {
				c.say("%-15s %s", line.what, value)
			}
		}
	}
}

func (c *console) clientChange() *cobra.Command {
	var f clientFlags
	cmd := c.onClient("change", "Change a client; what is not named stays",
		"  coatcheck client change cli_… --name Store --trusted\n  coatcheck client change cli_… --redirect-uri https://shop.example/callback --redirect-uri https://shop.example/other",
		func(ctx context.Context, cmd *cobra.Command, a *app.App, id string) error {
			if !f.said(cmd) {
				return usage{errors.New("name at least one thing to change (see coatcheck client change --help)")}
			}
			changed, secret, err := a.Provider.Clients.Change(ctx, id, func(client *oauth.Client) error { return f.apply(cmd, client) }, byCommand, from)
			if err != nil {
				return err
			}
			if c.asJSON {
				return c.printJSON(credentials{changed.ID, secret})
			}
			c.say("Changed %s.", changed.Name)
			if secret != "" {
				c.say("client secret  %s\n\nThis is the only time that the secret is shown.", secret)
			}
			return nil
		})
	cmd.Long = `Change a client. What is named takes the place of what was there: a list that is given at
all is given whole, and an empty text takes it away. Running servers hear of it in a moment; tokens
that are out are renewed. The type stays: register a client of the other type instead.`
	f.declare(cmd)
	return c.withJSON(cmd)
}

func (c *console) clientDisable(disable bool) *cobra.Command {
	use, short, done := "enable", "Let a client draw tokens again; what was ended stays ended", "%s can draw tokens again."
	if disable {
		use, short, done = "disable", "Keep a client out, and end all that it drew", "%s is disabled, and everything that it drew is over."
	}
	return c.onClient(use, short, "  coatcheck client "+use+" cli_…", func(ctx context.Context, _ *cobra.Command, a *app.App, id string) error {
		changed, _, err := a.Provider.Clients.Change(ctx, id, func(client *oauth.Client) error { client.Disabled = disable; return nil }, byCommand, from)
		if err == nil {
			c.say(done, changed.Name)
		}
		return err
	})
}

func (c *console) clientRotateSecret() *cobra.Command {
	return c.withJSON(c.onClient("rotate-secret", "Give a client another secret; the one before dies", "  coatcheck client rotate-secret cli_…",
		func(ctx context.Context, _ *cobra.Command, a *app.App, id string) error {
			secret, err := a.Provider.Clients.RotateSecret(ctx, id, byCommand, from)
			if err != nil {
				return err
			}
			if c.asJSON {
				return c.printJSON(credentials{id, secret})
			}
			c.say("%s\n\nThis is the only time that it is shown. The secret before is dead as soon as\nrunning servers hear of it, in a moment.", secret)
			return nil
		}))
}

func (c *console) clientRemove() *cobra.Command {
	var yes bool
	cmd := c.onClient("remove", "Remove a client, and end all that it drew", "  coatcheck client remove cli_… --yes",
		func(ctx context.Context, _ *cobra.Command, a *app.App, id string) error {
			found, err := a.Provider.Clients.Find(ctx, id)
			if err != nil {
				return err
			}
			if !yes {
				sure, err := c.confirm("Remove " + found.Name + " for ever, and sign its people out of it?")
				if err != nil || !sure {
					return err
				}
			}
			if err := a.Provider.Clients.Remove(ctx, id, byCommand, from); err != nil {
				return err
			}
			c.say("Removed %s.", found.Name)
			return nil
		})
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// inFlags names the members of an error as the flags that set them.
func inFlags(err error) error {
	var members fault.Members
	if !errors.As(err, &members) {
		return err
	}
	named := make(fault.Members, len(members))
	for i, m := range members {
		named[i] = m
		for _, pair := range flagNames {
			if pair[0] == m.Member {
				named[i].Member = "/--" + pair[1]
			}
		}
	}
	return named
}
