// Package daemon runs the PostgreSQL and the Redis of this machine for tests, drills
// and benchmarks: each in a folder of its own under /tmp, on a unix socket, as an
// unprivileged user where this program runs as root. In whatever way this program
// ends, they end too and their folders go.
//
// It keeps nothing beyond the program, so it is no way to run a database that is
// meant to last.
package daemon

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// A keeper is a shell that runs a daemon in a folder. It carries out one command a
// line, each of which it answers by "ok", or by what went wrong and "failed". At the
// end of its standard input, which comes with the end of the program that holds the
// other side, it ends the daemon and removes the folder.
type keeper struct {
	dir string

	mu       sync.Mutex // held while a command is carried out
	cmd      *exec.Cmd
	commands io.WriteCloser // open as long as this program lives
	answers  *bufio.Reader
}

// attempt is the part of every keeper's script that runs a command and answers.
const attempt = `
attempt() {
	if "$@" >"$dir/said" 2>&1 </dev/null; then
		echo ok
	else
		cat "$dir/said"
		[ ! -f "$dir/log" ] || tail -n 20 "$dir/log"
		printf '\nfailed\n'
	fi
}
`

// keep makes a folder, and starts the shell with the folder and args as $1 and so on.
// Where this program is root, the folder and the shell are the account's. The script
// answers once by itself, when the daemon runs; if it fails there is nothing left.
func keep(name, account, script string, args ...string) (*keeper, error) {
	// Not os.TempDir: the path of a unix socket has to be short, and the folder
	// open to the account.
	dir, err := os.MkdirTemp("/tmp", "coatcheck-"+name+"-")
	if err != nil {
		return nil, err
	}
	k := &keeper{dir: dir}
	k.cmd = exec.Command("/bin/sh", append([]string{"-c", "dir=$1" + attempt + script, "keeper", dir}, args...)...) // #nosec G204 -- constant scripts
	k.cmd.Dir = dir
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is not for it
	if err := k.begin(account); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := k.answer(); err != nil {
		return nil, errors.Join(err, k.close())
	}
	return k, nil
}

func (k *keeper) begin(account string) error {
	if os.Getuid() == 0 {
		if err := runAs(account, k.cmd.SysProcAttr, k.dir); err != nil {
			return err
		}
	}
	var err error
	if k.commands, err = k.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := k.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	k.answers = bufio.NewReader(out)
	return k.cmd.Start()
}

// runAs lets a command run as an account, and gives that account the folder.
func runAs(account string, attr *syscall.SysProcAttr, dir string) error {
	who, err := user.Lookup(account)
	if err != nil {
		return err
	}
	uid, err := strconv.ParseUint(who.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(who.Gid, 10, 32)
	if err != nil {
		return err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(dir, int(uid), int(gid))
}

// do has the shell carry out a command of one line, and returns when it has.
func (k *keeper) do(command string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, err := io.WriteString(k.commands, command+"\n"); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	if err := k.answer(); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}

// answer waits until the shell has done what it was told last.
func (k *keeper) answer() error {
	var said strings.Builder
	for {
		line, err := k.answers.ReadString('\n')
		switch {
		case line == "ok\n":
			return nil
		case line == "failed\n":
			return errors.New(strings.TrimSpace(said.String()))
		case err != nil:
			return errors.Join(fmt.Errorf("its keeper has ended: %s%s", said.String(), line), err)
		}
		said.WriteString(line)
	}
}

// close ends the daemon, and returns when its folder is gone. It may be called more
// than once.
func (k *keeper) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	_ = k.commands.Close()                // a second time it is closed
	_, _ = io.Copy(io.Discard, k.answers) // to its end
	var ended *exec.ExitError
	if err := k.cmd.Wait(); err != nil && !errors.As(err, &ended) && k.cmd.ProcessState == nil {
		return err
	}
	return os.RemoveAll(k.dir) // the shell has done so unless it was killed
}
