package hashing

import "os/exec"

// itself is this very program, also when another one has taken its place on the disk.
func itself() (*exec.Cmd, error) { return exec.Command("/proc/self/exe"), nil }
