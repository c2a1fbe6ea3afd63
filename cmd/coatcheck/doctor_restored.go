package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/coatcheck/coatcheck/internal/app"
)

// acceptRestored takes the database as a picture of the past.
func (c *console) acceptRestored(cmd *cobra.Command, keepSessions, yes bool) error {
	if !yes {
		question := "Take the database as restored, and end every session of everyone?"
		if keepSessions {
			question = "Take the database as restored, and let everybody in who was signed in then?"
		}
		sure, err := c.confirm(question)
		if err != nil || !sure {
			return err
		}
	}
	return c.open(cmd, func(ctx context.Context, a *app.App) error {
		links, err := a.Restored(ctx, "other tools", keepSessions)
		if err != nil {
			return err
		}
		c.say("The database is taken as a picture of the past.")
		c.afterRestore(keepSessions, links)
		c.say("Servers that run have heard of it.")
		return nil
	})
}
