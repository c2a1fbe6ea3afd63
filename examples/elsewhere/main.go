// Command elsewhere is a program of another module: it reads access tokens, one to a
// line, and says of each whether it is accepted and whose it is, or why not.
//
//	elsewhere ISSUER AUDIENCE <tokens
//
// It needs COATCHECK_API_KEY, and no module but the one that it imports.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/coatcheck/coatcheck"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: elsewhere ISSUER AUDIENCE <tokens")
	}
	if err := verify(os.Args[1], os.Args[2], os.Getenv("COATCHECK_API_KEY"), os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func verify(issuer, audience, apiKey string, in io.Reader, out io.Writer) error {
	v, err := coatcheck.NewVerifier(coatcheck.Config{Issuer: issuer, Audience: audience, APIKey: apiKey})
	if err != nil {
		return err
	}
	defer v.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if err := v.Ready(ctx); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		caller, err := v.Verify(context.Background(), lines.Text())
		if _, err := fmt.Fprintln(out, verdict(caller, err)); err != nil {
			return err
		}
	}
	return lines.Err()
}

func verdict(caller *coatcheck.Caller, err error) string {
	switch {
	case err == nil:
		return "accepted " + caller.UserID + " " + caller.SessionID
	case errors.Is(err, coatcheck.ErrRevoked):
		return "refused: the session has ended"
	case errors.Is(err, coatcheck.ErrExpired):
		return "refused: to be renewed"
	case errors.Is(err, coatcheck.ErrStale):
		return "refused: nobody can tell now"
	default:
		return "refused: not valid here"
	}
}
