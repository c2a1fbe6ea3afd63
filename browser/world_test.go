package browser

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// A world is all that the scenarios meet. Its members are what they are told.
type world struct {
	Main    *server `json:"main"`    // sends mail, and demands that addresses are proven
	Invite  *server `json:"invite"`  // as Main, but only who is invited may sign up; with a brand of its own
	Plain   *server `json:"plain"`   // without any mail server
	Post    string  `json:"post"`    // where the mails can be read
	Evil    string  `json:"evil"`    // a stranger's site, another one than ours
	Sibling string  `json:"sibling"` // a stranger's origin on our own site: only the port differs
	Friend  string  `json:"friend"`  // an origin that Main lets return_to lead to

	Strangers string `json:"strangers"` // HOST:PORT that every name but localhost leads to
	Chromium  string `json:"chromium"`
	Shots     string `json:"shots"` // the folder for pictures; empty: none

	driver *driver
}

func newWorld(dir, binary string) (*world, error) {
	post, err := openPostOffice()
	if err != nil {
		return nil, err
	}
	postAddress, err := listen(post)
	if err != nil {
		return nil, err
	}
	stranger, err := listen(http.HandlerFunc(strange))
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(stranger)
	w := &world{
		Post: "http://" + postAddress, Evil: "http://evil.example", Sibling: "http://localhost:" + port, Friend: "https://friend.example",
		Strangers: stranger, Chromium: chromium,
	}
	if *shots {
		if w.Shots, err = filepath.Abs("shots"); err != nil {
			return nil, err
		}
	}
	mailed := func(more ...string) map[string]string {
		settings := map[string]string{
			"mail.host": post.host, "mail.port": post.port, "mail.tls": "none", "mail.from": "Coatcheck <no-reply@localhost.example>",
			"verify_email": "required", "return_to.origins": w.Friend,
			"proxies": "127.0.0.0/8", // so that every visitor can come from an address of their own
		}
		for i := 0; i < len(more); i += 2 {
			settings[more[i]] = more[i+1]
		}
		return settings
	}
	logo, err := filepath.Abs(filepath.Join("testdata", "logo.svg"))
	if err != nil {
		return nil, err
	}
	var failed [3]error
	w.Main, failed[0] = startServer(binary, filepath.Join(dir, "main"), mailed())
	w.Invite, failed[1] = startServer(binary, filepath.Join(dir, "invite"), mailed(
		"sign_up", "invite", "brand.name", "Håkansson & Söhne", "brand.color", "#ffcc00", "brand.logo", logo,
		"brand.privacy", "https://friend.example/privacy", "brand.terms", "https://friend.example/terms", "brand.help", "mailto:help@friend.example",
	))
	w.Plain, failed[2] = startServer(binary, filepath.Join(dir, "plain"), map[string]string{"verify_email": "optional"})
	if err := errors.Join(failed[:]...); err != nil {
		return nil, err
	}
	w.driver, err = startDriver(w)
	return w, err
}

// listen serves on a free port of the loopback interface and returns its address.
func listen(h http.Handler) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := &http.Server{Handler: h}  // #nosec G112 -- the only client is our browser
	go func() { _ = s.Serve(l) }() // ends when it is closed
	endings = append(endings, func() { _ = s.Close() })
	return l.Addr().String(), nil
}

// strange is every site that is not ours. What its page holds, the scenario says.
func strange(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, "<!doctype html><html lang=en><title>A stranger's page</title><body>"+r.FormValue("page"))
}

// A driver is the Node process that moves the browser. It is told a scenario a line
// and answers with a line when it is over; many go on at the same time.
type driver struct {
	in    io.WriteCloser
	next  atomic.Int64
	mu    sync.Mutex
	waits map[int64]chan outcome
	ended chan struct{} // closed once the process is over
	log   logFile
}

// An outcome is the driver's line.
type outcome struct {
	ID      int64  `json:"id"`
	Failure string `json:"failure"` // empty: all is well
}

// startDriver starts Node with the world as its first line.
func startDriver(w *world) (*driver, error) {
	cmd := exec.Command("node", "driver.mjs")
	d := &driver{waits: map[int64]chan outcome{}, ended: make(chan struct{})}
	cmd.Stderr = &d.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	d.in = in
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start Node: %w", err)
	}
	go func() {
		d.read(out)
		_ = cmd.Wait() // how it ended is in its log
		close(d.ended)
	}()
	endings = append(endings, func() {
		_ = d.in.Close() // it closes the browser and ends
		<-d.ended
	})
	return d, d.write(w)
}

func (d *driver) write(line any) error {
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err = d.in.Write(append(text, '\n'))
	return err
}

// read hands out the outcomes.
func (d *driver) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var o outcome
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			o.Failure = fmt.Sprintf("%v: %s", err, lines.Text())
		}
		d.mu.Lock()
		wait := d.waits[o.ID]
		delete(d.waits, o.ID)
		d.mu.Unlock()
		if wait != nil {
			wait <- o
		}
	}
}

// play has a scenario played, and fails the test with what went wrong in it.
func (w *world) play(t *testing.T, scenario string, arguments ...any) {
	t.Helper()
	id := w.driver.next.Add(1)
	wait := make(chan outcome, 1)
	w.driver.mu.Lock()
	w.driver.waits[id] = wait
	w.driver.mu.Unlock()
	if err := w.driver.write(map[string]any{"id": id, "scenario": scenario, "arguments": arguments}); err != nil {
		t.Fatalf("%v\n%s", err, w.driver.log.text())
	}
	select {
	case o := <-wait:
		if o.Failure != "" {
			t.Errorf("%s\nWhat the server complains of: %s", o.Failure, w.Main.log.complaints())
		}
	case <-w.driver.ended:
		t.Fatalf("Node ended\n%s", w.driver.log.text())
	}
}
