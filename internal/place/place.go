// Package place names the place of an IP address, by a database of the MaxMind format
// that the operator supplies. It is for people, who recognise where they were; it
// decides nothing, since addresses are often somewhere else than those who use them.
package place

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// A Database names places by the file it was opened with, and by the file that comes in
// its place. It is safe for concurrent use.
type Database struct {
	path   string
	logger *slog.Logger
	reader atomic.Pointer[maxminddb.Reader]

	mu   sync.Mutex // one reads the file at a time
	seen string     // what was last read, or tried
}

// largest bounds how much of a file is taken into memory, in bytes.
const largest = 1 << 30

// every is how often Run looks at the file, by the wall.
const every = 30 * time.Second

// Open reads a City or Country database: GeoLite2, GeoIP2, or one of the same layout.
// It is held in memory, so that whoever writes over the file takes nothing away.
func Open(path string, logger *slog.Logger) (*Database, error) {
	d := &Database{path: path, logger: logger}
	if err := d.Reload(); err != nil {
		return nil, err
	}
	return d, nil
}

// Reload reads the file again if it has changed. One that cannot be used leaves the one
// before in force, and is an error once.
func (d *Database) Reload() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	info, err := os.Stat(d.path)
	if err != nil {
		return fmt.Errorf("look at the database of places: %w", err)
	}
	version := fmt.Sprintf("%d %d", info.ModTime().UnixNano(), info.Size())
	if version == d.seen {
		return nil
	}
	d.seen = version
	if info.Size() > largest {
		return fmt.Errorf("the database of places, %s, is larger than 1 GiB", d.path)
	}
	content, err := os.ReadFile(d.path)
	if err != nil {
		return fmt.Errorf("read the database of places: %w", err)
	}
	reader, err := maxminddb.OpenBytes(content)
	if err == nil {
		err = sound(reader)
	}
	if err != nil {
		return fmt.Errorf("%s is no database of places that can be read: %w", d.path, err)
	}
	d.reader.Store(reader)
	return nil
}

// sound tries a few addresses, so that a database of something else, or half of one, is
// found out before it is in force.
func sound(reader *maxminddb.Reader) error {
	kind := reader.Metadata.DatabaseType
	if !strings.Contains(kind, "City") && !strings.Contains(kind, "Country") && !strings.Contains(kind, "Enterprise") {
		return fmt.Errorf("it is of the type %q, and a City or Country database is wanted", kind)
	}
	var all []error
	for _, ip := range []string{"1.1.1.1", "81.2.69.142", "198.51.100.1", "2001:4860:4860::8888"} {
		address := netip.MustParseAddr(ip)
		if address.Is6() && reader.Metadata.IPVersion == 4 {
			continue
		}
		var r record
		all = append(all, reader.Lookup(address).Decode(&r))
	}
	return errors.Join(all...)
}

// Run looks at the file now and then until ctx ends, and reads it when it has changed.
func (d *Database) Run(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := d.Reload(); err != nil {
				d.logger.Warn("the changed database of places cannot be used, the one before stays", "error", err)
			}
		}
	}
}

// Built returns when the database in force was made.
func (d *Database) Built() time.Time { return d.reader.Load().Metadata.BuildTime() }

// A record is what we read of an entry.
type record struct {
	City struct {
		Names map[string]string `maxminddb:"names"`
	} `maxminddb:"city"`
	Country struct {
		Names map[string]string `maxminddb:"names"`
	} `maxminddb:"country"`
}

// Name returns the place of an address, "Berlin, Germany" or "Germany", or "" if it is
// not known. It is in the language wanted first (a language tag, or an Accept-Language
// header) as far as the database has it, else in English.
func (d *Database) Name(ip, language string) string {
	address, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	reader := d.reader.Load()
	if address = address.Unmap().WithZone(""); address.Is6() && reader.Metadata.IPVersion == 4 {
		return ""
	}
	var r record
	if err := reader.Lookup(address).Decode(&r); err != nil {
		d.logger.Warn("the database of places is damaged", "error", err)
		return ""
	}
	city, country := pick(r.City.Names, language), pick(r.Country.Names, language)
	switch {
	case city == "" || city == country:
		return country
	case country == "":
		return city
	default:
		return city + ", " + country
	}
}

// pick returns the name in a language, by its tag, then by its first part.
func pick(names map[string]string, language string) string {
	first, _, _ := strings.Cut(language, ",")
	first, _, _ = strings.Cut(first, ";")
	first = strings.TrimSpace(first)
	primary, _, _ := strings.Cut(first, "-")
	for _, tag := range []string{first, primary} {
		for known, name := range names {
			if tag != "" && strings.EqualFold(known, tag) {
				return name
			}
		}
	}
	return names["en"]
}
