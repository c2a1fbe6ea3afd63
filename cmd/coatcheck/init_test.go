package main

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/internal/advice"
	"github.com/coatcheck/coatcheck/internal/config"
)

// initialise runs coatcheck init in the current folder.
func initialise(t *testing.T, in io.Reader, args ...string) (status int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	status = run(t.Context(), append([]string{"init"}, args...), nil, in, &o, &e)
	return status, o.String(), e.String()
}

// Whatever is answered, on this machine and in public, the real loader accepts the
// file, and it says what it was asked to.
func TestEveryFileIsAccepted(t *testing.T) {
	for _, situation := range []struct {
		name  string
		flags []string
		want  map[string]string
	}{
		{"here", nil, map[string]string{"public_url": "http://localhost:8080"}},
		{"another port", []string{"--public-url", "http://localhost:9000"}, map[string]string{"listen": "localhost:9000"}},
		{"in public", []string{"--public-url", "https://auth.example.com"}, map[string]string{"verify_email": "optional"}},
		{
			"in public with mail",
			[]string{"--public-url", "https://auth.example.com", "--mail-host", "smtp.example.com"},
			map[string]string{"verify_email": "required", "mail.from": "no-reply@example.com"},
		},
		{
			"in public with a cookie for the domain",
			[]string{"--public-url", "https://auth.example.com", "--cookie-domain", "example.com", "--password-words", "shop,example"},
			map[string]string{"cookie.domain": "example.com", "password.words": "shop, example"},
		},
	} {
		t.Run(situation.name, func(t *testing.T) {
			for _, a := range advice.All() {
				t.Chdir(t.TempDir())
				status, out, errs := initialise(t, nil, append(strings.Fields(a.String()), situation.flags...)...)
				if status != exitOK {
					t.Fatalf("%s: status %d, %s", a, status, errs)
				}
				loaded, err := config.Load(config.Options{Path: config.DefaultPath})
				if err != nil {
					t.Fatalf("%s: %v", a, err)
				}
				for _, s := range loaded.Table() {
					if want, asked := situation.want[s.Name]; asked && s.Value != want {
						t.Errorf("%s: %s is %s, want %s", a, s.Name, s.Value, want)
					}
				}
				for _, h := range advice.Holdings(a) {
					if !strings.Contains(out, h.Client+": "+h.Kind) {
						t.Errorf("%s: nothing is said of the %s:\n%s", a, h.Client, out)
					}
				}
			}
		})
	}
}

