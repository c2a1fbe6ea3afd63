package drill

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A watched node tells what it takes of the machine, on a listener of its own.
type watchedNode struct {
	*node
	gauges string // address of the metrics
	roots  *x509.CertPool
}

// startWatched starts a node, over TLS if a host for its public URL is given: one
// that is not this machine makes it behave as behind a load balancer.
func startWatched(t *testing.T, host string, o nodeOptions) *watchedNode {
	t.Helper()
	w := &watchedNode{gauges: freeAddress(t)}
	settings := map[string]string{"metrics.listen": w.gauges, "log.level": "info"}
	for name, value := range o.Settings {
		settings[name] = value
	}
	o.Dir = t.TempDir()
	if host != "" {
		o.Scheme, o.Host = "https", host
		settings["tls.certificate"], settings["tls.key"] = filepath.Join(o.Dir, "cert.pem"), filepath.Join(o.Dir, "key.pem")
		w.roots = certify(t, host, settings["tls.certificate"], settings["tls.key"])
	}
	o.Settings = settings
	w.node = newNode(t, o)
	if host != "" {
		transport := w.http.Transport.(*http.Transport)
		transport.TLSClientConfig = w.tls("h2", "http/1.1")
		transport.ForceAttemptHTTP2 = true
		transport.DialContext = dialing(w.Address)
	}
	w.Restart(t)
	return w
}

func (w *watchedNode) tls(protocols ...string) *tls.Config {
	return &tls.Config{RootCAs: w.roots, ServerName: w.options.Host, NextProtos: protocols, MinVersion: tls.VersionTLS12}
}

// certify makes a certificate for a host, and returns who vouches for it.
func certify(t *testing.T, host, certFile, keyFile string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return roots
}

// A footprint is what a process takes.
type footprint struct{ goroutines, handles, memory float64 }

func (f footprint) String() string {
	return fmt.Sprintf("%g goroutines, %g handles, %.0f MiB", f.goroutines, f.handles, f.memory/(1<<20))
}

// footprint reads the node's own figures; none while it does not answer.
func (w *watchedNode) footprint() (footprint, error) {
	var f footprint
	response, err := http.Get("http://" + w.gauges + "/metrics")
	if err != nil {
		return f, err
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		into := map[string]*float64{
			"go_goroutines": &f.goroutines, "process_open_fds": &f.handles, "process_resident_memory_bytes": &f.memory,
		}[name]
		if into != nil {
			*into, _ = strconv.ParseFloat(value, 64)
		}
	}
	if f.goroutines == 0 || f.handles == 0 || f.memory == 0 {
		return f, errors.New("the metrics do not tell")
	}
	return f, nil
}

