package outbound

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// receiver is a server at this machine, and a client that the operator lets call it.
func receiver(t *testing.T, handle http.HandlerFunc) (*Client, string) {
	t.Helper()
	server := httptest.NewTLSServer(handle)
	t.Cleanup(server.Close)
	client := New(allowing(t, server))
	t.Cleanup(client.Close)
	return client, server.URL
}

func allowing(t *testing.T, server *httptest.Server) Config {
	t.Helper()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return Config{Allow: prefixes("127.0.0.0/8"), Ports: []uint16{uint16(port)}, Roots: roots, Agent: "coatcheck/test"}
}

// A call arrives as it was meant, and its answer comes back as it was given.
func TestDo(t *testing.T) {
	client, url := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "logout_token=x" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" ||
			r.Header.Get("User-Agent") != "coatcheck/test" || r.Header.Get("Accept-Encoding") != "" || len(r.Cookies()) > 0 {
			t.Errorf("%s %v: %q", r.Method, r.Header, body)
		}
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "taken")
	})
	answer, err := client.Do(t.Context(), Call{Method: "POST", URL: url + "/logout", Type: "application/x-www-form-urlencoded", Body: []byte("logout_token=x"), Room: 5})
	if err != nil || answer.Status != http.StatusAccepted || string(answer.Body) != "taken" || answer.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%+v, %v", answer, err)
	}
	if f := client.Figures(); f != (Figures{Called: 1}) {
		t.Errorf("%+v", f)
	}
}

// Redirects are answers, and nobody goes where they lead (V-102).
func TestV102RedirectsAreNotFollowed(t *testing.T) {
	var followed atomic.Bool
	for _, status := range []int{301, 302, 303, 307, 308} {
		client, url := receiver(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/" {
				followed.Store(true)
			}
			http.Redirect(w, r, "/elsewhere", status)
		})
		if answer, err := client.Do(t.Context(), Call{Method: "GET", URL: url, Room: 1000}); err != nil || answer.Status != status {
			t.Errorf("%d: %+v, %v", status, answer, err)
		}
	}
	if followed.Load() {
		t.Error("a redirect was followed")
	}
}

// An answer has the room that its call gives it, whatever its header says of its size,
// and an endless one that nobody wants is left (V-102).
func TestV102SizeIsBounded(t *testing.T) {
	block := []byte(strings.Repeat("x", 64<<10))
	client, url := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/header":
			w.Header().Set("X-Long", strings.Repeat("x", 2*mostHeader))
		case "/compressed":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, "not at all")
		default:
			for range 160 { // 10 MiB
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}
	})
	if answer, err := client.Do(t.Context(), Call{Method: "GET", URL: url, Room: 64 << 10}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("10 MiB in 64 KiB: %d bytes, %v", len(answer.Body), err)
	}
	if answer, err := client.Do(t.Context(), Call{Method: "POST", URL: url}); err != nil || answer.Status != 200 || answer.Body != nil {
		t.Errorf("10 MiB that nobody wants: %+v, %v", answer.Status, err)
	}
	if _, err := client.Do(t.Context(), Call{Method: "GET", URL: url + "/header", Room: 10}); err == nil {
		t.Error("a header of 32 KiB was taken")
	}
	if answer, err := client.Do(t.Context(), Call{Method: "GET", URL: url + "/compressed", Room: 10}); err != nil || string(answer.Body) != "not at all" {
		t.Errorf("what is said to be compressed: %q, %v", answer.Body, err)
	}
}

// A receiver that says nothing is left when its time is over, and so is one whose answer
// never ends (V-102).
func TestV102TimeIsBounded(t *testing.T) {
	released := make(chan struct{})
	arrived := make(chan struct{}, 2)
	client, url := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
		}
		arrived <- struct{}{}
		<-released
	})
	defer close(released)
	for _, path := range []string{"/silent", "/body"} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-arrived
			cancel()
		}()
		_, err := client.Do(ctx, Call{Method: "GET", URL: url + path + "?token=sesame", Room: 10})
		if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A name is looked up once for a connection, and what answered then is dialled: one that
// changes its mind in between leads nowhere else (V-102: DNS rebinding).
func TestV102RebindingLeadsNowhere(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	config := allowing(t, server)
	config.Allow = prefixes("127.0.0.1/32")
	var asked atomic.Int32
	config.Resolve = func(_ context.Context, name string) ([]netip.Addr, error) {
		if name != "example.com" { // which httptest's certificate names
			t.Errorf("%q was looked up", name)
		}
		if asked.Add(1) == 1 {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.2")}, nil
	}
	client := New(config)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	call := Call{Method: "GET", URL: "https://example.com:" + port + "/"}
	if _, err := client.Do(t.Context(), call); err != nil || asked.Load() != 1 {
		t.Errorf("the first call: %v, looked up %d times", err, asked.Load())
	}
	client.Close()
	var refused *Refused
	if _, err := client.Do(t.Context(), call); !errors.As(err, &refused) {
		t.Errorf("the second call: %v", err)
	}
}

// Nobody else's certificate will do, and an environment that names a proxy changes
// nothing (V-102).
func TestV102NoProxyAndNoOtherCertificate(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:9")
	client, url := receiver(t, func(http.ResponseWriter, *http.Request) {})
	if _, err := client.Do(t.Context(), Call{Method: "GET", URL: url}); err != nil {
		t.Errorf("beside a proxy: %v", err)
	}
	if client.transport.Proxy != nil {
		t.Error("the client asks for a proxy")
	}
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	config := allowing(t, server)
	config.Roots = x509.NewCertPool()
	if _, err := New(config).Do(t.Context(), Call{Method: "GET", URL: server.URL}); err == nil {
		t.Error("a certificate that nobody vouches for was taken")
	}
}

// A dead address does not use up the time of those after it.
func TestSeveralAddresses(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	config := allowing(t, server)
	config.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr("127.0.0.1")}, nil
	}
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	answer, err := New(config).Do(t.Context(), Call{Method: "GET", URL: "https://example.com:" + port + "/"})
	if err != nil || answer.Status != http.StatusNotFound {
		t.Errorf("%+v, %v", answer, err)
	}
}

// Where somebody develops, plain http reaches this machine.
func TestDevelopment(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	if answer, err := New(Config{Loopback: true}).Do(t.Context(), Call{Method: "GET", URL: server.URL}); err != nil || answer.Status != http.StatusNotFound {
		t.Errorf("%+v, %v", answer, err)
	}
	var refused *Refused
	if _, err := New(Config{}).Do(t.Context(), Call{Method: "GET", URL: server.URL}); !errors.As(err, &refused) {
		t.Errorf("elsewhere: %v", err)
	}
}
