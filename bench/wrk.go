package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A load is what wrk sends: as much as the server answers, over connections that
// stay open.
type load struct {
	URL         string
	Script      string        // Lua: what each request is; "" is GET of the URL
	Args        []string      // of the script's init
	Connections int           // 0: 64
	Threads     int           // 0: 1, on loadCore
	Duration    time.Duration // 0: 3 s
	Core        int           // 0: loadCore; or anyCore
}

// loaded is what wrk saw.
type loaded struct {
	PerSecond      float64       // answers
	P50, P99, P999 time.Duration // from sending to the whole answer
	Requests       int
	Refused        int // answers of a status that is not 2xx or 3xx
	Failed         int // requests without a whole answer
}

// errRefused says that a load was not served, so that its figure is of no value.
var errRefused = errors.New("the server did not answer the load as it should")

// wrk runs a load. It fails with errRefused if more than one in a thousand was
// refused or failed; the figures are returned all the same.
func (r *rig) wrk(ctx context.Context, l load) (loaded, error) {
	if l.Connections == 0 {
		l.Connections = 64
	}
	l.Threads = max(l.Threads, 1)
	if l.Duration == 0 {
		l.Duration = 3 * time.Second
	}
	if l.Core == 0 {
		l.Core = loadCore
	}
	dir, err := r.folder("wrk")
	if err != nil {
		return loaded{}, err
	}
	script := filepath.Join(dir, "load.lua")
	if err := os.WriteFile(script, []byte(l.Script+report), 0o600); err != nil {
		return loaded{}, err
	}
	args := []string{
		"-c", strconv.Itoa(l.Connections), "-t", strconv.Itoa(l.Threads), "-d", fmt.Sprintf("%.0fs", max(1, l.Duration.Seconds())),
		"--timeout", "30s", "-s", script, l.URL,
	}
	cmd := pinned(ctx, l.Core, "wrk", append(append(args, "--"), l.Args...)...)
	out, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return loaded{}, fmt.Errorf("wrk: %w: %s", err, failed.Stderr)
	}
	if err != nil {
		return loaded{}, fmt.Errorf("wrk: %w (scripts/install-bench-programs installs it)", err)
	}
	return reported(string(out))
}

// report prints what was seen, for reported to read.
const report = `
function done(summary, latency)
	io.write(string.format("\nloaded %d %d %d %d %d %d %d\n", summary.requests, summary.duration,
		latency:percentile(50), latency:percentile(99), latency:percentile(99.9), summary.errors.status,
		summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
`

func reported(out string) (loaded, error) {
	_, line, found := strings.Cut(out, "\nloaded ")
	var requests, micros, p50, p99, p999, refused, failed int
	if _, err := fmt.Sscan(line, &requests, &micros, &p50, &p99, &p999, &refused, &failed); !found || err != nil || micros == 0 {
		return loaded{}, fmt.Errorf("wrk did not report: %s", out)
	}
	m := loaded{
		PerSecond: float64(requests) / (float64(micros) / 1e6),
		P50:       time.Duration(p50) * time.Microsecond, P99: time.Duration(p99) * time.Microsecond, P999: time.Duration(p999) * time.Microsecond,
		Requests: requests, Refused: refused, Failed: failed,
	}
	if 1000*(refused+failed) > requests || requests == 0 {
		return m, fmt.Errorf("%w: %d answers, %d refused, %d failed", errRefused, requests, refused, failed)
	}
	return m, nil
}

// eachLine is the script of a GET whose header bears one line of a file after the
// other, each after prefix.
func eachLine(header, prefix, file string) string {
	return fmt.Sprintf(`
local head, tail, lines, at = "", "", {}, 0
function init(args)
	wrk.headers[%q] = "{line}"
	head, tail = wrk.format():match("^(.*){line}(.*)$")
	for line in io.lines(%q) do lines[#lines + 1] = line end
	head = head .. %q
end
function request()
	at = at %% #lines + 1
	return head .. lines[at] .. tail
end
`, header, file, prefix)
}
