// Command peers puts the same answer to a signed-in person behind Coatcheck's
// verifier and behind what else people use, loads each in turn, and prints how
// much of the bare handler's speed is left and when an ended session is refused.
//
// It needs Linux, two cores and, where a program is missing, root on Debian; the
// rest it gets by itself. Each candidate is a process of its own on one core, and
// wrk has another. Redis and the issuer have a third where there is one, else they
// share wrk's, so that a store costs its candidates nothing but the asking.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// connections is how many wrk keeps open.
const connections = 64

// A plan is how much to measure.
type plan struct {
	users  int
	rounds int
	warm   time.Duration // of the load before the first round
	each   time.Duration // of a candidate's load in a round
}

var (
	full  = plan{users: 10_000, rounds: 5, warm: 3 * time.Second, each: 4 * time.Second}
	quick = plan{users: 2_000, rounds: 2, warm: time.Second, each: time.Second}
)

func main() {
	if len(os.Args) == 5 && os.Args[1] == "serve" {
		exit(serve(os.Args[2], os.Args[3], shelf(os.Args[4])))
	}
	short := flag.Bool("quick", false, "two short rounds with 2,000 people, in about a minute")
	save := flag.Bool("save", false, "write the table into README.md and results.json")
	only := flag.String("only", "", "candidates to measure, separated by commas; empty: all")
	flag.Parse()
	p := full
	if *short {
		p = quick
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(run(ctx, p, *only, *save))
}

func exit(err error) {
	if err != nil {
		note("peers: %v", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func note(format string, args ...any) { _, _ = fmt.Fprintf(os.Stderr, format+"\n", args...) }

func run(ctx context.Context, p plan, only string, save bool) (err error) {
	if save && only != "" {
		return errors.New("the table that is saved has all candidates in it: leave out -only")
	}
	chosen, err := choose(only)
	if err != nil {
		return err
	}
	source, err := root(ctx)
	if err != nil {
		return err
	}
	if err := install(ctx); err != nil {
		return err
	}
	r, err := newRunner(source)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	res, err := r.measure(ctx, p, chosen)
	if err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString(res.markdown()); err != nil {
		return err
	}
	if save {
		return res.save(source)
	}
	return nil
}

func choose(only string) ([]candidate, error) {
	if only == "" {
		return candidates, nil
	}
	var chosen []candidate
	for name := range strings.SplitSeq(only, ",") {
		at := slices.IndexFunc(candidates, func(c candidate) bool { return c.name == name })
		if at < 0 {
			return nil, fmt.Errorf("there is no candidate %q", name)
		}
		chosen = append(chosen, candidates[at])
	}
	return chosen, nil
}

// root finds the repository that this program is built from.
func root(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/coatcheck/coatcheck").Output()
	if err != nil {
		return "", errors.New("run this in bench/peers, with the go command at hand")
	}
	return filepath.Clean(strings.TrimSpace(string(out))), nil
}

func nodeVersion() string {
	out, err := exec.Command("node", "--version").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(strings.TrimPrefix(string(out), "v"))
}
