package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// readPassword reads a password from standard input, its first line, or asks for it
// twice without showing it. It is never an argument: those can be read by others.
func (c *console) readPassword(fromInput bool) (string, error) {
	if fromInput {
		line, err := bufio.NewReader(io.LimitReader(c.in, 4096)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	terminal, ok := c.in.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return "", usage{errors.New("there is no terminal to ask for a password: pass it with --password-stdin")}
	}
	first, err := c.ask(terminal, "Password: ")
	if err != nil {
		return "", err
	}
	second, err := c.ask(terminal, "Once more: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two passwords differ, nothing was done")
	}
	return first, nil
}

func (c *console) ask(terminal *os.File, prompt string) (string, error) {
	_, _ = fmt.Fprint(c.err, prompt)
	text, err := term.ReadPassword(int(terminal.Fd()))
	_, _ = fmt.Fprintln(c.err)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return string(text), nil
}

// confirm asks before something that cannot be undone.
func (c *console) confirm(question string) (bool, error) {
	terminal, ok := c.in.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return false, usage{errors.New("say --yes: there is no terminal to ask whether you are sure")}
	}
	_, _ = fmt.Fprintf(c.err, "%s [y/N] ", question)
	line, err := bufio.NewReader(io.LimitReader(c.in, 256)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes", nil
}
