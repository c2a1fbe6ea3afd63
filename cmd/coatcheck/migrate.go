package main

import (
	"errors"
	"log/slog"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/coatcheck/coatcheck/internal/app"
)

func (c *console) migrate() *cobra.Command {
	var plan bool
	cmd := &cobra.Command{
		Use: "migrate", Short: "Bring the schema of the database up to date",
		Long: `Bring the schema of the database up to date, which coatcheck serve and the other commands do
by themselves when they open it. Of several that begin at once one does it, and the others wait.
A migration happens whole or not at all. Take a backup before.

With --plan: say which migrations that would be, and whether servers that run now can go on
meanwhile, and change nothing. SERVES is the oldest schema whose servers can go on.`,
		Example: "  coatcheck migrate --plan\n  coatcheck migrate",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := c.load(cmd)
			if err != nil {
				return err
			}
			s, err := app.Plan(cmd.Context(), loaded.Config)
			switch {
			case err != nil:
				return err
			case plan:
				return c.printPlan(s)
			case c.asJSON:
				return usage{errors.New("--json goes with --plan")}
			}
			if len(s.Pending) > 0 {
				logger := slog.New(slog.NewTextHandler(c.err, nil))
				if err := app.Migrate(cmd.Context(), loaded.Config, logger); err != nil {
					return err
				}
			}
			c.say("The schema is %d.", max(s.At, s.Known))
			return nil
		},
	}
	cmd.Flags().BoolVar(&plan, "plan", false, "say what would be done, and change nothing")
	return c.withJSON(cmd)
}

type migrationView struct {
	Version int    `json:"version"`
	Name    string `json:"name"`
	Serves  int    `json:"serves"`
}

// printPlan prints what is pending, and what that means for servers that run.
func (c *console) printPlan(s app.Schema) error {
	var rows []migrationView
	for _, m := range s.Pending {
		rows = append(rows, migrationView{m.Version, m.Name, m.Serves})
	}
	if !c.asJSON {
		switch {
		case s.At == 0:
			c.say("The database is empty.")
		case s.Stops():
			c.say("The schema is %d. Stop all servers before it is moved on to %d: they cannot go on with it.", s.At, s.Known)
		case len(rows) > 0:
			c.say("The schema is %d. Servers can go on while it is moved on to %d, and after that.", s.At, s.Known)
		case s.At > s.Known:
			c.say("The schema is %d, of a newer coatcheck; it serves this one, that knows %d, too. There is nothing to do.", s.At, s.Known)
			return nil
		default:
			c.say("The schema is %d, the one that this coatcheck knows. There is nothing to do.", s.At)
			return nil
		}
	}
	return list(c, rows, []string{"MIGRATION", "NAME", "SERVES"}, func(m migrationView) []string {
		return []string{strconv.Itoa(m.Version), m.Name, strconv.Itoa(m.Serves)}
	})
}
