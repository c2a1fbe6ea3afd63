package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/config"
)

func (c *console) settings() *cobra.Command {
	return c.withJSON(&cobra.Command{
		Use: "config", Short: "Show the configuration in force, and where each value comes from",
		Long:    "Show the configuration in force, secrets hidden, and where each value comes from:\na flag, the environment, coatcheck.toml or the default, in this order.\n\n" + manual(),
		Example: "  coatcheck config\n  COATCHECK_SESSION_IDLE=2d coatcheck config --json",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := c.load(cmd)
			if err != nil {
				return err
			}
			return list(c, loaded.Table(), []string{"NAME", "VALUE", "FROM"}, func(s config.Setting) []string {
				return []string{s.Name, s.Value, s.Source}
			})
		},
	})
}

// manual lists every key with its meaning and default.
func manual() string {
	var b strings.Builder
	b.WriteString("Each is also a flag and a variable: session.idle is --session-idle and COATCHECK_SESSION_IDLE.\nSecrets are no flags.\n\n")
	for _, k := range config.Keys() {
		fmt.Fprintf(&b, "  %-22s %s", k.Name, k.Manual)
		if k.Default != "" {
			fmt.Fprintf(&b, " Default: %s.", k.Default)
		}
		b.WriteByte('\n')
	}
	return strings.TrimRight(b.String(), "\n")
}

func (c *console) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Say which version this is", Args: noArguments, Example: "  coatcheck version",
		RunE: func(*cobra.Command, []string) error {
			c.say("coatcheck %s", app.Version)
			return nil
		},
	}
}
