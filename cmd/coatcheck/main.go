// Command coatcheck is the server and everything an operator does with it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/coatcheck/coatcheck/internal/hashing"
)

func main() {
	if os.Args[0] == hashing.Name {
		hashing.Work()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	status := run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}
