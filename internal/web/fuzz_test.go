package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/coatcheck/coatcheck/internal/fault"
)

// flowLines are the requests of all flows, with what continues them.
func flowLines(f *testing.F) []string {
	f.Helper()
	files, err := filepath.Glob("testdata/flows/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no flows: %v", err)
	}
	var lines []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if method, _, _ := strings.Cut(line, " "); slices.Contains([]string{"POST", "PUT", "PATCH", "DELETE", "GET"}, method) {
				lines = append(lines, strings.TrimSuffix(line, "\n"))
			}
		}
	}
	return lines
}

var (
	memberWord = regexp.MustCompile(` ([a-z_]+)(:?=)("(?:[^"\\]|\\.)*"|\S+)`)
	headerWord = regexp.MustCompile(` ([A-Z][A-Za-z-]+):("(?:[^"\\]|\\.)*"|\S+)`)
	rawWord    = regexp.MustCompile(` raw=("(?:[^"\\]|\\.)*"|\S+)`)
)

func unquoted(word string) string {
	if text, err := strconv.Unquote(word); err == nil {
		return text
	}
	return word
}

// bodyOf makes of a request in a flow the body that is sent.
func bodyOf(line string) string {
	if raw := rawWord.FindStringSubmatch(line); raw != nil {
		return unquoted(raw[1])
	}
	var members []string
	for _, word := range memberWord.FindAllStringSubmatch(line, -1) {
		value := word[3]
		if word[2] == "=" {
			value = strconv.Quote(unquoted(word[3]))
		}
		members = append(members, strconv.Quote(word[1])+":"+value)
	}
	return "{" + strings.Join(members, ",") + "}"
}

// FuzzBodies gives the bodies of all calls to the types that the calls read. What is
// accepted is what the standard library reads at its strictest, is written and read
// again as the same, and is accepted no more with a member that is not there or one
// that is there twice. What is refused is a declared fault that names no value.
func FuzzBodies(f *testing.F) { // V-13, V-98
	bodies := map[string]reflect.Type{}
	for i := range routes {
		if in := reflect.TypeOf(routes[i].in); in != nil && in.Kind() == reflect.Struct && !routes[i].form {
			bodies[routes[i].method+" "+routes[i].path] = in
		}
	}
	if len(bodies) < 10 {
		f.Fatalf("the table has only %d bodies", len(bodies))
	}
	for _, line := range flowLines(f) {
		f.Add([]byte(bodyOf(line)))
	}
	for _, seed := range []string{
		"", "null", "[]", "{}", `{"email":null}`, `{"Email":"ada@example.com"}`, `{"email":"\ud800"}`, "{\"email\":\"\xff\"}", `{"email":"a","email":"b"}`,
		`{"remember":1}`, `{"scopes":["admin",null]}`, `{"end_others":false}`, `{"email":"a"} x`, "\ufeff{}", `{"roles":{}}`, strings.Repeat(`{"a":`, 2000),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for name, in := range bodies {
			got := reflect.New(in)
			if err := decodeJSON(body, got.Interface()); err != nil {
				declared(t, name, body, err)
				continue
			}
			want := reflect.New(in)
			d := json.NewDecoder(strings.NewReader(string(body)))
			d.DisallowUnknownFields()
			if err := d.Decode(want.Interface()); err != nil || !reflect.DeepEqual(got.Elem().Interface(), want.Elem().Interface()) {
				t.Errorf("%s reads %s as %+v, the standard library as %+v, %v", name, body, got, want, err)
			}
			if !exact(t, in, body) {
				t.Errorf("%s accepts %s, which has a member twice or one that is not there", name, body)
			}
			if start := strings.IndexByte(string(body), '{'); start >= 0 && !strings.HasPrefix(strings.TrimLeft(string(body), " \t\r\n"), "null") {
				with := string(body[:start+1]) + `"no such member":1,` + strings.TrimLeft(string(body[start+1:]), " \t\r\n")
				if err := decodeJSON([]byte(strings.Replace(with, ",}", "}", 1)), reflect.New(in).Interface()); err == nil {
					t.Errorf("%s accepts %s", name, with)
				}
			}
			written, err := json.Marshal(got.Interface())
			if err != nil {
				t.Fatal(err)
			}
			again := reflect.New(in)
			if err := decodeJSON(written, again.Interface()); err != nil || !reflect.DeepEqual(got.Elem().Interface(), again.Elem().Interface()) {
				t.Errorf("%s reads %s as %+v, and that again as %+v, %v", name, body, got, again, err)
			}
		}
	})
}

