package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/coatcheck/coatcheck/internal/advice"
	"github.com/coatcheck/coatcheck/internal/config"
)

// unwritten is what every init says that comes to no file.
const unwritten = "nothing was written"

func (c *console) init() *cobra.Command {
	answers := map[string]*string{}
	var output string
	var force bool
	cmd := &cobra.Command{
		Use: "init", Short: "Ask five questions, and write " + config.DefaultPath,
		Long: `Ask five questions about an application, write a ` + config.DefaultPath + ` in which each line says why it is
there, and say which of session, token and hybrid it chose for which client, and what that
costs. Enter takes the answer in brackets.

Each answer can be given as a flag, and is then not asked for. A setting that is given as a
flag, such as --public-url, is written into the file. Nothing is written before all answers
are there, and no file is replaced without --force.`,
		Example: `  coatcheck init
  coatcheck init --public-url https://auth.example.com
  coatcheck init --services one --domains one --clients browsers --instant yes --machines one
  coatcheck init --output /etc/coatcheck/coatcheck.toml --force`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			i := initiation{console: c, path: cmp.Or(output, c.path, config.DefaultPath), force: force, given: givenSettings(cmd)}
			if err := i.readFlags(cmd, answers); err != nil {
				return err
			}
			return i.run(cmd.Context())
		},
	}
	for _, q := range advice.Questions() {
		answers[q.Name] = cmd.Flags().String(q.Name, "", q.Choices()+": "+lowerFirst(q.Text))
	}
	cmd.Flags().StringVar(&output, "output", "", "file to write (default "+config.DefaultPath+")")
	cmd.Flags().BoolVar(&force, "force", false, "replace the file if it is there")
	return cmd
}

func lowerFirst(text string) string { return strings.ToLower(text[:1]) + text[1:] }

// givenSettings are the settings that stand on the command line, by their names.
func givenSettings(cmd *cobra.Command) map[string]string {
	given := map[string]string{}
	for _, k := range config.Keys() {
		if flag := cmd.Flag(k.Flag()); flag != nil && flag.Changed {
			given[k.Name] = flag.Value.String()
		}
	}
	return given
}

// An initiation is one run of coatcheck init.
type initiation struct {
	*console
	path    string
	force   bool
	given   map[string]string // settings
	answers advice.Answers
}

// readFlags takes the answers that were given as flags.
func (i *initiation) readFlags(cmd *cobra.Command, flags map[string]*string) error {
	i.answers = advice.Answers{}
	for _, q := range advice.Questions() {
		if !cmd.Flags().Changed(q.Name) {
			continue
		}
		answer, ok := q.Answer(*flags[q.Name])
		if !ok || *flags[q.Name] == "" {
			return usage{fmt.Errorf("--%s takes %s, not %q (see coatcheck init --help)", q.Name, q.Choices(), *flags[q.Name])}
		}
		i.answers[q.Name] = answer
	}
	return nil
}

func (i *initiation) run(ctx context.Context) error {
	place, err := findPlace(i.path, i.force)
	if err != nil {
		return err
	}
	if err := i.ask(ctx); err != nil {
		return err
	}
	text := advice.File(i.answers, i.settings())
	if err := place.write(ctx, []byte(text), i.accept); err != nil {
		return err
	}
	i.explain()
	return nil
}

// settings are the lines of the file: the advice's, and what was given besides.
func (i *initiation) settings() []advice.Setting {
	all := advice.Settings(i.answers, i.given)
	for _, k := range config.Keys() {
		text, given := i.given[k.Name]
		known := slices.ContainsFunc(all, func(s advice.Setting) bool { return s.Name == k.Name })
		if !given || known {
			continue
		}
		values := []string{text}
		if k.List() {
			values = strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
		}
		all = append(all, advice.Setting{Section: "As you said", Name: k.Name, Values: values, List: k.List(), Why: k.Manual})
	}
	return all
}

// accept reads the file as coatcheck serve will. A mistake in what was given as a flag
// is told once, of the flag.
func (i *initiation) accept(path string) error {
	_, err := config.Load(config.Options{Path: path, Environ: i.environ, Flags: i.given})
	var mistakes config.Mistakes
	if !errors.As(err, &mistakes) {
		return err
	}
	flagged := map[string]bool{}
	for _, m := range mistakes {
		flagged[m.Name] = flagged[m.Name] || strings.HasPrefix(m.Where, "--")
	}
	mistakes = slices.DeleteFunc(mistakes, func(m config.Mistake) bool {
		return flagged[m.Name] && !strings.HasPrefix(m.Where, "--")
	})
	text := strings.ReplaceAll(mistakes.Error(), path, i.path)
	return fmt.Errorf("with this, Coatcheck would not start, so %s:\n%s", unwritten, text)
}

