package daemon

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/loopback"
)

// RedisOptions say how a Redis differs from one that listens on its socket alone and
// lets everybody in.
type RedisOptions struct {
	// TCP has it listen on a free port of 127.0.0.1 too.
	TCP bool
	// Password is asked of every connection; empty: none. It is visible ASCII.
	Password string
	// Settings are directives of redis.conf by their names, over all others.
	Settings map[string]string
}

// Redis is a running Redis. It keeps nothing on the disk: whenever it starts it is
// empty. It is safe for concurrent use.
type Redis struct {
	keeper   *keeper
	port     int
	password string
}

// keepRedis is $1 the folder, $2 the program, $3 its configuration.
const keepRedis = `
server=$2
umask 077
printf 'dir %s\nunixsocket %s/redis.sock\n%s' "$dir" "$dir" "$3" >"$dir/redis.conf"
trap 'kill -9 $pid; wait; rm -rf "$dir"' EXIT
start() {
	"$server" "$dir/redis.conf" >>"$dir/log" 2>&1 &
	pid=$!
	for i in $(seq 500); do
		redis-cli -s "$dir/redis.sock" ping && return 0
		kill -0 $pid || return 1
		sleep 0.02
	done
	return 1
}
end() {
	kill -9 $pid
	wait $pid
	rm -f "$dir/redis.sock"
}
attempt start
while read -r command; do
	case $command in
	start) attempt start ;;
	kill) attempt end ;;
	freeze) attempt kill -STOP $pid ;;
	thaw) attempt kill -CONT $pid ;;
	esac
done
`

// StartRedis starts Debian's Redis, and returns when it answers.
func StartRedis(o RedisOptions) (*Redis, error) {
	const server = "/usr/bin/redis-server"
	if _, err := os.Stat(server); err != nil {
		return nil, fmt.Errorf("start Redis: %w", err)
	}
	r := &Redis{password: o.Password}
	settings := map[string]string{"port": "0", "bind": "127.0.0.1", "save": `""`, "appendonly": "no", "unixsocketperm": "700"}
	if o.Password != "" {
		settings["requirepass"] = o.Password
	}
	if o.TCP {
		var err error
		if r.port, err = loopback.FreePort(); err != nil {
			return nil, err
		}
		settings["port"] = strconv.Itoa(r.port)
	}
	maps.Copy(settings, o.Settings)
	conf := ""
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		conf += name + " " + settings[name] + "\n"
	}
	var err error
	if r.keeper, err = keep("redis", "redis", keepRedis, server, conf); err != nil {
		return nil, fmt.Errorf("start Redis: %w", err)
	}
	return r, nil
}

// URL returns its address by the socket, with the password.
func (r *Redis) URL() string {
	return (&url.URL{Scheme: "unix", User: r.user(), Path: r.Socket()}).String()
}

// URLAt returns its address behind host:port, where something listens that passes
// connections on: this Redis's own TCP address, or a proxy.
func (r *Redis) URLAt(address string) string {
	return (&url.URL{Scheme: "redis", User: r.user(), Host: address}).String()
}

func (r *Redis) user() *url.Userinfo {
	if r.password == "" {
		return nil
	}
	return url.UserPassword("", r.password)
}

// Socket returns the path of the unix socket.
func (r *Redis) Socket() string { return filepath.Join(r.keeper.dir, "redis.sock") }

// Address returns host:port where it listens with TCP, else "".
func (r *Redis) Address() string {
	if r.port == 0 {
		return ""
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port))
}

// Kill ends the server as a crash would, and returns when it has ended. All that it
// held is lost.
func (r *Redis) Kill() error { return r.keeper.do("kill") }

// Start starts the server again, empty, at the same addresses, and returns when it
// answers.
func (r *Redis) Start() error { return r.keeper.do("start") }

// Freeze stops the server from doing anything; its connections stay open and new
// ones are taken by the kernel, but nothing is answered.
func (r *Redis) Freeze() error { return r.keeper.do("freeze") }

// Thaw lets a frozen server go on.
func (r *Redis) Thaw() error { return r.keeper.do("thaw") }

// Close ends the server and removes its folder. It may be called more than once.
func (r *Redis) Close() error { return r.keeper.close() }

// Do carries out a command by the socket and returns what it answers, within ten
// seconds: a text, a number, or the elements of a list on lines. An answer that is an
// error is an error.
func (r *Redis) Do(command ...string) (string, error) {
	conn, err := net.Dial("unix", r.Socket())
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // all has been read
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	answers := bufio.NewReader(conn)
	if r.password != "" {
		if _, err := askRedis(conn, answers, "AUTH", r.password); err != nil {
			return "", err
		}
	}
	return askRedis(conn, answers, command...)
}

func askRedis(conn io.Writer, answers *bufio.Reader, command ...string) (string, error) {
	text := fmt.Sprintf("*%d\r\n", len(command))
	for _, word := range command {
		text += fmt.Sprintf("$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	return readAnswer(answers)
}

// readAnswer reads one answer of version 2 of the protocol.
func readAnswer(from *bufio.Reader) (string, error) {
	line, err := from.ReadString('\n')
	line = strings.TrimSuffix(line, "\r\n")
	if err != nil || line == "" {
		return "", errors.Join(errors.New("no answer from Redis"), err)
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+', ':':
		return rest, nil
	case '-':
		return "", errors.New(rest)
	}
	n, err := strconv.Atoi(rest)
	if err != nil || (kind != '$' && kind != '*') {
		return "", fmt.Errorf("an answer of no known kind: %q", line)
	}
	if kind == '$' {
		body := make([]byte, max(0, n+len("\r\n"))) // a length of -1 is nothing at all
		if n < 0 {
			return "", nil
		}
		_, err := io.ReadFull(from, body)
		return string(body[:n]), err
	}
	lines := make([]string, max(0, n))
	for i := range lines {
		if lines[i], err = readAnswer(from); err != nil {
			return "", err
		}
	}
	return strings.Join(lines, "\n"), nil
}
