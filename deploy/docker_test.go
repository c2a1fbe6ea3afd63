// Package deploy_test holds the recipes of this folder to what the program does: their
// flags, paths, ports, names and headers. What can run here runs here.
package deploy_test

import (
	"bytes"
	"debug/elf"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/config"
)

// inImage is the account of the image.
const inImage = 65532

// build follows the Dockerfile: it copies what the image's build sees, and runs the
// very line that builds the program there. The result is for all tests of this package.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "coatcheck-deploy-")
	if err != nil {
		return "", err
	}
	built = dir
	source := filepath.Join(dir, "src")
	if err := copyContext(source); err != nil {
		return "", err
	}
	text, err := os.ReadFile("docker/Dockerfile")
	if err != nil {
		return "", err
	}
	line := regexp.MustCompile(`(?m)^RUN (.*go build .*)$`).FindSubmatch(text)[1]
	binary := filepath.Join(dir, "coatcheck")
	cmd := exec.Command("sh", "-ec", strings.Replace(string(line), "-o /coatcheck", "-o "+binary, 1))
	cmd.Dir, cmd.Stderr = source, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", err
	}
	return binary, os.Chmod(dir, 0o755) // #nosec G302 -- other accounts run it
})

var built string

func TestMain(m *testing.M) {
	status := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(status)
}

func binary(t *testing.T) string {
	t.Helper()
	file, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// copyContext copies what the Dockerfile's ignore file lets the build see.
func copyContext(to string) error {
	text, err := os.ReadFile("docker/Dockerfile.dockerignore")
	if err != nil {
		return err
	}
	return filepath.WalkDir("..", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(filepath.ToSlash(file), "../")
		switch {
		case entry.IsDir() && (name == ".git" || name == ".build" || entry.Name() == "node_modules"):
			return fs.SkipDir
		case entry.IsDir() || ignored(string(text), name):
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), text, 0o600)
	})
}

// ignored reports whether the last pattern that a name or a folder above it matches
// leaves it out, as Docker reads them.
func ignored(patterns, name string) bool {
	out := false
	for line := range strings.Lines(patterns) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		pattern, again := strings.CutPrefix(line, "!")
		deep, anywhere := strings.CutPrefix(pattern, "**/")
		parts := strings.Split(name, "/")
		for i := range parts {
			whole := strings.Join(parts[:i+1], "/")
			match, _ := path.Match(pattern, whole)
			if last, _ := path.Match(deep, parts[i]); match || anywhere && last {
				out = !again
			}
		}
	}
	return out
}

// dockerfile returns what stands behind each instruction, the last stage's alone.
func dockerfile(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("docker/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		word, rest, found := strings.Cut(strings.TrimSpace(line), " ")
		if !found || strings.HasPrefix(line, "#") {
			continue
		}
		if word == "FROM" {
			all = map[string][]string{}
		}
		all[word] = append(all[word], rest)
	}
	return all
}

// The build is sent what it needs, and nothing that somebody keeps beside it.
func TestBuildSeesNoSecret(t *testing.T) {
	text, err := os.ReadFile("docker/Dockerfile.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"coatcheck.db": true, "coatcheck.secret": true, ".env": true, ".git/config": true, "coatcheck.toml": true,
		"cmd/coatcheck/coatcheck.secret": true, "cmd/coatcheck/coatcheck.db-wal": true, "server/.env": true, "internal/web/testdata/flows/pages.txt": true,
		"go.mod": false, "coatcheck.go": false, "cmd/coatcheck/main.go": false, "internal/web/static/style.css": false,
	} {
		if ignored(string(text), name) != want {
			t.Errorf("%s is sent: %v", name, want)
		}
	}
}

// What the image holds needs nothing from it: no library, no interpreter, no shell.
func TestImageIsStatic(t *testing.T) {
	f, err := elf.Open(binary(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the program has a segment %s", p.Type)
		}
	}
	if libraries, _ := f.ImportedLibraries(); len(libraries) > 0 {
		t.Errorf("the program wants %v", libraries)
	}
	if from := dockerfile(t)["FROM"]; !slices.Equal(from, []string{"scratch"}) {
		t.Errorf("the image is made from %v", from)
	}
}

// The image's account, folder, port and health check are what the program goes by.
func TestImageFitsTheProgram(t *testing.T) {
	d := dockerfile(t)
	if want := []string{"65532:65532"}; !slices.Equal(d["USER"], want) {
		t.Errorf("USER %v, want %v: not root, and a number, so that it can be told", d["USER"], want)
	}
	if want := []string{`["/coatcheck"]`}; !slices.Equal(d["ENTRYPOINT"], want) {
		t.Errorf("ENTRYPOINT %v, want %v", d["ENTRYPOINT"], want)
	}
	if d["WORKDIR"][0] != d["VOLUME"][0] {
		t.Errorf("SQLite's file is in %s, and kept is %s", d["WORKDIR"], d["VOLUME"])
	}
	loaded, err := config.Load(config.Options{Path: os.DevNull, Environ: d["ENV"]})
	if err != nil {
		t.Fatal(err)
	}
	if _, port, _ := net.SplitHostPort(loaded.Listen); port != d["EXPOSE"][0] {
		t.Errorf("it listens on %s, and %s is exposed", loaded.Listen, d["EXPOSE"])
	}
	if !strings.HasSuffix(d["HEALTHCHECK"][0], ` CMD ["/coatcheck", "doctor", "--ready"]`) {
		t.Errorf("HEALTHCHECK %s", d["HEALTHCHECK"])
	}
	for _, file := range []string{"docker/Dockerfile", "docker/compose.yaml", "kubernetes/deployment.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`coatcheck:(\d[\w.]*)`).FindAllSubmatch(text, -1) {
			if string(m[1]) != app.Version {
				t.Errorf("%s names version %s, and this is %s", file, m[1], app.Version)
			}
		}
	}
}

// The program serves in a root folder in which there is nothing but it and its own
// folder, as an account that is not root and has no name; its health check says so, and
// SIGTERM ends it in peace. Where the tests do not run as root, neither does it, and the
// root folder is the machine's.
func TestImageServes(t *testing.T) {
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(binary(t))
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(root, "data")
	if err := os.WriteFile(filepath.Join(root, "coatcheck"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	in := &container{binary: filepath.Join(root, "coatcheck"), dir: data, env: []string{"COATCHECK_LISTEN=" + freeAddress(t)}}
	if os.Getuid() == 0 {
		if err := os.Chown(data, inImage, inImage); err != nil {
			t.Fatal(err)
		}
		in.binary, in.dir = "/coatcheck", "/data"
		in.attr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: inImage, Gid: inImage}}
	}
	stop := in.start(t, "serve")
	var said string
	eventually(t, "the health check says yes", func() bool {
		out, err := in.command("doctor", "--ready").CombinedOutput()
		said = string(out)
		return err == nil
	}, &said)
	if !strings.Contains(said, "may be sent requests") {
		t.Errorf("the health check says %s", said)
	}
	for _, name := range []string{"coatcheck.db", "coatcheck.secret"} {
		info, err := os.Stat(filepath.Join(data, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
			continue
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; os.Getuid() == 0 && owner != inImage {
			t.Errorf("%s is %d's", name, owner)
		}
	}
	if out, err := in.command("user", "list", "--json").CombinedOutput(); err != nil || string(bytes.TrimSpace(out)) != "[]" {
		t.Errorf("a command beside it: %v %s", err, out)
	}
	stop()
	if out, err := in.command("doctor", "--ready").CombinedOutput(); err == nil {
		t.Errorf("the health check of what has stopped says yes: %s", out)
	}
}
