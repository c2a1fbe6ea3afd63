// Command bench measures what docs/performance.md promises, each figure beside its
// reference in the same run, and prints it beside the stored one. It runs in its own
// folder: make bench, or go run . -help here.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The exit statuses. A figure that misses its bar is a failure.
const (
	exitKept   = 0
	exitMissed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	var status int
	if len(os.Args) > 2 && os.Args[1] == "role" {
		status = play(ctx, os.Args[2], os.Args[3:])
	} else {
		status = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	stop()
	os.Exit(status)
}

// play is a role of this program as a process of its own.
func play(ctx context.Context, name string, args []string) int {
	role := roles[name]
	if role == nil {
		fmt.Fprintf(os.Stderr, "bench: there is no role %q\n", name)
		return exitUsage
	}
	if err := role(ctx, args); err != nil {
		fmt.Fprintf(os.Stderr, "bench role %s: %v\n", name, err)
		return exitMissed
	}
	return exitKept
}

// wishes are what the command line asks for.
type wishes struct {
	only        []string
	rounds      int
	quick, save bool
}

func parse(args []string, errs io.Writer) (wishes, error) {
	var w wishes
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(errs)
	only := flags.String("only", "", "measure these `experiments` alone: verifier,check")
	flags.IntVar(&w.rounds, "rounds", 0, "how often each side is measured, alternating (default 5, or 2 with -quick)")
	flags.BoolVar(&w.quick, "quick", false, "small sizes: about a minute, and a rough idea")
	flags.BoolVar(&w.save, "save", false, "store the figures, the table of docs/performance.md and its charts")
	flags.Usage = func() {
		_, _ = fmt.Fprintln(errs, "Usage: go run . [flags]\n\nMeasures, and prints each figure beside the stored one. The exit status is 1 if one misses its bar.")
		flags.PrintDefaults()
		_, _ = fmt.Fprintln(errs, "\nExperiments:")
		for _, e := range experiments {
			_, _ = fmt.Fprintf(errs, "  %-10s %s\n", e.name, e.about)
		}
	}
	if err := flags.Parse(args); err != nil {
		return w, err
	}
	if *only != "" {
		w.only = strings.Split(*only, ",")
	}
	if w.rounds == 0 {
		w.rounds = 5
		if w.quick {
			w.rounds = 2
		}
	}
	for _, name := range w.only {
		if !slices.ContainsFunc(experiments, func(e experiment) bool { return e.name == name }) {
			return w, fmt.Errorf("there is no experiment %q: see -help", name)
		}
	}
	if flags.NArg() > 0 || w.rounds < 1 {
		return w, errors.New("want flags alone, and a round at least: see -help")
	}
	return w, nil
}

// run measures, prints and stores, and returns the exit status.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	w, err := parse(args, errs)
	if errors.Is(err, flag.ErrHelp) {
		return exitKept
	}
	if err != nil {
		_, _ = fmt.Fprintln(errs, "bench:", err)
		return exitUsage
	}
	stored, err := readRecord(recordFile)
	if err != nil {
		_, _ = fmt.Fprintln(errs, "bench:", err)
		return exitMissed
	}
	now, err := measure(ctx, w, errs)
	printTable(out, stored, now)
	if err != nil {
		_, _ = fmt.Fprintln(errs, "bench:", err)
		return exitMissed
	}
	if w.save {
		stored = stored.with(now)
		if err := stored.save(".."); err != nil {
			_, _ = fmt.Fprintln(errs, "bench:", err)
			return exitMissed
		}
		_, _ = fmt.Fprintln(errs, "Stored in bench/figures.json, docs/performance.md and its charts.")
	}
	if now.missed() > 0 {
		return exitMissed
	}
	return exitKept
}

// measure runs the experiments. An experiment that fails does not keep the others
// from running; the record holds those that did not fail.
func measure(ctx context.Context, w wishes, errs io.Writer) (record, error) {
	begin := time.Now()
	dir, err := workFolder()
	if err != nil {
		return record{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is nobody's but ours, and git ignores it
	r := &rig{Rounds: w.rounds, Quick: w.quick, Dir: dir}
	r.Note = func(format string, args ...any) {
		_, _ = fmt.Fprintf(errs, "%6s  %s\n", time.Since(begin).Round(time.Second), fmt.Sprintf(format, args...))
	}
	for _, program := range []string{"wrk", "taskset"} {
		if _, err := exec.LookPath(program); err != nil {
			return record{}, fmt.Errorf("%s is missing: scripts/install-bench-programs installs it", program)
		}
	}
	r.Note("building the server")
	if err := r.build(ctx); err != nil {
		return record{}, err
	}
	var all record
	var failures []error
	for _, e := range experiments {
		if len(w.only) > 0 && !slices.Contains(w.only, e.name) {
			continue
		}
		r.Note("%s: %s", e.name, e.about)
		m, err := r.try(ctx, e)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", e.name, err))
			continue
		}
		all = append(all, m)
		if ctx.Err() != nil {
			break
		}
	}
	return all, errors.Join(append(failures, ctx.Err())...)
}

// workFolder makes a folder on the disk where the repository is: the system's own for
// temporary files may be in memory, where syncing costs nothing.
func workFolder() (string, error) {
	parent, err := filepath.Abs("../.build")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	return os.MkdirTemp(parent, "bench-")
}

// try runs one experiment in a folder of its own.
func (r *rig) try(ctx context.Context, e experiment) (measured, error) {
	own := *r
	var err error
	if own.Dir, err = r.folder(e.name); err != nil {
		return measured{}, err
	}
	defer func() { _ = os.RemoveAll(own.Dir) }() // else it goes with the rig's
	own.Note = func(format string, args ...any) { r.Note("  "+format, args...) }
	figures, err := e.run(ctx, &own)
	if err != nil {
		return measured{}, err
	}
	for i := range figures {
		if err := figures[i].check(); err != nil {
			return measured{}, err
		}
	}
	return measured{Experiment: e.name, Machine: machine(), Date: time.Now().UTC().Format(time.DateOnly), Rounds: r.Rounds, Quick: r.Quick, Figures: figures}, nil
}
