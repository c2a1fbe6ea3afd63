package browser

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// shots keeps a picture of every page in shots/, at both widths and in both colours.
var shots = flag.Bool("shots", false, "write a picture of every page into browser/shots")

// chromium is where Debian puts it. No browser is ever downloaded.
const chromium = "/usr/bin/chromium"

// begun is the one world of all tests, begun by the first that asks.
var begun = sync.OnceValues(beginWorld)

// endings undo what beginWorld did, the last first.
var endings []func()

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	for i := len(endings) - 1; i >= 0; i-- {
		endings[i]()
	}
	os.Exit(code)
}

// theWorld returns the world, and fails the test if there is none.
func theWorld(t *testing.T) *world {
	t.Helper()
	w, err := begun()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// beginWorld builds the server and starts all that the scenarios meet.
func beginWorld() (*world, error) {
	if _, err := os.Stat(chromium); err != nil {
		return nil, fmt.Errorf("the browser is missing, scripts/install-test-programs installs it: %w", err)
	}
	dir, err := os.MkdirTemp("", "browser")
	if err != nil {
		return nil, err
	}
	endings = append(endings, func() { _ = os.RemoveAll(dir) }) // the system empties it, too
	built := make(chan error, 1)
	binary := filepath.Join(dir, "coatcheck")
	go func() {
		build := exec.Command("go", "build", "-o", binary, "../cmd/coatcheck")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		built <- run("build the server", build)
	}()
	err = installPackages()
	if err = errors.Join(err, <-built); err != nil {
		return nil, err
	}
	return newWorld(dir, binary)
}

// installPackages brings the packages of package-lock.json, to the hash, where they
// are missing or others than it says.
func installPackages() error {
	wanted, err := os.ReadFile("package-lock.json")
	if err != nil {
		return err
	}
	mark := filepath.Join("node_modules", ".installed")
	if have, err := os.ReadFile(mark); err == nil && string(have) == string(wanted) {
		return nil
	}
	if err := run("install the browser tests' packages", exec.Command("npm", "ci")); err != nil {
		return err
	}
	return os.WriteFile(mark, wanted, 0o600)
}

// run runs a program to its end; its output is part of the error.
func run(what string, cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", what, err, out)
	}
	return nil
}
