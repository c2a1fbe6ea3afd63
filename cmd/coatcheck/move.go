package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/config"
)

func (c *console) move() *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use: "move", Short: "Carry everything from SQLite to PostgreSQL; nobody is signed out",
		Long: `Carry everything from a SQLite database to an empty PostgreSQL database: users, live sessions, keys,
waiting mails, links, the log of what has ended and the audit. Stop the server first. Nobody is
signed out by it, because the nodes on PostgreSQL go on with the same secret; where another one is
configured, the move is refused.

What was carried is read back and compared with the source, table by table. Before that no node
serves the target. When it is interrupted or killed, the same command goes on where it was, or
begins anew if the source has changed. The source is only read; at the very end it is marked, so
that no server starts on it by mistake. docs/moving.md has the whole way, and the way back.

The address of the target may not hold a password here, because every user of the machine sees
that: set COATCHECK_DATABASE or database_file instead, and leave out --to; or use PGPASSWORD.`,
		Example: `  coatcheck move --from sqlite:coatcheck.db --to postgres://coatcheck@db/coatcheck
  COATCHECK_DATABASE_FILE=/run/secrets/database COATCHECK_SECRET_FILE=coatcheck.secret coatcheck move --from sqlite:coatcheck.db --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := c.load(cmd)
			if err != nil {
				return err
			}
			if err := choose(loaded, &from, &to); err != nil {
				return err
			}
			report, err := app.Move(cmd.Context(), app.MoveOptions{Config: loaded.Config, From: from, To: to, Logger: c.warnings(), Tell: c.progress()})
			if errors.Is(err, app.ErrUnmarked) {
				return fmt.Errorf("%w. Run the same command once more", err)
			}
			if err != nil {
				return fmt.Errorf("%w. The move is not done; the source is as it was", err)
			}
			if c.asJSON {
				return c.printJSON(report)
			}
			return c.sayMoved(report)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "sqlite:PATH (default: the configured database)")
	cmd.Flags().StringVar(&to, "to", "", "postgres://USER@HOST/NAME (default: the configured database)")
	return c.withJSON(cmd)
}

// choose fills in what was not said of where from and where to.
func choose(loaded *config.Loaded, from, to *string) error {
	if _, sqlite := loaded.SQLite(); sqlite && *from == "" {
		*from = loaded.Database
	} else if !sqlite && *to == "" {
		*to = loaded.Database
	}
	switch {
	case *from == "":
		return usage{errors.New("say which database to move: --from sqlite:PATH")}
	case *to == "":
		return usage{errors.New("say where to: --to postgres://USER@HOST/NAME, or set COATCHECK_DATABASE")}
	case *to != loaded.Database && config.HoldsPassword(*to):
		return usage{errors.New("--to: a password is never part of a flag, since every user of the machine sees those: set COATCHECK_DATABASE or database_file, and leave out --to")}
	}
	if !strings.HasPrefix(*from, "sqlite:") {
		return usage{errors.New("a move is from SQLite: --from sqlite:PATH")}
	}
	if strings.HasPrefix(*to, "sqlite:") {
		return usage{errors.New("a move is to PostgreSQL: --to postgres://USER@HOST/NAME")}
	}
	return nil
}

func (c *console) sayMoved(r app.MoveReport) error {
	if r.Before {
		c.say("Everything was moved to %s before; nothing was done now.", r.To)
	} else {
		if err := c.tables(r.Tables); err != nil {
			return err
		}
		switch {
		case r.Resumed:
			c.say("\nWent on with a move that was interrupted.")
		case r.Anew:
			c.say("\nThe source has changed since a move that was interrupted: all was carried anew.")
		}
		c.say("\nMoved %s to %s, read back and found the same.", r.From, r.To)
	}
	c.say("Nobody is signed out. Now set database to the new one, and start the nodes.")
	if r.Secret != "" {
		c.say("Each needs the secret of the old one: COATCHECK_SECRET_FILE, with a copy of %s.", r.Secret)
	}
	c.say("%s is kept as it was, and no server starts on it any more.", r.From)
	return nil
}
