package main

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/config"
)

func (c *console) doctor() *cobra.Command {
	var acceptClock, yes bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Look for what is wrong, and say what to do",
		Long: `Look at the configuration, the database, the secret, the clock, the keys, the cookies, the mail
server and what waits to be sent, and at the running server by its public URL, and say what to
do about each thing that is wrong. The exit status is 1 if anything is serious.

With --accept-clock, after a clock that ran far ahead and is right again: take the time as it
is now. The server becomes ready, all sessions are ended, because nobody can say which of them
had ended in the time that never was, and fresh keys take the place of all that signed in it.`,
		Example: "  coatcheck doctor\n  coatcheck doctor --json\n  coatcheck doctor --accept-clock",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if acceptClock {
				return c.acceptClock(cmd, yes)
			}
			if yes {
				return usage{errors.New("--yes goes with --accept-clock")}
			}
			return c.examine(cmd)
		},
	}
	cmd.Flags().BoolVar(&acceptClock, "accept-clock", false, "take the time as it is, and end all sessions")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c.withJSON(cmd)
}

func (c *console) examine(cmd *cobra.Command) error {
	findings, err := c.findings(cmd)
	if err != nil {
		return err
	}
	serious := slices.ContainsFunc(findings, func(f app.Finding) bool { return f.Level == app.Serious })
	if c.asJSON {
		if err := c.printJSON(findings); err != nil {
			return err
		}
	} else {
		for _, f := range findings {
			c.say("%-8s %-13s %s", f.Level, f.Check, f.What)
			if f.Do != "" {
				c.say("%-22s → %s", "", f.Do)
			}
		}
	}
	if serious {
		return errTold
	}
	return nil
}

// findings are what the examination has to say. Mistakes of the configuration are
// findings too; no more can be examined with them.
func (c *console) findings(cmd *cobra.Command) ([]app.Finding, error) {
	loaded, err := c.load(cmd)
	var mistakes config.Mistakes
	if errors.As(err, &mistakes) {
		var all []app.Finding
		for _, m := range mistakes {
			all = append(all, app.Finding{
				Check: "configuration", Level: app.Serious, What: m.Error(),
				Do: "Mend it, and run coatcheck doctor again: the rest is examined once the configuration can be read.",
			})
		}
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	return app.Examine(cmd.Context(), loaded.Config, nil, nil), nil
}

func (c *console) acceptClock(cmd *cobra.Command, yes bool) error {
	if !yes {
		sure, err := c.confirm("Take the time as it is, and end every session of everyone?")
		if err != nil || !sure {
			return err
		}
	}
	return c.open(cmd, func(ctx context.Context, a *app.App) error {
		e := audit.New(audit.SessionsEnded, audit.OK, from)
		e.Actor, e.Subject = byCommand, "clock"
		if err := a.Store.AcceptClock(ctx, e); err != nil {
			return err
		}
		// A token that was stamped in the time that never was would be good when that
		// time comes: no key that may have signed one is trusted any more.
		keys := audit.New(audit.KeysDistrusted, audit.OK, from)
		keys.Actor, keys.Subject = byCommand, "clock"
		if err := a.Ring.Distrust(ctx, keys); err != nil {
			return err
		}
		c.say("The time is taken as it is. All sessions are ended, and fresh keys sign.\nNow restart the server and every service: they remember the time that never was.")
		return nil
	})
}
