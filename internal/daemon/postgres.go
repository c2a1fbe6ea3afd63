package daemon

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/coatcheck/coatcheck/internal/loopback"
)

// PostgresOptions say how a PostgreSQL differs from one for tests, which listens on
// its socket alone and may lose everything by a crash of the machine.
type PostgresOptions struct {
	// Durable keeps PostgreSQL's own defaults: what is committed is on the disk.
	Durable bool
	// TCP has it listen on a free port of 127.0.0.1 too.
	TCP bool
	// Settings are parameters of PostgreSQL by their names, over all others. No value
	// has a quotation mark.
	Settings map[string]string
}

// Postgres is a running PostgreSQL with a database for each that asks for one. It
// is safe for concurrent use.
type Postgres struct {
	keeper *keeper
	port   int
	tcp    bool
}

// The ways in which a PostgreSQL can be stopped.
const (
	Fast      = "fast"      // it ends its connections, and writes down what it has in memory
	Immediate = "immediate" // it drops everything as it would by a crash, and recovers at its next start
)

// keepPostgres is $1 the folder, $2 PostgreSQL's programs, $3 its port, $4 its options.
const keepPostgres = `
bin=$2 port=$3 options=$4
trap '"$bin/pg_ctl" -D "$dir/data" -m immediate stop >"$dir/stop" 2>&1; rm -rf "$dir"' EXIT
start() { "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w -t 120 -o "-k '$dir' $options" start; }
begin() { "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync && start; }
attempt begin
while read -r command what; do
	case $command in
	start) attempt start ;;
	stop) attempt "$bin/pg_ctl" -D "$dir/data" -w -t 120 -m "$what" stop ;;
	create) attempt "$bin/createdb" -h "$dir" -p "$port" -U postgres -T template0 "$what" ;;
	drop) attempt "$bin/dropdb" -h "$dir" -p "$port" -U postgres --force "$what" ;;
	esac
done
`

// StartPostgres starts the newest PostgreSQL that Debian has installed, in a cluster
// of its own, and returns when it answers.
func StartPostgres(o PostgresOptions) (*Postgres, error) {
	bin, err := newest()
	if err != nil {
		return nil, err
	}
	p := &Postgres{port: 5432, tcp: o.TCP}
	settings := map[string]string{"max_connections": "200", "listen_addresses": ""}
	if o.TCP {
		if p.port, err = loopback.FreePort(); err != nil {
			return nil, err
		}
		settings["listen_addresses"] = "127.0.0.1"
	}
	if !o.Durable {
		settings["fsync"], settings["full_page_writes"] = "off", "off"
	}
	maps.Copy(settings, o.Settings)
	options := "-p " + strconv.Itoa(p.port)
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		options += fmt.Sprintf(" -c %s='%s'", name, settings[name])
	}
	if p.keeper, err = keep("postgres", "postgres", keepPostgres, bin, strconv.Itoa(p.port), options); err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	return p, nil
}

// URL returns the address of a database by the socket, for any user.
func (p *Postgres) URL(database string) string {
	return "postgres://postgres@/" + database + "?host=" + url.QueryEscape(p.keeper.dir) + "&port=" + strconv.Itoa(p.port)
}

// URLAt returns the address of a database behind host:port, where something listens
// that passes connections on: this PostgreSQL's own TCP address, or a proxy.
func (p *Postgres) URLAt(address, database string) string {
	return "postgres://postgres@" + address + "/" + database + "?sslmode=disable"
}

// Socket returns the path of the unix socket.
func (p *Postgres) Socket() string {
	return filepath.Join(p.keeper.dir, ".s.PGSQL."+strconv.Itoa(p.port))
}

// Address returns host:port where it listens with TCP, else "".
func (p *Postgres) Address() string {
	if !p.tcp {
		return ""
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port))
}

// PID returns the process id of the server, whose children serve the connections; it
// fails while the server is stopped.
func (p *Postgres) PID() (int, error) {
	text, err := os.ReadFile(filepath.Join(p.keeper.dir, "data", "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return strconv.Atoi(first)
}

// Create makes an empty database. Its name is of letters, digits and underscores.
func (p *Postgres) Create(database string) error { return p.keeper.do("create " + database) }

// Drop removes a database, and ends whatever is connected to it.
func (p *Postgres) Drop(database string) error { return p.keeper.do("drop " + database) }

// Stop stops the server by one of [Fast] and [Immediate], and returns when it has
// ended. What it keeps is there at the next Start.
func (p *Postgres) Stop(mode string) error {
	if mode != Fast && mode != Immediate {
		return fmt.Errorf("stop PostgreSQL: %q is no way to do so", mode)
	}
	return p.keeper.do("stop " + mode)
}

// Start starts the server again, at the same addresses, and returns when it answers.
func (p *Postgres) Start() error { return p.keeper.do("start") }

// Close ends the server and removes all that it kept. It may be called more than once.
func (p *Postgres) Close() error { return p.keeper.close() }

// newest returns the folder of the newest PostgreSQL that Debian has installed.
func newest() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(found) == 0 {
		return "", errors.Join(errors.New("there is no PostgreSQL in /usr/lib/postgresql"), err)
	}
	version := func(bin string) int {
		n, _ := strconv.Atoi(strings.Split(bin, "/")[4]) // 0 for what is no version
		return n
	}
	return slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }), nil
}
