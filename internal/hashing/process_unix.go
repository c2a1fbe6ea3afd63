//go:build unix

package hashing

import (
	"runtime"
	"syscall"
)

// niceness is how much less the process matters than the server: the system prefers
// whoever answers checks, and hashes still get a tenth where there is nothing to spare.
const niceness = 10

// apart makes the process the head of a group, so that what a terminal sends to the
// server's group does not reach it, and [yield] all of its threads.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// yield lowers the priority of all threads that the process has or will have.
func yield(pid int) error {
	mine, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		return err
	}
	if runtime.GOOS == "linux" {
		mine = 20 - mine // the system call itself returns it so, and it is never below zero
	}
	return syscall.Setpriority(syscall.PRIO_PGRP, pid, min(mine+niceness, 19))
}
