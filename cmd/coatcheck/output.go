package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// withJSON gives a command the flag --json.
func (c *console) withJSON(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&c.asJSON, "json", false, "print JSON")
	return cmd
}

// printJSON prints one value, indented.
func (c *console) printJSON(value any) error {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// list prints rows as one JSON array or as a table.
func list[T any](c *console, rows []T, columns []string, cells func(T) []string) error {
	if c.asJSON {
		if rows == nil {
			rows = []T{}
		}
		return c.printJSON(rows)
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(c.err, "There are none.")
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, strings.Join(columns, "\t")) // its errors come with Flush
	for _, row := range rows {
		_, _ = fmt.Fprintln(w, strings.Join(cells(row), "\t"))
	}
	return w.Flush()
}

// say prints a sentence about what was done.
func (c *console) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.out, format+"\n", args...)
}

// shown is a time for people.
func shown(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
