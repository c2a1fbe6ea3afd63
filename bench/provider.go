package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// applicants are how many callers refresh at once at the token endpoint, each a grant of
// its own.
const applicants = refreshers

// A providing is a server as applications ask it: ours or another.
type providing struct {
	token, introspect string // addresses
	basic             string // of the client that asks: its Authorization header
	machine           string // likewise, of the client that asks for tokens of its own
	access            string // a token to introspect
	tokens            string // the file of the refresh tokens
	pid               int
}

// runProvider measures what applications ask of the provider, beside what signing and
// the store alone allow, beside the floor handler, and beside another provider that
// keeps everything in memory.
func runProvider(ctx context.Context, r *rig) ([]figure, error) {
	s, err := r.serve(ctx, serving{Core: serverCore, Settings: map[string]string{"transports": "cookie,token"}})
	if err != nil {
		return nil, err
	}
	defer s.stop()
	ours, flows, err := r.applications(ctx, s)
	if err != nil {
		return nil, err
	}
	other, stop, err := r.otherProvider(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	raw, err := openRaw(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = raw.Close() }()
	dir, err := r.folder("floor")
	if err != nil {
		return nil, err
	}
	floor, err := startRole(ctx, serverCore, "floor", dir, "10000")
	if err != nil {
		return nil, err
	}
	defer func() { _ = floor.stop() }()
	var m provided
	for round := range r.Rounds {
		r.Note("provider, round %d of %d", round+1, r.Rounds)
		err := m.round(ctx, r, ours, other, raw)
		if err == nil {
			err = m.floorRound(ctx, r, floor, filepath.Join(dir, "cookies"))
		}
		if err == nil {
			err = flows.round(ctx, r, s.PID())
		}
		if err != nil {
			return nil, err
		}
	}
	abandoned, err := flows.abandon(ctx, r)
	if err != nil {
		return nil, err
	}
	return append(append(m.figures(), flows.figure()), abandoned...), nil
}

// provided is what was measured, in requests for each second of the server's processor
// time; refreshes in requests a second.
type provided struct {
	machine, machineOther, machineRaw  []float64
	introspect, introspectOther, floor []float64
	refresh, refreshOther, refreshRaw  []float64
	refreshTime, refreshTimeOther      []float64 // for each second of processor time
}

const loadForm = `
wrk.method = "POST"
wrk.body = %q
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
wrk.headers["Authorization"] = %q
`

func (m *provided) round(ctx context.Context, r *rig, ours, other *providing, raw *rawCommits) error {
	sign, read, err := alone(ctx, raw)
	if err != nil {
		return err
	}
	m.machineRaw = append(m.machineRaw, 1/(sign+read))
	for _, one := range []struct {
		of                  *providing
		machine, introspect *[]float64
	}{{ours, &m.machine, &m.introspect}, {other, &m.machineOther, &m.introspectOther}} {
		form := url.Values{"grant_type": {"client_credentials"}, "scope": {"stock:read"}}.Encode()
		if err := r.perProcessorSecond(ctx, one.of.pid, load{URL: one.of.token, Script: fmt.Sprintf(loadForm, form, one.of.machine)}, one.machine); err != nil {
			return fmt.Errorf("client credentials: %w", err)
		}
		form = url.Values{"token": {one.of.access}}.Encode()
		if err := r.perProcessorSecond(ctx, one.of.pid, load{URL: one.of.introspect, Script: fmt.Sprintf(loadForm, form, one.of.basic)}, one.introspect); err != nil {
			return fmt.Errorf("introspection: %w", err)
		}
	}
	commits, err := raw.measure(ctx, r.slice())
	if err != nil {
		return err
	}
	m.refreshRaw = append(m.refreshRaw, 1/(sign+1/commits))
	for _, one := range []struct {
		of            *providing
		rate, perTime *[]float64
	}{{ours, &m.refresh, &m.refreshTime}, {other, &m.refreshOther, &m.refreshTimeOther}} {
		before, err := processTime(one.of.pid)
		if err != nil {
			return err
		}
		rate, err := one.of.refreshes(ctx, r.slice())
		if err != nil {
			return fmt.Errorf("refreshes: %w", err)
		}
		after, err := processTime(one.of.pid)
		if err != nil {
			return err
		}
		*one.rate = append(*one.rate, rate)
		*one.perTime = append(*one.perTime, rate*r.slice().Seconds()/(after-before).Seconds())
	}
	return nil
}

// perProcessorSecond runs a load and appends how many answers that were for each second
// that the process was on a processor: so that neighbours do not count.
func (r *rig) perProcessorSecond(ctx context.Context, pid int, l load, into *[]float64) error {
	l.Connections, l.Duration = 32, r.slice()
	before, err := processTime(pid)
	if err != nil {
		return err
	}
	m, err := r.wrk(ctx, l)
	if err != nil {
		return err
	}
	after, err := processTime(pid)
	if err != nil {
		return err
	}
	*into = append(*into, float64(m.Requests)/(after-before).Seconds())
	return nil
}

func (m *provided) floorRound(ctx context.Context, r *rig, floor *process, cookies string) error {
	return r.perProcessorSecond(ctx, floor.PID, load{
		URL: "http://" + floor.Ready + "/v1/session", Script: eachLine("Cookie", "coatcheck_dev=", cookies),
	}, &m.floor)
}

// alone returns how long an ES256 signature takes, and how long the driver takes to read
// one row, in seconds.
func alone(ctx context.Context, raw *rawCommits) (sign, read float64, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return 0, 0, err
	}
	const times = 2000
	digest := sha256.Sum256([]byte("what is signed"))
	begin := time.Now()
	for range times {
		if _, err := ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
			return 0, 0, err
		}
	}
	sign = time.Since(begin).Seconds() / times
	one, err := raw.PrepareContext(ctx, `SELECT n FROM one WHERE id = $1`)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = one.Close() }()
	begin = time.Now()
	for range times {
		var n int64
		if err := one.QueryRowContext(ctx, 1).Scan(&n); err != nil {
			return 0, 0, err
		}
	}
	return sign, time.Since(begin).Seconds() / times, nil
}

