package config

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestOrigins(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"https://auth.example.com", ""},
		{"https://auth.example.com:8443", ""},
		{"http://localhost:8080", ""},
		{"http://shop.localhost", ""},
		{"http://127.0.0.2:1", ""},
		{"http://[::1]:1", ""},
		{"https://[2001:db8::1]", ""},
		{"https://xn--bcher-kva.example", ""},
		{"https://auth.example.com/", "write https://auth.example.com"},
		{"https://auth.example.com/auth", "write https://auth.example.com"},
		{"https://auth.example.com?x", "write https://auth.example.com"},
		{"https://auth.example.com#", "write https://auth.example.com"},
		{"HTTPS://Auth.Example.Com", "write https://auth.example.com"},
		{"https://auth.example.com:443", "write https://auth.example.com"},
		{"http://localhost:80", "write http://localhost"},
		{"https://bücher.example", "write https://xn--bcher-kva.example"},
		{"https://[2001:DB8::0:1]", "write https://[2001:db8::1]"},
		{"https://ada:pa55@auth.example.com", "a name or password has no place in it"},
		{"http://auth.example.com", "is plain http"},
		{"http://10.0.0.1", "is plain http"},
		{"http://0.0.0.0", "is plain http"},
		{"http://localhost.example.com", "is plain http"},
		{"auth.example.com", "is no origin"},
		{"//auth.example.com", "is no origin"},
		{"ftp://auth.example.com", "is no origin"},
		{"javascript:alert(1)", "is no origin"},
		{"https://", "is no origin"},
		{"https://a b", "is no origin"},
		{"https://a_b.example", "is no origin"},
		{"https://1.2.3", "is no origin"},
		{"https://a..b", "is no origin"},
		{"https://auth.example.com\r\n", "is no origin"},
		{"https://auth.example.com:99999999", "is no origin"},
		{"", "is no origin"},
	} {
		got, err := parseOrigin(c.text)
		switch {
		case c.want == "" && (err != nil || got != c.text):
			t.Errorf("%q: %v", c.text, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%q: got %q, %v, want a mistake with %q", c.text, got, err, c.want)
		}
	}
	var all []string
	for _, text := range []string{"*", "null"} { // V-109
		if err := origins(&all).set([]string{text}); err == nil || !strings.Contains(err.Error(), "would be anyone") {
			t.Errorf("origin %s: %v", text, err)
		}
	}
}

func TestWeakSecrets(t *testing.T) { // V-06, JCS-2
	for _, text := range []string{
		"", "short", "0123456789abcdef0123456789abcdef", // 128 bits of hex
		strings.Repeat("0", 64), strings.Repeat("ab", 32), strings.Repeat("a", 40),
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		strings.Repeat("Zx9-Q_k2!wLp", 4), "zgkqzzgkzqkgqqkzgkzgqzkkgzqgkzqz",
		"your-256-bit-secret-your-256-bit-secret", "a-string-secret-at-least-256-bits-long",
		"super-secret-jwt-token-with-at-least-32-characters-long", "MasterkeyNeedsToHave32Characters",
		"PLEASE-CHANGE-ME-I-AM-VERY-INSECURE", "CHANGE_ME_TO_A_COMPLEX_RANDOM_SECRET",
		"correct-horse-battery-staple-and-so-on", "abcdefghijklmnopqrstuvwxyzABCDEF",
		"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
		"hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG+Onbc6mxCcYg=",
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
	} {
		got, err := ParseSecret(text)
		if err == nil {
			t.Errorf("%q was accepted", text)
		}
		if got != nil || (len(text) > 4 && strings.Contains(err.Error(), text)) {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
}

func TestSecretForms(t *testing.T) {
	raw, err := ParseSecret(random)
	if err != nil || len(raw) != 32 || raw[0] != 0x3f {
		t.Fatalf("hex: %d bytes, %v", len(raw), err)
	}
	for name, c := range map[string]struct {
		text   string
		length int
	}{
		"base64url":           {"P2wdCpvoR1Jj0cD-invVJA4db3O4opxUR_Dh0sO0pZY", 32},
		"base64 of openssl":   {"P2wdCpvoR1Jj0cD+invVJA4db3O4opxUR/Dh0sO0pZY=\n", 32},
		"plain text":          {"vK2#mX9!qL5$wR8@nB4%tY7^hC3&jF6*", 32},
		"more than necessary": {random + "00ff", 34},
	} {
		if got, err := ParseSecret(c.text); err != nil || len(got) != c.length {
			t.Errorf("%s: %d bytes, want %d: %v", name, len(got), c.length, err)
		}
	}
}

func TestDurationsRoundTrip(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"7d": 7 * day, "400d": 400 * day, "10m": 10 * time.Minute, "1h30m": 90 * time.Minute, "1d12h": 36 * time.Hour,
		"100ms": 100 * time.Millisecond, "1m30s": 90 * time.Second, "0s": 0, "10h": 10 * time.Hour, "20m": 20 * time.Minute,
	} {
		got, err := parseDuration(text)
		if err != nil || got != want || formatDuration(got) != text {
			t.Errorf("%s: %v shown as %s, %v", text, got, formatDuration(got), err)
		}
	}
	for _, text := range []string{"", "d", "7", "-1d", "1d-5m", "+5m", "1d+5m", "1.5d", "5m1d", "7 d", "1w", "65536d", "1dd"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(4000*day)).Draw(t, "duration"))
		if got, err := parseDuration(formatDuration(d)); err != nil || got != d {
			t.Fatalf("%v is shown as %s and read as %v, %v", d, formatDuration(d), got, err)
		}
	})
}

// The manual in the table is the first line of the field's comment, for every
// field, so that neither can be forgotten.
func TestManualIsTheFieldsComment(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	structs := map[string]*ast.StructType{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			if s, ok := spec.Type.(*ast.StructType); ok {
				structs[spec.Name.Name] = s
			}
		}
		return true
	})
	comments := map[string]string{}
	var walk func(prefix, name string)
	walk = func(prefix, name string) {
		for _, field := range structs[name].Fields.List {
			key := prefix + snake(field.Names[0].Name)
			if table, ok := field.Type.(*ast.Ident); ok && structs[table.Name] != nil && table.Name != "Rate" {
				walk(key+".", table.Name)
				continue
			}
			comments[key], _, _ = strings.Cut(field.Doc.Text(), "\n")
		}
	}
	walk("", "Config")
	for _, k := range Keys() {
		if comments[k.Name] != k.Manual {
			t.Errorf("%s\ncomment: %s\nmanual:  %s", k.Name, comments[k.Name], k.Manual)
		}
		if !strings.Contains(Reference(), "| `"+k.Name+"` | ") {
			t.Errorf("%s is not in the reference", k.Name)
		}
		delete(comments, k.Name)
	}
	for _, name := range slices.Collect(maps.Keys(comments)) {
		t.Errorf("%s has a field and no key", name)
	}
}

func snake(name string) string {
	words := regexp.MustCompile(`[A-Z]+(?:[a-z]+|$)|[A-Z]+`).FindAllString(name, -1)
	return strings.ToLower(strings.Join(words, "_"))
}