func (w *watchedNode) mustFootprint(t *testing.T) footprint {
	t.Helper()
	f, err := w.footprint()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// An honest crowd checks its session while others attack, each time on a new
// connection and on one that is kept. An SDK tries again when it is cut off; it
// gives up here after five times.
type honest struct {
	w       *watchedNode
	holder  *holder
	stop    context.CancelFunc
	done    sync.WaitGroup
	checks  [2]atomic.Int64 // on the connection that is kept, on new ones
	again   atomic.Int64
	longest atomic.Int64
	peak    footprint
}

func startHonest(t *testing.T, w *watchedNode, h *holder) *honest {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	g := &honest{w: w, holder: h, stop: cancel}
	t.Cleanup(func() { cancel(); g.done.Wait() })
	fresh := &client{URL: w.URL, http: &http.Client{Transport: w.http.Transport.(*http.Transport).Clone(), Timeout: 30 * time.Second}}
	fresh.http.Transport.(*http.Transport).DisableKeepAlives = true
	for i, c := range []*client{w.client, fresh} {
		g.done.Go(func() {
			for ctx.Err() == nil {
				g.check(ctx, t, c, &g.checks[i])
				elapse(ctx, 20*time.Millisecond)
			}
		})
	}
	g.done.Go(func() {
		for ctx.Err() == nil {
			if f, err := w.footprint(); err == nil {
				g.peak = footprint{max(g.peak.goroutines, f.goroutines), max(g.peak.handles, f.handles), max(g.peak.memory, f.memory)}
			}
			elapse(ctx, 100*time.Millisecond)
		}
	})
	return g
}

func (g *honest) check(ctx context.Context, t *testing.T, c *client, done *atomic.Int64) {
	began := time.Now()
	for try := range 5 {
		a := c.session(ctx, g.holder.as())
		switch {
		case ctx.Err() != nil:
			return
		case a.OK():
			done.Add(1)
			g.longest.Store(max(g.longest.Load(), int64(time.Since(began))))
			return
		case a.Err == nil:
			t.Errorf("I-8 an honest client is answered %v", a)
			return
		case try == 4:
			t.Errorf("I-8 an honest client does not get through: %v", a)
		}
		g.again.Add(1)
	}
}

// passes waits until honest checks that begin now come through.
func (g *honest) passes(t *testing.T, within time.Duration) {
	t.Helper()
	for i, what := range []string{"the connection that is kept", "a new connection"} {
		so := g.checks[i].Load()
		until(t, within, "an honest check on "+what, func() bool { return g.checks[i].Load() > so+1 })
	}
}

// leave ends the checks, and holds the node to its bounds: never more than peak,
// and what it was before once the attackers are gone. I-9
func (g *honest) leave(t *testing.T, base, limit footprint) {
	t.Helper()
	g.stop()
	g.done.Wait()
	r := newRecorder()
	r.Bound("handles", g.peak.handles, limit.handles)
	r.Bound("memory", g.peak.memory, limit.memory)
	r.Bound("goroutines", g.peak.goroutines, limit.goroutines)
	g.w.forget()
	until(t, 30*time.Second, fmt.Sprintf("I-9 back to %v", base), func() bool {
		f, err := g.w.footprint()
		return err == nil && f.goroutines <= base.goroutines+10 && f.handles <= base.handles+10
	})
	r.verify(t)
	if text := g.w.tail(); strings.Contains(text, "panic") || strings.Contains(text, `"level":"ERROR"`) {
		t.Errorf("attackers make it panic, or tell its operator of errors:\n%s", text)
	}
	t.Logf("%d honest checks, %d on another try, the longest took %v; at rest %v, at the most %v",
		g.checks[0].Load()+g.checks[1].Load(), g.again.Load(), time.Duration(g.longest.Load()).Round(time.Millisecond), base, g.peak)
}

// A way is one to keep a server waiting: what is sent at once, and then drop by
// drop. One over nothing goes to the socket itself, else to what is spoken on it.
type way struct {
	over       *tls.Config
	head, drop string
	deaf       bool
}

// slow are all ways that the node could be made to wait.
func (w *watchedNode) slow(t *testing.T, h *holder) map[string]way {
	t.Helper()
	host := strings.TrimPrefix(strings.TrimPrefix(w.URL, "https://"), "http://")
	head := "Host: " + host + "\r\n"
	if w.roots != nil {
		frames, body := firstFrames(t, host, h), "\x00\x00\x01\x00\x00\x00\x00\x00\x03 "
		return map[string]way{
			"silent":         {},
			"half a hello":   {head: string(hello(t, host)[:100])},
			"silent in TLS":  {over: w.tls("http/1.1")},
			"idle in HTTP/2": {over: w.tls("h2"), head: frames},
			"slow body":      {over: w.tls("h2"), head: frames, drop: body},
		}
	}
	return map[string]way{
		"silent":          {},
		"idle":            {head: "GET /healthz HTTP/1.1\r\n" + head + "\r\n"},
		"headers":         {head: "GET /healthz HTTP/1.1\r\n" + head + "X-Slow: ", drop: "x"},
		"body":            {head: "POST /v1/sign-in HTTP/1.1\r\n" + head + "Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n{\"email\":\"", drop: "x"},
		"chunks":          {head: "POST /v1/token/refresh HTTP/1.1\r\n" + head + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", drop: "1\r\n \r\n"},
		"does not read":   {head: strings.Repeat("GET /openapi.json HTTP/1.1\r\n"+head+"\r\n", 400), deaf: true},
		"the next header": {head: "GET /v1/session HTTP/1.1\r\n" + head + "Authorization: Bearer " + h.Access + "\r\n\r\nGET /", drop: "x"},
	}
}

// D-15: whoever holds connections open, in whatever way and however many, keeps no
// honest client out (I-8), and takes no more than there is room for (I-9).
func TestSlowAndIdleClients(t *testing.T) {
	for name, c := range map[string]struct {
		host              string
		handles, together int
	}{
		"http": {"", size(512, 16000), size(1000, 19000)},
		"tls":  {"auth.drill.example", size(128, 2000), size(250, 4000)},
	} {
		t.Run(name, func(t *testing.T) { besiege(t, c.host, c.handles, c.together) })
	}
}

func besiege(t *testing.T, host string, handles, together int) {
	w := startWatched(t, host, nodeOptions{Wrap: []string{"prlimit", fmt.Sprintf("--nofile=%d", handles)}})
	h := w.mustSignUp(t, "token")
	base := w.mustFootprint(t)
	g := startHonest(t, w, h)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var attackers sync.WaitGroup
	var held, most, came atomic.Int64
	ways := w.slow(t, h)
	for _, way := range ways {
		for range together/len(ways) + 1 {
			attackers.Go(func() {
				for ctx.Err() == nil {
					d := net.Dialer{}
					if conn, err := d.DialContext(ctx, "tcp", w.Address); err == nil {
						came.Add(1)
						most.Store(max(most.Load(), held.Add(1)))
						way.drip(ctx, conn)
						held.Add(-1)
					}
					elapse(ctx, 500*time.Millisecond)
				}
			})
		}
	}
	elapse(ctx, time.Duration(size(3000, 60000))*time.Millisecond)
	g.passes(t, time.Duration(size(8, 30))*time.Second) // well before the time limits on attackers would make room
	cancel()
	attackers.Wait()
	t.Logf("%d attackers held up to %d connections at once and opened %d, the server has %d handles",
		together, most.Load(), came.Load(), handles)
	if !strings.Contains(w.tail(), "no room for more connections") {
		t.Error("the server was never full: the drill shows nothing")
	}
	room, each := float64(handles), float64(64<<10)
	if host != "" {
		each = 512 << 10 // while hands are shaken
	}
	g.leave(t, base, footprint{goroutines: 200 + 4*room, handles: room, memory: 128<<20 + room*each})
}

// drip sends head and then drops, one a second, until the server closes the
// connection or ctx is done.
func (a way) drip(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if a.over != nil {
		conn = tls.Client(conn, a.over)
	}
	send := func(text string) error {
		if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		_, err := io.WriteString(conn, text)
		return err
	}
	if err := send(a.head); a.deaf {
		<-ctx.Done()
		return
	} else if err != nil {
		return
	}
	closed := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, conn)
		close(closed)
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if send(a.drop) != nil {
				return
			}
		case <-closed:
			return
		case <-ctx.Done():
			return
		}
	}
}

