package daemon

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"testing"
	"time"
)

func wantOf(t *testing.T, r *Redis, answer string, command ...string) {
	t.Helper()
	if got, err := r.Do(command...); err != nil || got != answer {
		t.Errorf("%q: %q, %v, want %q", command, got, err, answer)
	}
}

// It starts empty whenever it starts, asks for its password, and is gone when closed.
func TestRedisComesAndGoes(t *testing.T) {
	r, err := StartRedis(RedisOptions{TCP: true, Password: "pass/word", Settings: map[string]string{"maxclients": "50"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }() // a second time, where all went well
	wantOf(t, r, "OK", "SET", "a", "one\r\ntwo")
	wantOf(t, r, "one\r\ntwo", "GET", "a")
	wantOf(t, r, "maxclients\n50", "CONFIG", "GET", "maxclients")
	wantOf(t, r, "", "GET", "b")
	if _, err := r.Do("LPUSH", "a", "x"); err == nil {
		t.Error("an answer that is an error is none")
	}
	conn, err := net.Dial("tcp", r.Address())
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	open := *r
	open.password = ""
	if _, err := open.Do("GET", "a"); err == nil {
		t.Error("it lets in who has no password")
	}
	if err := r.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Do("PING"); err == nil {
		t.Error("it answers after its end")
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	wantOf(t, r, "0", "EXISTS", "a")
	if want := "unix://:pass%2Fword@" + r.Socket(); r.URL() != want {
		t.Errorf("it is at %s, want %s", r.URL(), want)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(r.keeper.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its folder is left: %v", err)
	}
}

// A frozen server takes connections and answers nothing, until it is thawed.
func TestRedisFreezes(t *testing.T) {
	r, err := StartRedis(RedisOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }() // frozen or not
	if err := r.Freeze(); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := r.Do("PING")
		answered <- err
	}()
	conn, err := net.Dial("unix", r.Socket())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("frozen, it answered %d bytes, %v", n, err)
	}
	if err := r.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}
