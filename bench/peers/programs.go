package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// programs are what a run needs, and the Debian packages that hold them.
var programs = []struct{ name, pkg string }{
	{"taskset", "util-linux"}, {"wrk", "wrk"}, {"redis-server", "redis-server"}, {"node", "nodejs"}, {"npm", "npm"},
}

// policy keeps Debian from starting what it installs: a run starts its own.
const policy = "/usr/sbin/policy-rc.d"

// install gets, from Debian's packages, the programs that are missing.
func install(ctx context.Context) error {
	if runtime.NumCPU() < 2 {
		return errors.New("two cores are needed: one for the server, one for the load")
	}
	var missing []string
	for _, p := range programs {
		if _, err := exec.LookPath(p.name); err != nil {
			missing = append(missing, p.pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("these programs are needed: %s. Install them, or run this as root on Debian", strings.Join(missing, ", "))
	}
	if _, err := os.Stat(policy); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil { // #nosec G306 -- apt runs it
			return err
		}
		defer func() { _ = os.Remove(policy) }()
	}
	for _, args := range [][]string{{"update", "-q"}, append([]string{"install", "-q", "-y", "--no-install-recommends"}, missing...)} {
		cmd := exec.CommandContext(ctx, "apt-get", args...) // #nosec G204 -- of the table above
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}
