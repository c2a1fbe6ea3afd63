package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coatcheck/coatcheck/internal/load"
)

// keyVariable is where the API key comes from: it is no flag, since other users of
// the machine see those.
const keyVariable = "COATCHECK_API_KEY"

// keyCommand makes a key that is good for all of the measurement.
const keyCommand = "coatcheck apikey add --name bench --scope admin,revocations"

func (c *console) bench() *cobra.Command {
	m := load.Measurement{Note: c.tell}
	var yes bool
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure a running server",
		Long: `Put load on a running server and print how much it can do: sign-ins, checks of a session,
refreshes, and how soon verifiers hear of an end. docs/performance.md says what each figure
means and what to expect of it.

It takes the API key from the variable COATCHECK_API_KEY. Make one on the server with

    ` + keyCommand + `

It makes up to 32 users through the admin API and removes them afterwards, also when it is
interrupted; what they did stays in the audit. The figures are of server, network and this
machine together: on one machine, server and load share its cores.`,
		Example: `  coatcheck bench
  coatcheck bench --only check,ends --verifiers 1000
  coatcheck bench --url https://auth.example.com --duration 30s --yes --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if m.URL == "" {
				loaded, err := c.load(cmd)
				if err != nil {
					return err
				}
				m.URL = loaded.Config.PublicURL
			}
			if err := mayMeasure(&m, yes); err != nil {
				return err
			}
			m.APIKey = variable(c.environ, keyVariable)
			if m.APIKey == "" {
				return fmt.Errorf("%s is empty. Make a key with\n  %s\nand put it there", keyVariable, keyCommand)
			}
			figures, err := m.Run(cmd.Context())
			if shown := c.showFigures(figures); err == nil {
				err = shown
			}
			return advised(err)
		},
	}
	cmd.Flags().StringVar(&m.URL, "url", "", "address of the server (default: public_url of the configuration here)")
	cmd.Flags().DurationVar(&m.Duration, "duration", 10*time.Second, "how long each load lasts")
	cmd.Flags().IntVar(&m.Connections, "connections", 64, "how many callers there are at the same time")
	cmd.Flags().IntVar(&m.Verifiers, "verifiers", 100, "how many verifiers hear of ends")
	cmd.Flags().StringSliceVar(&m.Only, "only", nil, "measure these alone: "+strings.Join(load.Parts, ", "))
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask for permission to load a server that is not on this machine")
	return c.withJSON(cmd)
}

// mayMeasure refuses what cannot be measured, and to load somebody's server by a slip
// of the hand.
func mayMeasure(m *load.Measurement, yes bool) error {
	u, err := url.Parse(m.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return usage{fmt.Errorf("--url %q is not the address of a server, such as https://auth.example.com", m.URL)}
	}
	for _, part := range m.Only {
		if !slices.Contains(load.Parts, part) {
			return usage{fmt.Errorf("--only knows no %q: there are %s", part, strings.Join(load.Parts, ", "))}
		}
	}
	const mostConnections, mostVerifiers = 1000, 15_000
	switch {
	case m.Duration < time.Second || m.Duration > time.Hour:
		return usage{errors.New("--duration is from 1s to 1h")}
	case m.Connections < 1 || m.Connections > mostConnections:
		return usage{fmt.Errorf("--connections is from 1 to %d", mostConnections)}
	case m.Verifiers < 1 || m.Verifiers > mostVerifiers:
		return usage{fmt.Errorf("--verifiers is from 1 to %d: each takes a file handle here and there", mostVerifiers)}
	case !yes && !onThisMachine(u.Hostname()):
		return usage{fmt.Errorf("this puts as much load on %s as it can bear, and people who use it will notice. If that is what you want, add --yes", u.Host)}
	}
	return nil
}

func onThisMachine(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// variable returns a variable of the environment.
func variable(environ []string, name string) string {
	for _, pair := range slices.Backward(environ) {
		if value, found := strings.CutPrefix(pair, name+"="); found {
			return value
		}
	}
	return ""
}

// advised says what to do about an error.
func advised(err error) error {
	switch {
	case errors.Is(err, load.ErrNoKey), errors.Is(err, load.ErrScope):
		return fmt.Errorf("%w.\nMake one with\n  %s\non the server, and put it into %s", err, keyCommand, keyVariable)
	case errors.Is(err, load.ErrName):
		return fmt.Errorf("%w.\nGive --url as it stands in public_url: coatcheck config shows it", err)
	case errors.Is(err, load.ErrThrottled):
		return fmt.Errorf("%w.\nFor the time of the measurement, start the server with more:\n  coatcheck serve --throttle-address 10000/1ms --throttle-pair 10000/1ms", err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the server did not answer in time: %w", err)
	}
	return err
}

// shownAs are the names of figures for people.
var shownAs = map[string]string{
	"sign_in": "sign-in", "session": "/v1/session", "forward_auth": "/v1/forward-auth", "refresh": "refresh", "end_to_refusal": "end to refusal",
}

// showFigures prints what was measured.
func (c *console) showFigures(figures []load.Figure) error {
	if len(figures) == 0 && !c.asJSON {
		return nil
	}
	err := list(c, figures, []string{"MEASURED", "PER SECOND", "P50", "P99", "P99.9"}, func(f load.Figure) []string {
		return []string{shownAs[f.Name], significant(f.PerSecond), milliseconds(f.P50), milliseconds(f.P99), milliseconds(f.P999)}
	})
	if err != nil || c.asJSON {
		return err
	}
	for _, f := range figures {
		if f.At > 0 {
			c.say("%s: the latencies are those at %s a second.", shownAs[f.Name], significant(f.At))
		}
		if f.Remark != "" {
			c.say("%s: %s.", shownAs[f.Name], f.Remark)
		}
	}
	return nil
}

// significant writes a number with three digits, or all that stand before the point.
func significant(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func milliseconds(v float64) string { return significant(v) + " ms" }
