//go:build !linux

package hashing

import (
	"os"
	"os/exec"
)

// itself is what stands where this program was started from.
func itself() (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.Command(program), nil
}
