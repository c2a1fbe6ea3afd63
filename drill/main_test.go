package drill

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// long runs every drill at its full size. Without it the same drills run small.
var long = flag.Bool("long", false, "run the drills at full size")

// binary is the server as people run it, built once for all drills.
var binary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "drill")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder; the system empties it too
	binary = filepath.Join(dir, "coatcheck")
	build := exec.Command("go", "build", "-tags", "drill", "-o", binary, "../cmd/coatcheck")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the server: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// size returns small, or full with -long.
func size(small, full int) int {
	if *long {
		return full
	}
	return small
}
