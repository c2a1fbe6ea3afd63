package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/coatcheck/coatcheck/internal/advice"
	"github.com/coatcheck/coatcheck/internal/config"
)

var update = flag.Bool("update", false, "write the generated parts of docs/")

// commands returns every command that does something, and the root.
func commands() []*cobra.Command {
	var all []*cobra.Command
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		all = append(all, cmd)
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	c := &console{}
	walk(c.root())
	return all
}

func TestHelp(t *testing.T) {
	for _, cmd := range commands() {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: its line in the list is %q", cmd.CommandPath(), cmd.Short)
		}
		if cmd.Example == "" && !cmd.HasSubCommands() {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		for line := range strings.Lines(cmd.Example) {
			checkExample(t, cmd, line)
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s: --%s has no meaning", cmd.CommandPath(), f.Name)
			}
		})
		var out, errs bytes.Buffer
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		if status := run(context.Background(), args, nil, nil, &out, &errs); status != exitOK || errs.Len() > 0 {
			t.Errorf("%s --help: status %d, %s", cmd.CommandPath(), status, &errs)
		}
		if !strings.Contains(out.String(), cmd.Example) {
			t.Errorf("%s --help does not show the example:\n%s", cmd.CommandPath(), &out)
		}
		if strings.Contains(out.String(), "--session-idle string") {
			t.Errorf("%s --help lists the settings, which would drown its own flags", cmd.CommandPath())
		}
	}
}

// checkExample demands that an example uses flags that there are.
func checkExample(t *testing.T, cmd *cobra.Command, line string) {
	t.Helper()
	at := strings.LastIndex(line, " coatcheck ")
	if at < 0 {
		t.Errorf("%s: the example %q does not run coatcheck", cmd.CommandPath(), line)
		return
	}
	own, _, _ := strings.Cut(line[at+len(" coatcheck "):], " | ")
	target, _, err := cmd.Root().Find(strings.Fields(own))
	if err != nil || !strings.HasPrefix(target.CommandPath(), cmd.CommandPath()) {
		t.Errorf("%s: its example runs another command: %q", cmd.CommandPath(), line)
		return
	}
	for _, name := range regexp.MustCompile(`--([a-z-]+)`).FindAllStringSubmatch(own, -1) {
		if target.Flag(name[1]) == nil && name[1] != "help" {
			t.Errorf("%s: there is no --%s in %q", cmd.CommandPath(), name[1], line)
		}
	}
}

func TestEverySettingIsAFlagAndInTheHelpOfConfig(t *testing.T) {
	var out bytes.Buffer
	if status := run(context.Background(), []string{"config", "--help"}, nil, nil, &out, &out); status != exitOK {
		t.Fatal(out.String())
	}
	c := &console{}
	root := c.root()
	for _, k := range config.Keys() {
		if !strings.Contains(out.String(), "  "+k.Name+" ") || !strings.Contains(out.String(), k.Manual) {
			t.Errorf("%s is not in coatcheck config --help", k.Name)
		}
		if k.Flag() != "" && root.PersistentFlags().Lookup(k.Flag()) == nil {
			t.Errorf("%s is no flag", k.Name)
		}
		if k.Secret && k.Flag() != "" {
			t.Errorf("V-104 the secret %s is a flag", k.Name)
		}
	}
}

// The reference pages are written from the code: go test ./cmd/coatcheck -update.
func TestReferencePages(t *testing.T) {
	for page, text := range map[string]string{
		"../../docs/configuration.md": config.Reference(),
		"../../docs/cli.md":           manualOfCommands(),
		"../../docs/choosing.md":      advice.Page(),
	} {
		const begin, end = "<!-- generated: go test ./cmd/coatcheck -update -->\n", "<!-- end of what is generated -->\n"
		old, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		before, rest, found := strings.Cut(string(old), begin)
		_, after, ended := strings.Cut(rest, end)
		if !found || !ended {
			t.Fatalf("%s has no place for what is generated", page)
		}
		want := before + begin + "\n" + text + "\n" + end + after
		if *update {
			if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if want != string(old) {
			t.Errorf("%s is behind the code: run go test ./cmd/coatcheck -update", page)
		}
	}
}

// manualOfCommands describes every command in Markdown.
func manualOfCommands() string {
	var b strings.Builder
	for _, cmd := range commands() {
		if cmd.HasSubCommands() {
			continue
		}
		b.WriteString("### `" + strings.TrimSuffix(cmd.UseLine(), " [flags]") + "`\n\n")
		about := cmd.Short + "."
		if cmd.Long != "" {
			about, _, _ = strings.Cut(cmd.Long, "\n\nEach is also a flag")
		}
		b.WriteString(strings.TrimRight(about, "\n") + "\n\n")
		var flags []string
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" {
				flags = append(flags, "| `--"+f.Name+"` | "+f.Usage+" |\n")
			}
		})
		if len(flags) > 0 {
			b.WriteString("| flag | meaning |\n| --- | --- |\n" + strings.Join(flags, "") + "\n")
		}
		b.WriteString("```console\n" + outdented(cmd.Example) + "\n```\n\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func outdented(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, "  ")
	}
	return strings.Join(lines, "\n")
}