// ask asks for the answers that no flag has given.
func (i *initiation) ask(ctx context.Context) error {
	in := i.lines()
	for n, q := range advice.Questions() {
		if i.answers[q.Name] != "" {
			continue
		}
		i.prompt("Question %d of %d: %s\n%s\n", n+1, len(advice.Questions()), q.Text, q.Why)
		for _, o := range q.Options {
			i.prompt("  %-9s %s\n", o.Name, o.Means)
		}
		answer, err := i.answer(ctx, in, q)
		if err != nil {
			return err
		}
		i.answers[q.Name] = answer
		i.prompt("\n")
	}
	return nil
}

// patience is how many answers in a row may be none of a question's. Who types sees
// the choice each time; what is piped in may never come to an end.
const patience = 10

func (i *initiation) answer(ctx context.Context, in <-chan string, q advice.Question) (string, error) {
	for range patience {
		i.prompt("Answer %s [%s]: ", q.Choices(), q.Default())
		select {
		case <-ctx.Done():
			i.prompt("\n")
			return "", errors.New("stopped: " + unwritten)
		case text, more := <-in:
			if !more {
				i.prompt("\n")
				return "", errors.New("the input ended before the last question: " + unwritten + " (every answer can be a flag: see coatcheck init --help)")
			}
			if answer, ok := q.Answer(text); ok {
				i.echo(answer)
				return answer, nil
			}
			i.echo(text)
			i.prompt("That is none of them.\n")
		}
	}
	return "", fmt.Errorf("no answer to --%s was understood: %s", q.Name, unwritten)
}

// prompt writes to standard error, so that standard output holds the result alone.
func (i *initiation) prompt(format string, args ...any) {
	_, _ = fmt.Fprintf(i.err, format, args...)
}

// echo writes what was answered, where no terminal has shown it already.
func (i *initiation) echo(answer string) {
	if file, ok := i.in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return
	}
	i.prompt("%s\n", printable(answer))
}

// printable leaves out what would move a terminal's cursor.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text)
}

// lines reads the input beside the questions, so that Ctrl-C ends them at once. The
// channel is closed at the end of the input.
func (i *initiation) lines() <-chan string {
	lines := make(chan string)
	input := i.in
	if input == nil {
		input = strings.NewReader("")
	}
	go func() {
		defer close(lines)
		const most = 1 << 16 // for ten words
		r := bufio.NewReader(io.LimitReader(input, most))
		for {
			line, err := r.ReadString('\n')
			if err != nil && line == "" {
				return
			}
			lines <- strings.TrimRight(line, "\r\n")
		}
	}()
	return lines
}

// explain says what was chosen, what it costs, and what to do next.
func (i *initiation) explain() {
	i.say("Wrote %s. In it every line says why it is there.\n", i.path)
	i.say("What was chosen:\n")
	for _, h := range advice.Holdings(i.answers) {
		i.say("  %s: %s", h.Client, h.Kind)
		i.paragraph(h.How)
		i.paragraph("Why: " + h.Why)
		i.paragraph("What it costs: " + h.Costs)
		i.say("")
	}
	i.say("  how soon an end is felt")
	i.paragraph(advice.Ends(i.answers))
	i.say("\n  where it runs")
	i.paragraph(advice.Place(i.answers))
	i.say("\nThe figures are measured: %s says how, and on what. Why this and\nnothing else is in docs/choosing.md.\n", advice.FiguresPage)
	flag := ""
	if i.path != config.DefaultPath {
		flag = " --config " + i.path
	}
	i.say("Next:\n\n  coatcheck serve%s\n", flag)
	if open := advice.Undecided(i.answers, i.settings(), i.given); len(open) > 0 {
		i.say("Before others use it, say in the file what only you can know: %s.", strings.Join(open, ", "))
	}
	i.say("coatcheck doctor%s says whether it fits what is really there.", flag)
}

// paragraph prints text in lines of a terminal's width, indented.
func (i *initiation) paragraph(text string) {
	const width = 84
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			i.say("    %s", line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	i.say("    %s", line)
}