func (m *provided) figures() []figure {
	const (
		signing = "an ES256 signature and a row read by the SQLite driver, one after the other"
		writing = "an ES256 signature and a commit of the SQLite driver, one after the other"
		another = "oidc-provider on Node, which keeps everything in memory"
	)
	tenfold := bar{Ratio: true, AtLeast: true, Limit: 10}
	half := bar{Ratio: true, AtLeast: true, Limit: 0.5}
	return []figure{
		{Name: "client credentials over HTTP, a processor second", Unit: "/s", Ours: m.machine, Against: signing, Reference: m.machineRaw, Bar: half},
		{Name: "client credentials, beside another provider", Unit: "/s", Ours: m.machine, Against: another, Reference: m.machineOther, Bar: tenfold},
		{Name: "refresh at the token endpoint, 64 connections", Unit: "/s", Ours: m.refresh, Against: writing, Reference: m.refreshRaw, Bar: half},
		{Name: "refresh at the token endpoint, a processor second, beside another provider", Unit: "/s", Ours: m.refreshTime, Against: another, Reference: m.refreshTimeOther, Bar: tenfold},
		{Name: "introspection by a client, a processor second", Unit: "/s", Ours: m.introspect, Against: "the floor of a check of a session", Reference: m.floor, Bar: bar{Ratio: true, AtLeast: true, Limit: 0.8}},
		{Name: "introspection, beside another provider", Unit: "/s", Ours: m.introspect, Against: another, Reference: m.introspectOther, Bar: tenfold},
	}
}

// otherProvider starts oidc-provider on a free port, on the server's core.
func (r *rig) otherProvider(ctx context.Context) (*providing, func(), error) {
	const folder = "../interop/node"
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "oidc-provider")); err != nil {
		install := pinned(ctx, anyCore, "npm", "ci")
		install.Dir = folder
		if out, err := install.CombinedOutput(); err != nil {
			return nil, nil, fmt.Errorf("install the other provider: %w\n%s", err, out)
		}
	}
	address, err := freeAddress()
	if err != nil {
		return nil, nil, err
	}
	_, port, _ := strings.Cut(address, ":")
	settings := fmt.Sprintf(`{"issuer":"http://%s","port":%s,"secret":"s3cret","tokens":%d}`, address, port, applicants)
	cmd := pinned(ctx, serverCore, "node", "memory.mjs", settings)
	cmd.Dir = folder
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start the other provider: %w", err)
	}
	stop := func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
	var said struct {
		Refresh []string
		Access  string
	}
	if err := json.NewDecoder(out).Decode(&said); err != nil {
		stop()
		return nil, nil, fmt.Errorf("the other provider did not become ready: %w", err)
	}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("shop:s3cret"))
	p := &providing{
		token: "http://" + address + "/token", introspect: "http://" + address + "/token/introspection",
		basic: basic, machine: basic, access: said.Access, pid: cmd.Process.Pid,
	}
	if p.tokens, err = r.keepTokens(said.Refresh); err != nil {
		stop()
		return nil, nil, err
	}
	return p, stop, nil
}

func (r *rig) keepTokens(tokens []string) (string, error) {
	dir, err := r.folder("tokens")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "refresh-tokens")
	return file, os.WriteFile(file, []byte(strings.Join(tokens, "\n")), 0o600)
}

// refreshes lets all applicants refresh for so long, and returns how often a second all
// of them together did.
func (p *providing) refreshes(ctx context.Context, slice time.Duration) (float64, error) {
	role, err := startRole(ctx, loadCore, "applicants", p.token, p.tokens, p.basic, slice.String())
	if err != nil {
		return 0, err
	}
	var rate float64
	_, err = fmt.Sscan(role.Ready, &rate)
	return rate, errors.Join(err, role.stop())
}
