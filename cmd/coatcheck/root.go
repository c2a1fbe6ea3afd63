package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/fault"
)

// The exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// console is where a command reads, writes and finds its configuration.
type console struct {
	environ []string
	in      io.Reader
	out     io.Writer
	err     io.Writer
	path    string // --config
	asJSON  bool   // --json
}

// byCommand is who did it, in the audit.
const byCommand = app.ByCommand

// from is where what a command does comes from.
var from = app.Origin

// usage is wrong use of a command, which has a status of its own.
type usage struct{ error }

// errTold is a failure about which the command has said everything itself.
var errTold = errors.New("the command has said why")

// run runs one command line and returns its exit status.
func run(ctx context.Context, args, environ []string, in io.Reader, out, errs io.Writer) int {
	c := &console{environ: environ, in: in, out: out, err: errs}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if !errors.Is(err, errTold) {
		c.complain(err)
	}
	var wrong usage
	if errors.As(err, &wrong) {
		return exitUsage
	}
	return exitFailed
}

// complain says in a sentence or a few what went wrong.
func (c *console) complain(err error) {
	var mistakes config.Mistakes
	var members fault.Members
	var f *fault.Fault
	switch {
	case errors.As(err, &mistakes):
		_, _ = fmt.Fprintf(c.err, "The configuration has mistakes:\n%v\n", mistakes)
	case errors.As(err, &members):
		for _, m := range members {
			c.tell(m.Member[1:] + ": " + m.Detail)
		}
	case errors.As(err, &f) && f.Kind != fault.Unavailable:
		c.tell(f.Sentence)
	default:
		c.tell(err.Error())
	}
}

// tell writes a line to standard error, under the name of the program.
func (c *console) tell(text string) {
	if !strings.HasPrefix(text, "coatcheck ") {
		text = "coatcheck: " + text
	}
	_, _ = fmt.Fprintln(c.err, text)
}

func (c *console) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "coatcheck",
		Short: "Sessions that end everywhere at once, tokens that are checked anywhere",
		Long: `Coatcheck is an authentication server. One sign-in opens one session; the cookie, the
access token and the refresh token are all drawn on it, and ending it ends them all,
everywhere, within milliseconds, while every service checks locally.`,
		Example: `  coatcheck serve                       start with no configuration at all
  coatcheck init                        five questions, and a configuration that explains itself
  coatcheck user add --email ada@example.com
  coatcheck session list
  coatcheck session end ses_…           every service refuses it from now on`,
		SilenceErrors: true, SilenceUsage: true, SuggestionsMinimumDistance: 2,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage{fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
	})
	root.PersistentFlags().StringVar(&c.path, "config", "", "configuration file (default "+config.DefaultPath+", if there is one)")
	for _, k := range config.Keys() {
		if flag := k.Flag(); flag != "" {
			root.PersistentFlags().String(flag, "", k.Manual)
			_ = root.PersistentFlags().MarkHidden(flag) // they stand in `coatcheck config --help`
		}
	}
	root.AddCommand(c.serve(), c.init(), c.user(), c.session(), c.client(), c.apikey(), c.key(), c.token(), c.settings(), c.audit(), c.doctor(), c.bench(), c.migrate(), c.backup(), c.restore(), c.move(), c.version())
	return root
}

// noArguments refuses arguments, as wrong use.
func noArguments(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) > 0 && cmd.HasSubCommands():
		meant := ""
		if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
			meant = ": did you mean " + strings.Join(like, " or ") + "?"
		}
		return usage{fmt.Errorf("there is no command %q of %s%s (see %s --help)", args[0], cmd.CommandPath(), meant, cmd.CommandPath())}
	case len(args) > 0:
		return usage{fmt.Errorf("%s takes no %q (see %s --help)", cmd.CommandPath(), args[0], cmd.CommandPath())}
	}
	return nil
}

// oneArgument demands exactly one, by its name in the help.
func oneArgument(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage{fmt.Errorf("%s takes one %s (see %s --help)", cmd.CommandPath(), name, cmd.CommandPath())}
		}
		return nil
	}
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, Args: noArguments, SuggestionsMinimumDistance: 2, RunE: func(cmd *cobra.Command, _ []string) error {
		_ = cmd.Help() // it goes to the terminal
		return usage{fmt.Errorf("%s needs one of the commands above", cmd.CommandPath())}
	}}
	g.AddCommand(commands...)
	return g
}

// load reads the configuration in force for this command line.
func (c *console) load(cmd *cobra.Command) (*config.Loaded, error) {
	return config.Load(config.Options{Path: c.path, Environ: c.environ, Flags: givenSettings(cmd)})
}

// open opens the database of the configuration, beside a server that may be
// running, lets do work with it, and closes it.
func (c *console) open(cmd *cobra.Command, do func(ctx context.Context, a *app.App) error) error {
	return c.with(cmd, true, do)
}

// openOrMake is open for what may come before the server's first start.
func (c *console) openOrMake(cmd *cobra.Command, do func(ctx context.Context, a *app.App) error) error {
	return c.with(cmd, false, do)
}

func (c *console) with(cmd *cobra.Command, existing bool, do func(ctx context.Context, a *app.App) error) (err error) {
	loaded, err := c.load(cmd)
	if err != nil {
		return err
	}
	a, err := app.Open(cmd.Context(), app.Options{
		Config: loaded.Config, Existing: existing,
		Logger: slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	return do(cmd.Context(), a)
}
