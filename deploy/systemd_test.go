package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/coatcheck/coatcheck/internal/config"
)

// systemd itself reads the unit, with its drop-in, and has nothing to say against it;
// and it finds that the service can do little.
func TestUnitIsGood(t *testing.T) {
	dir := t.TempDir()
	unit, err := os.ReadFile("systemd/coatcheck.service")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(unit), "/usr/local/bin/coatcheck", binary(t))
	extra, err := os.ReadFile("systemd/postgresql.conf")
	if err != nil {
		t.Fatal(err)
	}
	file, dropIn := filepath.Join(dir, "coatcheck.service"), filepath.Join(dir, "coatcheck.service.d")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dropIn, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dropIn, "postgresql.conf"), extra, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := analyze(t, "verify", "--man=no", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	out, err := analyze(t, "security", "--offline=true", "--threshold=20", "--no-pager", file).CombinedOutput()
	if err != nil { // an exposure of 2.0 of 10
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

func analyze(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Fatal(`systemd-analyze is missing: "make test" installs it`)
	}
	return exec.Command(program, args...)
}

// The unit starts the program as it is started, gives it the time to stop in order and
// memory for what GOMEMLIMIT lets it take, and the drop-in sets what there is to set.
func TestUnitFitsTheProgram(t *testing.T) {
	unit := directives(t, "systemd/coatcheck.service")
	if want := "/usr/local/bin/coatcheck serve --config /etc/coatcheck/coatcheck.toml"; unit["ExecStart"][0] != want {
		t.Errorf("ExecStart=%s, want %s", unit["ExecStart"], want)
	}
	if seconds, err := strconv.Atoi(strings.TrimSuffix(unit["TimeoutStopSec"][0], "s")); err != nil || seconds < 15 {
		t.Errorf("TimeoutStopSec=%s: the server takes ten at most", unit["TimeoutStopSec"])
	}
	if unit["User"][0] == "root" || unit["WorkingDirectory"][0] != "/var/lib/"+unit["StateDirectory"][0] {
		t.Errorf("it runs as %s in %s, and may write to %s", unit["User"], unit["WorkingDirectory"], unit["StateDirectory"])
	}
	var environ []string
	for _, assignment := range directives(t, "systemd/postgresql.conf")["Environment"] {
		name, file, _ := strings.Cut(assignment, "=")
		key, found := strings.CutPrefix(file, "%d/")
		given := filepath.Join(t.TempDir(), key)
		text := map[string]string{"secret": newSecret(), "database": "postgres://coatcheck:PASSWORD@db.example.com/coatcheck"}[key]
		if !found || text == "" {
			t.Fatalf("%s is no credential of the drop-in", assignment)
		}
		if err := os.WriteFile(given, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		environ = append(environ, name+"="+given)
	}
	loaded, err := config.Load(config.Options{Path: os.DevNull, Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(loaded.Database, "postgres://") || len(loaded.Secret) == 0 {
		t.Errorf("the database is %s, and the secret has %d bytes", loaded.Database, len(loaded.Secret))
	}
}

// directives returns what a unit sets, by name.
func directives(t *testing.T, file string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), "="); found && !strings.HasPrefix(line, "#") {
			all[name] = append(all[name], value)
		}
	}
	return all
}

var systemCall = regexp.MustCompile(`(?m)^(?:\[pid +\d+\] |\d+ +)?(\w+)\(`)

// Every system call that the server makes, while it starts, hashes a password, answers
// and stops, and that a command makes beside it, is one that the unit lets through.
func TestUnitLetsTheProgramWork(t *testing.T) {
	allowed := map[string]bool{}
	for _, filter := range directives(t, "systemd/coatcheck.service")["SystemCallFilter"] {
		names, denied := strings.CutPrefix(filter, "~")
		for _, set := range strings.Fields(names) {
			for _, call := range callsOf(t, set) {
				allowed[call] = !denied
			}
		}
	}
	dir, err := os.MkdirTemp("", "coatcheck-unit-") // not t.TempDir, which only its owner may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	address, trace := freeAddress(t), filepath.Join(dir, "trace")
	c := &container{binary: "/usr/bin/strace", dir: dir, env: []string{"COATCHECK_LISTEN=" + address, "COATCHECK_PUBLIC_URL=http://" + address}, attr: &syscall.SysProcAttr{}}
	if os.Getuid() == 0 { // as the unit does, not as root
		c.attr.Credential = &syscall.Credential{Uid: inImage, Gid: inImage}
		if err := os.Chown(dir, inImage, inImage); err != nil {
			t.Fatal(err)
		}
	}
	stop := c.start(t, "-D", "-f", "-o", trace, binary(t), "serve")
	eventually(t, "the server is ready", func() bool { return statusOf("http://"+address+"/readyz") == 200 })
	beside := &container{binary: binary(t), dir: dir, env: c.env, attr: c.attr}
	add := beside.command("user", "add", "--email", "ada@example.com", "--password-stdin")
	add.Stdin = strings.NewReader(password + "\n")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if status := signIn(t, "http://"+address); status != 200 {
		t.Fatalf("sign-in: %d", status)
	}
	stop()
	var text string
	eventually(t, "the trace is whole", func() bool {
		read, err := os.ReadFile(trace)
		text = string(read)
		return err == nil && strings.Contains(text, "exit_group(")
	})
	seen := map[string]bool{}
	for _, m := range systemCall.FindAllStringSubmatch(text, -1) {
		if name := m[1]; !seen[name] && !allowed[name] {
			t.Errorf("the unit forbids %s", name)
		}
		seen[m[1]] = true
	}
	for _, name := range []string{"execve", "setpriority", "fsync", "accept4"} { // else nothing was traced
		if !seen[name] && !seen[strings.Replace(name, "fsync", "fdatasync", 1)] {
			t.Errorf("no %s was seen", name)
		}
	}
}

// callsOf returns the system calls of a set of systemd's, with the sets within it.
func callsOf(t *testing.T, set string) []string {
	t.Helper()
	if !strings.HasPrefix(set, "@") {
		return []string{set}
	}
	out, err := analyze(t, "syscall-filter", set).Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(out)) {
		name := strings.TrimSpace(line)
		if name == "" || name == set || strings.HasPrefix(name, "#") {
			continue
		}
		all = append(all, callsOf(t, name)...)
	}
	return all
}