// D-15: a header that is too long, by its size or by its number of lines, is
// refused before it is all read.
func TestHugeHeaders(t *testing.T) {
	w := startWatched(t, "", nodeOptions{})
	for name, header := range map[string]string{
		"one line of 20 kB":   "X-Huge: " + strings.Repeat("x", 20<<10) + "\r\n",
		"one line of 16 MB":   "X-Huge: " + strings.Repeat("x", 16<<20) + "\r\n",
		"100,000 short lines": strings.Repeat("a: b\r\n", 100_000),
		"one name of 1 MB":    strings.Repeat("x", 1<<20) + ": y\r\n",
		"a line of 1 MB":      "Cookie: " + strings.Repeat("a=b; ", 200_000) + "\r\n",
	} {
		conn, err := net.Dial("tcp", w.Address)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		var writing sync.WaitGroup
		writing.Go(func() {
			_, _ = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: "+w.Address+"\r\n"+header+"\r\n") // cut short
		})
		first, err := bufio.NewReader(conn).ReadString('\n')
		if err == nil && !strings.HasPrefix(first, "HTTP/1.1 431 ") && !strings.HasPrefix(first, "HTTP/1.1 400 ") {
			t.Errorf("%s is answered %q", name, first)
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%s: the connection stays open", name)
		}
		_ = conn.Close() // ends the writing
		writing.Wait()
	}
	if f := w.mustFootprint(t); f.memory > 128<<20 {
		t.Errorf("I-9 it took %v", f)
	}
}