// exact reports whether the members of an object are those of a type, by their exact
// names and once each.
func exact(t *testing.T, in reflect.Type, body []byte) bool {
	t.Helper()
	if twice(t, numbered(body)) {
		return false
	}
	var object map[string]any
	if err := numbered(body).Decode(&object); err != nil {
		t.Fatal(err)
	}
	for _, name := range membersOf(in) {
		delete(object, name)
	}
	return len(object) == 0
}

func membersOf(in reflect.Type) (names []string) {
	for i := range in.NumField() {
		field := in.Field(i)
		if field.Anonymous {
			names = append(names, membersOf(field.Type)...)
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// declared holds an error to what may leave the server.
func declared(t *testing.T, name string, body []byte, err error) {
	t.Helper()
	var members fault.Members
	switch f := fault.Of(err); {
	case f == errInvalidJSON:
	case f == fault.ErrInvalid && errors.As(err, &members) && len(members) == 1 && len(members[0].Member) <= 128 &&
		(members[0].Code == "unknown" || members[0].Code == "type"):
	default:
		t.Errorf("%s refuses %.200q with %v", name, body, err)
	}
}

// FuzzDocument gives the documents of applications. What is accepted is JSON for the
// standard library, too, and no object in it has a member twice.
func FuzzDocument(f *testing.F) { // V-98
	for _, line := range flowLines(f) {
		f.Add([]byte(bodyOf(line)))
	}
	for _, seed := range []string{`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, "\xff", `"\ud800"`, "{} {}", " [1e999] ", strings.Repeat("[", 20_000)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if !jsontext.Value(body).IsValid() {
			return
		}
		if !json.Valid(body) || twice(t, numbered(body)) {
			t.Errorf("%q is accepted", body)
		}
	})
}

// numbered keeps numbers as they are written: some are too large for any type.
func numbered(body []byte) *json.Decoder {
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.UseNumber()
	return d
}

// twice reads one value and reports whether an object in it names a member twice.
func twice(t *testing.T, d *json.Decoder) (found bool) {
	t.Helper()
	token := func() json.Token {
		next, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	switch token() {
	case json.Delim('{'):
		names := map[string]bool{}
		for d.More() {
			name, _ := token().(string)
			found = names[name] || found
			names[name] = true
			found = twice(t, d) || found
		}
		token()
	case json.Delim('['):
		for d.More() {
			found = twice(t, d) || found
		}
		token()
	}
	return found
}

// FuzzReturnTo: whatever is accepted leads to an origin that is allowed, for the
// standard library and for a browser, and to the very path that is written.
func FuzzReturnTo(f *testing.F) { // V-101
	for _, seed := range []string{
		"/account", "//evil.example", "https://shop.example/x", `/\x`, "https://shop.example@evil.example", "/%2F/x?y#z", "/a/%2e%2E/b",
		"https:evil.example", "https://shop.example\t.evil.example", " //evil.example", "/\t/evil.example", "https://shop.example?x", "/account?done=name#password",
	} {
		f.Add(seed)
	}
	s := &Server{origin: "https://auth.example.com", config: Config{ReturnTo: []string{"https://shop.example"}}}
	base := &url.URL{Scheme: "https", Host: "auth.example.com", Path: "/sign-in"}
	allowed := []string{s.origin, "https://shop.example"}
	f.Fuzz(func(t *testing.T, address string) {
		if !s.mayReturn(address) {
			return
		}
		u, err := base.Parse(address)
		if err != nil {
			t.Fatalf("%q is accepted and cannot be read: %v", address, err)
		}
		if !slices.Contains(allowed, u.Scheme+"://"+u.Host) || u.User != nil {
			t.Errorf("%q is accepted and leads to %s", address, u)
		}
		if written := strings.TrimPrefix(strings.TrimPrefix(address, s.origin), allowed[1]); written != "" && path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/") && u.Path != "/" {
			t.Errorf("%q is accepted and means %s", address, path.Clean(u.Path))
		}
		if origin := browsed(address, s.origin); !slices.Contains(allowed, origin) {
			t.Errorf("%q is accepted and leads a browser to %s", address, origin)
		}
	})
}

var schemeForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)

// browsed returns the origin to which a browser goes from a page of base, by the
// rules of the URL standard (WHATWG URL §4.4) that differ from RFC 3986.
func browsed(address, base string) string {
	address = strings.TrimFunc(address, func(r rune) bool { return r <= ' ' })
	address = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(address)
	scheme := strings.ToLower(schemeForm.FindString(address))
	rest := address[len(scheme):]
	switch scheme {
	case "", "http:", "https:":
		rest = strings.ReplaceAll(rest, `\`, "/")
	default:
		return scheme
	}
	switch {
	case scheme == "" && !strings.HasPrefix(rest, "//"), scheme == "https:" && !strings.HasPrefix(rest, "/"):
		return base // a path
	case scheme == "":
		scheme = "https:"
	}
	rest = strings.TrimLeft(rest, "/")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = rest[at+1:]
	}
	return scheme + "//" + strings.ToLower(rest)
}

// heardHeaders are those that a proxy may set, or that say where a request comes from.
var heardHeaders = []string{
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Uri", "X-Forwarded-Method", "Forwarded",
	"X-Real-Ip", "Origin", "Sec-Fetch-Site", "Cookie",
}

// headersOf reads lines "Name: value", of the names above alone.
func headersOf(text string) http.Header {
	h := http.Header{}
	for line := range strings.SplitSeq(text, "\n") {
		name, value, _ := strings.Cut(line, ":")
		if name = http.CanonicalHeaderKey(name); slices.Contains(heardHeaders, name) {
			h.Add(name, strings.TrimPrefix(value, " "))
		}
	}
	return h
}

// FuzzForwarded gives what a proxy, or someone who poses as one, says of a request.
// Of others than the configured proxies nothing is believed; of a proxy's chain, what
// a stranger puts in front changes nothing; and whoever has to sign in is sent to an
// address of ours that leads back to a place that is allowed.
func FuzzForwarded(f *testing.F) { // V-13, V-99
	for _, line := range flowLines(f) {
		var headers []string
		for _, word := range headerWord.FindAllStringSubmatch(line, -1) {
			headers = append(headers, word[1]+": "+unquoted(word[2]))
		}
		if headers != nil {
			f.Add("127.0.0.1:4711", strings.Join(headers, "\n"))
			f.Add("203.0.113.5:4711", strings.Join(headers, "\n"))
		}
	}
	for _, chain := range []string{"198.51.100.7", "6.6.6.6, 198.51.100.7, 10.0.0.2", "10.0.0.2", "::ffff:198.51.100.7", "fe80::1%eth0", "198.51.100.7:80", "x, 10.0.0.2", "", ","} {
		f.Add("10.0.0.1:1", "X-Forwarded-For: "+chain+"\nX-Forwarded-Proto: https\nX-Forwarded-Host: app.example.com\nX-Forwarded-Uri: /a?b#c")
		f.Add("[::1]:1", "X-Forwarded-For: "+chain+"\nX-Forwarded-For: 10.0.0.2\nForwarded: for=6.6.6.6")
	}
	for _, host := range []string{"app.example.com/x", "ada@app.example.com", "app.example.com?x", "app.example.com#x", "APP.example.com:443", "[::1]", "evil.example", "app.example.com\\@evil.example", " app.example.com", "app.example.com%2f"} {
		f.Add("10.0.0.1:1", "X-Forwarded-Proto: https\nX-Forwarded-Uri: /\nX-Forwarded-Host: "+host)
	}
	f.Add("not an address", "X-Forwarded-Host: evil.example\nX-Forwarded-Host: app.example.com\nOrigin: null")
	public := &url.URL{Scheme: "https", Host: "auth.example.com"}
	s := &Server{issuer: public.String(), origin: public.String(), config: Config{
		PublicURL: public, ReturnTo: []string{"https://app.example.com"},
		Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8")},
	}}
	s.cookies = namesFor(s.config)
	var err error
	if s.guard, err = newOriginGuard(s.origin, nil, s.cookies); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, remote, lines string) {
		r := &http.Request{Method: http.MethodGet, RemoteAddr: remote, Header: headersOf(lines), URL: &url.URL{Path: "/"}, Host: "auth.example.com"}
		x := &exchange{Request: r, route: &route{class: api}}
		checkAddress(t, s, r)
		o := s.original(x)
		if o.believed != s.fromProxy(x) || !o.believed && (o.uri != "" || o.origin != "") {
			t.Fatalf("of %s is believed %+v", remote, o)
		}
		checkOriginal(t, s, r, o)
		if err := s.checkHost(x); (err != nil) && !s.fromProxy(x) {
			t.Errorf("X-Forwarded-Host of %s is heard", remote)
		}
	})
}

// checkAddress holds who is at the other end to its rules.
func checkAddress(t *testing.T, s *Server, r *http.Request) {
	t.Helper()
	got := clientAddress(r, s.config.Proxies)
	near, known := peer(r)
	if !known {
		if got != "unknown" {
			t.Errorf("the client at %q is %q", r.RemoteAddr, got)
		}
		return
	}
	addr, err := netip.ParseAddr(got)
	if err != nil || addr.Is4In6() || addr.Zone() != "" {
		t.Fatalf("the client is %q", got)
	}
	if !trusted(near, s.config.Proxies) {
		if addr != near {
			t.Errorf("%s says that the client is %s, and is believed", near, addr)
		}
		return
	}
	if trusted(addr, s.config.Proxies) {
		return // nobody beyond our own proxies is known
	}
	forged := r.Clone(t.Context())
	chain := forged.Header["X-Forwarded-For"]
	chain[0] = "192.0.2.66, " + chain[0]
	forged.Header["X-Forwarded-For"] = append([]string{"192.0.2.67"}, chain...)
	if other := clientAddress(forged, s.config.Proxies); other != got {
		t.Errorf("what a stranger puts in front of %q makes the client %s, who was %s", r.Header["X-Forwarded-For"], other, got)
	}
}

// checkOriginal holds what is believed of the original request to what comes of it.
func checkOriginal(t *testing.T, s *Server, r *http.Request, o original) {
	t.Helper()
	if o.origin != "" {
		u, err := url.Parse(o.origin)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Path+u.RawQuery+u.Fragment != "" || o.origin != strings.ToLower(o.origin) {
			t.Errorf("%q is taken for an origin", o.origin)
		}
	}
	if s.sameOrigin(r, o) {
		origins, sites := r.Header["Origin"], r.Header["Sec-Fetch-Site"]
		if len(origins)+len(sites) == 0 || len(origins) == 1 && origins[0] != s.origin && origins[0] != o.origin {
			t.Errorf("%v counts as made by its own origin %q", r.Header, o.origin)
		}
	}
	address := s.signInAddress(o)
	u, err := url.Parse(address)
	if err != nil || u.Scheme+"://"+u.Host != s.origin || u.Path != "/sign-in" || strings.ContainsFunc(address, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		t.Fatalf("people are sent to %q to sign in", address)
	}
	if query := u.Query(); len(query) > 1 || query.Has("return_to") && (!s.mayReturn(query.Get("return_to")) || strings.Contains(query.Get("return_to"), "#")) {
		t.Errorf("people are sent to %q to sign in", address)
	}
}

// bareCookie is the name alone, or with space behind it: no browser sends our cookie so.
var bareCookie = regexp.MustCompile(`__Host-coatcheck([ \t]*(;|$)|[ \t]+=)`)

// FuzzCookieHeader: no cookie of ours that the standard library sees is missed, so
// none can hide behind another, and what is found stands in the header.
func FuzzCookieHeader(f *testing.F) { // V-13, V-39
	for _, seed := range []string{
		"__Host-coatcheck=cks_01kgqn5zv0fkev1h6ddvq2h5bh", "a=b; __Host-coatcheck=x;__Host-coatcheck=y", "__Host-coatcheck", "__Host-coatcheck=",
		"\u2003__Host-coatcheck=x", ";;=;", `__Host-coatcheck="x"`, "__host-coatcheck=x", " __Host-coatcheck\t=x", "__Host-coatcheck=x=y",
	} {
		f.Add(seed)
	}
	const name = "__Host-coatcheck"
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsAny(line, "\r\n") {
			return // no line of a header has one
		}
		r := &http.Request{Header: http.Header{"Cookie": {line}}}
		found, times := named(r, name)
		if times > 0 && !strings.Contains(line, name+"="+found) {
			t.Errorf("%q is found in %q", found, line)
		}
		if want := r.CookiesNamed(name); times < len(want) && !bareCookie.MatchString(line) {
			t.Errorf("%q holds %d cookies of ours, and %d are found", line, len(want), times)
		}
		var slow []string
		for part := range strings.SplitSeq(line, ";") {
			if value, ours := strings.CutPrefix(strings.Trim(part, " \t"), name+"="); ours {
				slow = append(slow, value)
			}
		}
		if times != len(slow) || times > 0 && found != slow[0] {
			t.Errorf("%q holds %q, and %q is found, %d times", line, slow, found, times)
		}
		value, err := one(r, name)
		if (err != nil) != (times > 1) || err == nil && times == 1 && value != found || err != nil && value != "" {
			t.Errorf("one of %q is %q, %v", found, value, err)
		}
	})
}

// FuzzCursor: a cursor opens only as what was sealed, and only for its own list.
func FuzzCursor(f *testing.F) {
	w, other := window{list: "/v1/admin/users"}, window{list: "/v1/admin/audit"}
	for _, seed := range []string{w.seal("usr_01kgqn5zt7e3ntha8nq5y5q4z8"), other.seal("412"), "", "AAAA", w.seal("") + "=", w.seal("x")[1:]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		position, err := w.open(cursor)
		switch {
		case err != nil && position != "", err == nil && cursor != "" && w.seal(position) != cursor:
			t.Errorf("%q opens as %q, %v", cursor, position, err)
		case err == nil && cursor != "":
			if _, err := other.open(cursor); err == nil {
				t.Errorf("%q opens for two lists", cursor)
			}
		}
		if len(cursor) > 0 && len(cursor) <= 128 {
			if got, err := w.open(w.seal(cursor)); err != nil || got != cursor {
				t.Errorf("%q is sealed and opens as %q, %v", cursor, got, err)
			}
		}
	})
}

// FuzzIfMatch: a version that is named is written in one way, and every version that
// is given out is understood.
func FuzzIfMatch(f *testing.F) {
	for _, seed := range []string{`"0"`, `"17"`, "*", `W/"17"`, `"17", "18"`, `"017"`, `"-1"`, `"9223372036854775808"`, "17", `"`, `""`, "W/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got, err := versionIn(&http.Request{Header: http.Header{"If-Match": {value}}})
		plain := strings.Trim(value, " \t")
		switch {
		case err != nil && got != nil:
			t.Errorf("%q names %d beside %v", value, *got, err)
		case err == nil && *got >= 0 && tagOf(*got) != plain, err == nil && *got == anyVersion && plain != "*":
			t.Errorf("%q names %d", value, *got)
		}
	})
}
