//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sqlstore

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// errNoLocks is of systems that have no such lock.
var errNoLocks = errors.ErrUnsupported

// flock locks a file, without waiting; false if another holds it. The lock is the open
// file's, so that two openers within one process are told apart, too.
func flock(file *os.File, alone bool) (bool, error) {
	how := syscall.LOCK_SH
	if alone {
		how = syscall.LOCK_EX
	}
	for {
		err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, err
		}
	}
}

// ownAs gives a file that root has made to whom another file belongs, or its folder if
// that is not there: else a server that is not root could not open it.
func ownAs(name, other string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(other)
	if errors.Is(err, fs.ErrNotExist) {
		info, err = os.Stat(filepath.Dir(other))
	}
	if err != nil {
		return err
	}
	status, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return os.Chown(name, int(status.Uid), int(status.Gid))
}

// holders names the processes that hold a lock on the file, as far as the system tells.
func holders(file *os.File) string {
	var named []string
	for _, pid := range pidsOf(file) {
		name := "process " + strconv.Itoa(pid)
		if command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil {
			words := strings.Split(strings.TrimRight(string(command), "\x00"), "\x00")
			name += " (" + strings.Join(words[:min(len(words), 2)], " ") + ")"
		}
		named = append(named, name)
	}
	if len(named) == 0 {
		return "another process"
	}
	return strings.Join(named, " and ")
}

// pidsOf reads /proc/locks, which only Linux has: which processes have locked the file.
// Those of other containers are not known by number.
func pidsOf(file *os.File) []int {
	info, err := file.Stat()
	if err != nil {
		return nil
	}
	status, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return nil
	}
	defer locks.Close()
	var pids []int
	inode := fmt.Sprintf(":%d", status.Ino)
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		words := strings.Fields(lines.Text()) // 3: FLOCK ADVISORY READ 12813 fe:00:9978041 0 EOF
		if len(words) < 6 || words[1] != "FLOCK" || !strings.HasSuffix(words[5], inode) {
			continue
		}
		if pid, err := strconv.Atoi(words[4]); err == nil && pid > 0 && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}
