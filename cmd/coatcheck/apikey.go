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
)

func (c *console) apikey() *cobra.Command {
	return group("apikey", "Keys with which services ask and follow", c.apikeyAdd(), c.apikeyList(), c.apikeyRemove())
}

type apikeyView struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Scopes    []string  `json:"scopes"`
	CreatedAt time.Time `json:"created_at"`
}

func (c *console) apikeyAdd() *cobra.Command {
	var name string
	var scopes []string
	cmd := &cobra.Command{
		Use: "add", Short: "Make a key; it is shown once",
		Long: "Make a key; it is shown once. Scopes: " + strings.Join(account.Scopes, ", ") + ".",
		Example: `  coatcheck apikey add --name orders --scope revocations,introspect
  coatcheck apikey add --name deploy --scope admin --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if name == "" || len(scopes) == 0 {
				return usage{errors.New("--name and --scope are needed (see coatcheck apikey add --help)")}
			}
			return c.openOrMake(cmd, func(ctx context.Context, a *app.App) error {
				k, text, err := a.Accounts.AddAPIKey(ctx, name, scopes, byCommand, from)
				if err != nil {
					return err
				}
				if c.asJSON {
					return c.printJSON(struct {
						ID  string `json:"id"`
						Key string `json:"key"`
					}{k.ID, text})
				}
				c.say("%s\n\nThis is %s, and the only time that it is shown.", text, k.ID)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "what it is for")
	cmd.Flags().StringSliceVar(&scopes, "scope", nil, "what it may do: "+strings.Join(account.Scopes, ", "))
	return c.withJSON(cmd)
}

func (c *console) apikeyList() *cobra.Command {
	return c.withJSON(&cobra.Command{
		Use: "list", Short: "List keys, oldest first", Args: noArguments, Example: "  coatcheck apikey list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.open(cmd, func(ctx context.Context, a *app.App) error {
				keys, err := a.Accounts.APIKeys(ctx)
				if err != nil {
					return err
				}
				rows := make([]apikeyView, len(keys))
				for i, k := range keys {
					rows[i] = apikeyView{k.ID, k.Name, k.Scopes, k.CreatedAt.UTC()}
				}
				return list(c, rows, []string{"ID", "NAME", "SCOPES", "CREATED"}, func(k apikeyView) []string {
					return []string{k.ID, k.Name, strings.Join(k.Scopes, " "), shown(k.CreatedAt)}
				})
			})
		},
	})
}

func (c *console) apikeyRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove ID", Short: "Remove a key, and cut its streams", Args: oneArgument("key id"), Example: "  coatcheck apikey remove api_…",
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(cmd, func(ctx context.Context, a *app.App) error {
				err := a.Accounts.RemoveAPIKey(ctx, args[0], byCommand, from)
				if errors.Is(err, account.ErrNoUser) {
					return fmt.Errorf("there is no API key %q: see coatcheck apikey list", args[0])
				}
				if err != nil {
					return err
				}
				c.say("Removed %s.", args[0])
				return nil
			})
		},
	}
}
