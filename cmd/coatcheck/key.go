package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/keyring"
)

func (c *console) key() *cobra.Command {
	return group("key", "The keys that sign tokens", c.keyList(), c.keyRotate())
}

type keyView struct {
	ID        string    `json:"id"`
	Algorithm string    `json:"algorithm"`
	State     string    `json:"state"` // retired, signing or next
	ActiveAt  time.Time `json:"active_at"`
	CreatedAt time.Time `json:"created_at"`
}

// viewKeys says of each key what it does at the given time.
func viewKeys(keys []keyring.StoredKey, now time.Time) []keyView {
	rows := make([]keyView, len(keys))
	for i, k := range keys {
		state := "signing"
		switch {
		case k.ActiveAt.After(now):
			state = "next"
		case k.Succeeded(keys, now):
			state = "retired"
		}
		rows[i] = keyView{k.ID, string(k.Algorithm), state, k.ActiveAt.UTC(), k.CreatedAt.UTC()}
	}
	return rows
}

func (c *console) keyList() *cobra.Command {
	return c.withJSON(&cobra.Command{
		Use: "list", Short: "List the published keys", Args: noArguments, Example: "  coatcheck key list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.open(cmd, func(ctx context.Context, a *app.App) error {
				if err := a.Ring.Read(ctx); err != nil {
					return err
				}
				return list(c, viewKeys(a.Ring.Keys(), time.Now()), []string{"ID", "ALGORITHM", "STATE", "SIGNS FROM"}, func(k keyView) []string {
					return []string{k.ID, k.Algorithm, k.State, shown(k.ActiveAt)}
				})
			})
		},
	})
}

func (c *console) keyRotate() *cobra.Command {
	var now bool
	cmd := &cobra.Command{
		Use: "rotate", Short: "Let the next key sign",
		Long: `Let the next key sign, as soon as it has been published long enough for every verifier to have
it. Keys rotate by themselves every 30 days; nobody is signed out by it.

With --now, after a leak: trust in every key ends at once, through the revocation log. All
access tokens have to be renewed; sessions go on.`,
		Example: "  coatcheck key rotate\n  coatcheck key rotate --now",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.open(cmd, func(ctx context.Context, a *app.App) error { return c.rotate(ctx, a, now) })
		},
	}
	cmd.Flags().BoolVar(&now, "now", false, "end trust in all keys at once")
	return cmd
}

func (c *console) rotate(ctx context.Context, a *app.App, now bool) error {
	if now {
		e := audit.New(audit.KeysDistrusted, audit.OK, from)
		e.Actor = byCommand
		if err := a.Ring.Distrust(ctx, e); err != nil {
			return err
		}
		c.say("No key from before is trusted any more. Fresh ones sign from now on.")
		return nil
	}
	e := audit.New(audit.KeyRotated, audit.OK, from)
	e.Actor = byCommand
	at, err := a.Ring.Rotate(ctx, e)
	if err != nil {
		return err
	}
	c.say("The next key signs from %s on.", shown(at))
	return nil
}
