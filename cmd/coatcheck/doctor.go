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
	var acceptClock, yes, ready, restored, keep bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Look for what is wrong, and say what to do",
		Long: `Look at the configuration, the database, the secret, the clock, the keys, the cookies, the mail
server and what waits to be sent, and at the running server by its public URL, and say what to
do about each thing that is wrong. The exit status is 1 if anything is serious.

With --ready it only asks the server, at the address where it listens, whether it may be sent
requests: for health checks of containers.

With --accept-clock, after a clock that ran far ahead and is right again: take the time as it
is now. The server becomes ready, all sessions are ended, because nobody can say which of them
had ended in the time that never was, and fresh keys take the place of all that signed in it.

With --restored, after PostgreSQL was restored with its own tools, or a file of SQLite was copied
back by hand: take the database as a picture of the past. All sessions are ended unless
--keep-sessions says otherwise, links and codes are dead, and fresh keys sign.`,
		Example: "  coatcheck doctor\n  coatcheck doctor --json\n  coatcheck doctor --ready\n  coatcheck doctor --accept-clock\n  coatcheck doctor --restored",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if acceptClock && ready {
				return usage{errors.New("--ready and --accept-clock do not go together")}
			}
			if restored && (acceptClock || ready) {
				return usage{errors.New("--restored goes with neither --ready nor --accept-clock")}
			}
			if keep && !restored {
				return usage{errors.New("--keep-sessions goes with --restored")}
			}
			if acceptClock {
				return c.acceptClock(cmd, yes)
			}
			if restored {
				return c.acceptRestored(cmd, keep, yes)
			}
			if yes {
				return usage{errors.New("--yes goes with --accept-clock and --restored")}
			}
			return c.examine(cmd, ready)
		},
	}
	cmd.Flags().BoolVar(&acceptClock, "accept-clock", false, "take the time as it is, and end all sessions")
	cmd.Flags().BoolVar(&restored, "restored", false, "take the database as a picture of the past, and end all sessions")
	cmd.Flags().BoolVar(&keep, "keep-sessions", false, "with --restored: keep the sessions of the picture alive")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&ready, "ready", false, "only ask the server whether it may be sent requests")
	return c.withJSON(cmd)
}

func (c *console) examine(cmd *cobra.Command, ready bool) error {
	findings, err := c.findings(cmd, ready)
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

// findings are what the examination has to say, or with ready the server alone.
// Mistakes of the configuration are findings too; no more can be examined with them.
func (c *console) findings(cmd *cobra.Command, ready bool) ([]app.Finding, error) {
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
	if ready {
		return []app.Finding{readiness(cmd.Context(), loaded.Config)}, nil
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