// What stands in the file for later is accepted too, when its time comes.
func TestWhatIsOffCanBeTurnedOn(t *testing.T) {
	off := regexp.MustCompile(`(?m)^#([a-z])`)
	for _, a := range advice.All() {
		t.Chdir(t.TempDir())
		status, _, errs := initialise(t, nil, append(strings.Fields(a.String()), "--public-url", "https://auth.example.com")...)
		if status != exitOK {
			t.Fatalf("%s: %s", a, errs)
		}
		text, err := os.ReadFile(config.DefaultPath)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"secret", "mail"} {
			if err := os.WriteFile(name, []byte("P2wdCpvoR1Jj0cD-invVJA4db3O4opxUR_Dh0sO0pZY\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		on := off.ReplaceAllString(string(text), "$1")
		on = strings.NewReplacer("/run/secrets/coatcheck-mail", "mail", "/run/secrets/coatcheck", "secret", "/etc/coatcheck/secret", "secret").Replace(on)
		if err := os.WriteFile("on.toml", []byte(on), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(config.Options{Path: "on.toml"}); err != nil {
			t.Fatalf("%s: %v", a, err)
		}
	}
}

// A server starts with the file as it was written.
func TestServeWithWhatInitWrote(t *testing.T) {
	for _, a := range []advice.Answers{advice.All()[0], advice.All()[len(advice.All())-1]} {
		t.Chdir(t.TempDir())
		if status, _, errs := initialise(t, nil, strings.Fields(a.String())...); status != exitOK {
			t.Fatal(errs)
		}
		out, _, stop := serving(t)
		out.show(t, `is at http://localhost:8080`)
		out.show(t, `Stop with Ctrl-C`)
		if status := stop(); status != exitOK {
			t.Errorf("%s: status %d", a, status)
		}
	}
}

// The questions are asked on standard error, each with its reason, and again upon an
// answer that is none. Standard output holds the result alone.
func TestQuestions(t *testing.T) {
	t.Chdir(t.TempDir())
	status, out, errs := initialise(t, strings.NewReader("two\nSEVERAL\r\n\nbo\nn\n\n"))
	if status != exitOK {
		t.Fatal(errs)
	}
	for i, q := range advice.Questions() {
		if !strings.Contains(errs, "Question "+string(rune('1'+i))+" of 5: "+q.Text+"\n"+q.Why+"\n") {
			t.Errorf("it is not asked, or not why: %s", q.Text)
		}
	}
	if strings.Count(errs, "That is none of them.") != 1 || strings.Contains(out, "Question") {
		t.Errorf("%s\n%s", errs, out)
	}
	text, err := os.ReadFile(config.DefaultPath)
	if err != nil || !strings.Contains(string(text), "--services several --domains one --clients both --instant no --machines one") {
		t.Errorf("%v\n%s", err, text)
	}
	info, err := os.Stat(config.DefaultPath)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("V-104: the mode of what may hold a password is %v, %v", info, err)
	}
}

// An input that ends, never answers or is interrupted leaves nothing behind.
func TestNothingIsHalfWritten(t *testing.T) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	silent, _ := io.Pipe()
	for name, c := range map[string]struct {
		ctx  context.Context
		in   io.Reader
		args []string
		want string
	}{
		"no input":              {context.Background(), nil, nil, "the input ended"},
		"half of the answers":   {context.Background(), strings.NewReader("one\none\n"), nil, "the input ended"},
		"an answer cut off":     {context.Background(), strings.NewReader("one\none\nbr\nyes\nm"), []string{"--session-idle", "soon"}, "--session-idle"},
		"never an answer":       {context.Background(), strings.NewReader(strings.Repeat("what?\n", 1000)), nil, "no answer to --services"},
		"interrupted":           {over, silent, nil, "stopped"},
		"interrupted at last":   {over, nil, strings.Fields(advice.All()[0].String()), "stopped"},
		"a setting is wrong":    {context.Background(), nil, append(strings.Fields(advice.All()[0].String()), "--token-access", "soon"), "--token-access: token.access"},
		"a password in a flag":  {context.Background(), nil, append(strings.Fields(advice.All()[0].String()), "--database", "postgres://ada:hunter2@localhost/auth"), "never part of a flag"},
		"PostgreSQL, no secret": {context.Background(), nil, append(strings.Fields(advice.All()[0].String()), "--database", "postgres://ada@localhost/auth"), "PostgreSQL needs it"},
		"a folder is missing":   {context.Background(), nil, []string{"--output", filepath.Join("nowhere", "a.toml")}, "there is no folder nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			var out, errs bytes.Buffer
			status := run(c.ctx, append([]string{"init"}, c.args...), nil, c.in, &out, &errs)
			if status != exitFailed || !strings.Contains(errs.String(), c.want) || !strings.Contains(errs.String(), unwritten) {
				t.Errorf("status %d: %s", status, &errs)
			}
			if strings.Contains(errs.String(), "hunter2") || strings.Contains(errs.String(), ".coatcheck-") {
				t.Errorf("it says too much: %s", &errs)
			}
			if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
				t.Errorf("there is something left: %v, %v", left, err)
			}
		})
	}
}

// No file is replaced that nobody has given away; who does, keeps its mode, and a
// link goes on to lead where it led.
func TestNoFileIsReplacedUnasked(t *testing.T) {
	t.Chdir(t.TempDir())
	answers := strings.Fields(advice.All()[0].String())
	if err := os.WriteFile("real.toml", []byte("# mine\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real.toml", config.DefaultPath); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", "dangling.toml"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("folder", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{}, {"--output", "real.toml"}, {"--output", "dangling.toml"}, {"--output", "folder"}, {"--output", "folder", "--force"}, {"--output", "dangling.toml", "--force"}} {
		status, _, errs := initialise(t, nil, append(args, answers...)...)
		if status != exitFailed || !strings.Contains(errs, unwritten) || strings.Contains(errs, "Question") {
			t.Errorf("%v: status %d, %s", args, status, errs)
		}
	}
	if text, err := os.ReadFile("real.toml"); err != nil || string(text) != "# mine\n" {
		t.Fatalf("it was replaced: %v\n%s", err, text)
	}
	if status, _, errs := initialise(t, nil, append([]string{"--force"}, answers...)...); status != exitOK {
		t.Fatal(errs)
	}
	link, err := os.Lstat(config.DefaultPath)
	if err != nil || link.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is none any more: %v, %v", link, err)
	}
	info, err := os.Stat("real.toml")
	if err != nil || info.Mode().Perm() != 0o640 || info.Size() < 1000 {
		t.Errorf("the file behind the link: %v, %v", info, err)
	}

	// A file that comes while the questions are being answered is not replaced either.
	p, err := findPlace("late.toml", false)
	if err != nil {
		t.Fatal(err)
	}
	err = p.write(t.Context(), []byte("ours"), func(string) error { return os.WriteFile("late.toml", []byte("theirs"), 0o600) })
	if text, _ := os.ReadFile("late.toml"); err == nil || string(text) != "theirs" {
		t.Errorf("%v, and the file is %q", err, text)
	}
}
