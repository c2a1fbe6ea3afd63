package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/hashing"
)

func (c *console) serve() *cobra.Command {
	return &cobra.Command{
		Use: "serve", Short: "Start the server",
		Long: `Start the server. With no configuration it keeps everything in ./coatcheck.db and answers on
http://localhost:8080. On first start it prints a link that makes the first administrator.`,
		Example: `  coatcheck serve
  coatcheck serve --listen :8443 --public-url https://auth.example.com --verify-email optional --tls-certificate cert.pem --tls-key key.pem
  COATCHECK_DATABASE=postgres://coatcheck@db/coatcheck COATCHECK_SECRET_FILE=/run/secrets/coatcheck coatcheck serve`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := c.load(cmd)
			if err != nil {
				return err
			}
			return c.serveWith(cmd.Context(), loaded)
		},
	}
}

// drainBehindProxy is how long the server goes on accepting once it is to stop, for
// load balancers; where only this machine reaches it there are none.
const drainBehindProxy = 2 * time.Second

func (c *console) serveWith(ctx context.Context, loaded *config.Loaded) error {
	logger := newLogger(loaded.Log, c.err)
	hashes := hashing.NewProcess(logger)
	defer hashes.Close()
	options := app.Options{Config: loaded.Config, Logger: logger, Sum: hashes.Sum}
	if !loaded.Loopback() {
		options.Drain = drainBehindProxy
	}
	a, err := app.New(ctx, options)
	if err != nil {
		return err
	}
	public, metrics, err := a.Listen(ctx)
	if err != nil {
		return errors.Join(err, a.Close())
	}
	if err := c.welcome(ctx, a, loaded, public, metrics); err != nil {
		if metrics != nil {
			err = errors.Join(err, metrics.Close())
		}
		return errors.Join(err, public.Close(), a.Close())
	}
	return a.Serve(ctx, public, metrics)
}

// welcome says where the server is and what to do next. The link is for this
// terminal alone: it never reaches the log.
func (c *console) welcome(ctx context.Context, a *app.App, loaded *config.Loaded, public, metrics net.Listener) error {
	token, offered, err := a.Accounts.OfferSetup(ctx)
	if err != nil {
		return fmt.Errorf("offer the first-administrator link: %w", err)
	}
	c.say("Coatcheck %s is at %s\n", app.Version, loaded.PublicURL)
	c.say("  listening  %s", public.Addr())
	if metrics != nil {
		c.say("  metrics    http://%s/metrics", metrics.Addr())
	}
	if path, ok := loaded.SQLite(); ok {
		c.say("  database   %s", path)
		if len(loaded.Secret) == 0 {
			c.say("  secret     %s (keep a copy apart from the database's)", app.SecretPath(path))
		}
	} else {
		c.say("  database   PostgreSQL")
	}
	if offered {
		c.say("\nMake the first administrator here, once and within an hour:\n\n  %s/setup?token=%s", loaded.PublicURL, token)
	}
	c.say("\n%s", joining(loaded))
	if text := mailing(loaded); text != "" {
		c.say("%s", text)
	}
	if _, err := os.Stat(config.DefaultPath); c.path == "" && errors.Is(err, fs.ErrNotExist) {
		c.say("Write a configuration that explains itself with coatcheck init.")
	}
	c.say("See what else there is with coatcheck --help. Stop with Ctrl-C.\n")
	return nil
}

// joining says how people come to have an account.
func joining(loaded *config.Loaded) string {
	switch loaded.SignUp {
	case "open":
		return "Sign up at " + loaded.PublicURL + "/sign-up"
	case "invite":
		return "Accounts are by invitation: coatcheck user invite --email ada@example.com"
	}
	return "Accounts are made by administrators: coatcheck user add --email ada@example.com"
}

// mailing says where mails are, if it is not where people look for them.
func mailing(loaded *config.Loaded) string {
	switch {
	case loaded.Mail.Host != "":
		return ""
	case loaded.Loopback():
		return "Mails are printed here and shown at " + loaded.PublicURL + "/dev/mail, until mail.host names a mail server."
	}
	return "No mail is sent until mail.host names a mail server: set a forgotten password with coatcheck user set-password."
}

// newLogger logs text to a terminal and JSON elsewhere, unless it was told.
func newLogger(c config.Log, to io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	text := c.Format == "text"
	if file, ok := to.(*os.File); ok && c.Format == "auto" {
		text = term.IsTerminal(int(file.Fd()))
	}
	if text {
		return slog.New(slog.NewTextHandler(to, options))
	}
	return slog.New(slog.NewJSONHandler(to, options))
}
