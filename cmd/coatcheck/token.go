package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/coatcheck/coatcheck/internal/app"
)

func (c *console) token() *cobra.Command {
	return group("token", "Look into credentials", c.tokenInspect())
}

func (c *console) tokenInspect() *cobra.Command {
	var issuer, audience string
	cmd := &cobra.Command{
		Use: "inspect [TOKEN]", Short: "Say what a credential is, what is wrong with it, and when it ends",
		Long: `Decode a token and check it: against the database of this configuration, where it is also
known whether its session has ended, or with --issuer against the keys that another server
publishes. Without an argument it is read from standard input, where other users of the
machine cannot see it.

Session cookies, refresh tokens and API keys are known by how they begin. No secret is ever
shown. The exit status is 1 if the credential is no good.`,
		Example: `  coatcheck token inspect eyJhbGciOi…
  pbpaste | coatcheck token inspect --json
  coatcheck token inspect --issuer https://auth.example.com --audience orders < token.txt`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage{errors.New("token inspect takes one token (see coatcheck token inspect --help)")}
			}
			text, err := c.readToken(args)
			if err != nil {
				return err
			}
			if issuer != "" {
				return c.report(inspectRemotely(cmd.Context(), text, issuer, audience, time.Now()))
			}
			return c.open(cmd, func(ctx context.Context, a *app.App) error {
				loaded, err := c.load(cmd)
				if err != nil {
					return err
				}
				in := inspector{app: a, issuer: loaded.PublicURL, audience: audience, now: time.Now()}
				return c.report(in.inspect(ctx, text))
			})
		},
	}
	cmd.Flags().StringVar(&issuer, "issuer", "", "the address of another server, whose published keys decide")
	cmd.Flags().StringVar(&audience, "audience", "", "the service that the token must be for")
	return c.withJSON(cmd)
}

// longestToken is more than any credential has.
const longestToken = 64 << 10

func (c *console) readToken(args []string) (string, error) {
	text := ""
	if len(args) == 1 {
		text = args[0]
	} else {
		if terminal, ok := c.in.(*os.File); ok && term.IsTerminal(int(terminal.Fd())) {
			_, _ = fmt.Fprintln(c.err, "Paste the token and press Enter:")
		}
		line, err := bufio.NewReader(io.LimitReader(c.in, longestToken)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the token: %w", err)
		}
		text = line
	}
	text = strings.TrimSpace(text)
	for _, prefix := range []string{"Authorization:", "Bearer", "bearer"} {
		text = strings.TrimSpace(strings.TrimPrefix(text, prefix))
	}
	if text == "" {
		return "", usage{errors.New("there is no token: give it as an argument or on standard input")}
	}
	return text, nil
}

// report prints what was found, and fails if the credential is no good.
func (c *console) report(r inspection, err error) error {
	if err != nil {
		return err
	}
	if c.asJSON {
		err = c.printJSON(r)
	} else {
		c.describe(r)
	}
	if err == nil && !r.Good {
		err = errTold
	}
	return err
}

func (c *console) describe(r inspection) {
	verdict := "no good"
	if r.Good {
		verdict = "good"
	}
	c.say("This is %s, and it is %s.", r.kindInWords(), verdict)
	c.say("%s", r.Says)
	if r.EndsAt != nil {
		ends, ago := "It ends", "in "+time.Until(*r.EndsAt).Round(time.Second).String()
		if left := time.Until(*r.EndsAt); left <= 0 {
			ends, ago = "Its time ended", (-left).Round(time.Second).String()+" ago"
		}
		c.say("%s at %s, %s.", ends, shown(*r.EndsAt), ago)
	}
	if r.ID != "" {
		c.say("\nid      %s", r.ID)
	}
	if r.Header != nil {
		c.say("\nheader  %s\nclaims  %s", indented(r.Header), indented(r.Claims))
	}
}
