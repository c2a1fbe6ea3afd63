package coatcheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestNewVerifierNames(t *testing.T) { // V-15, CK-4
	good := Config{Issuer: "https://auth.example.com", Audience: "orders", APIKey: "cka_x"}
	tests := []struct {
		name   string
		change func(*Config)
		want   string // in the error; empty for none
	}{
		{"good", func(*Config) {}, ""},
		{"no issuer", func(c *Config) { c.Issuer = "" }, "Issuer"},
		{"V-15 no audience", func(c *Config) { c.Audience = "" }, "Audience"},
		{"no API key", func(c *Config) { c.APIKey = "" }, "Offline"},
		{"no API key under Ask", func(c *Config) { c.APIKey, c.WhenStale = "", Ask }, "Offline"},
		{"no API key, and Offline in as many words", func(c *Config) { c.APIKey, c.WhenStale = "", Offline }, ""},
		{"plain http", func(c *Config) { c.Issuer = "http://auth.example.com" }, "https"},
		{"plain http on loopback", func(c *Config) { c.Issuer = "http://localhost:8080" }, ""},
		{"plain http on 127.0.0.1", func(c *Config) { c.Issuer = "http://127.0.0.1:8080" }, ""},
		{"plain http on ::1", func(c *Config) { c.Issuer = "http://[::1]:8080" }, ""},
		{"a name that begins like loopback", func(c *Config) { c.Issuer = "http://127.0.0.1.example.com" }, "https"},
		{"a query", func(c *Config) { c.Issuer += "?a=b" }, "query"},
		{"a user", func(c *Config) { c.Issuer = "https://a@auth.example.com" }, "user"},
		{"no scheme", func(c *Config) { c.Issuer = "auth.example.com" }, "Issuer"},
		{"another scheme", func(c *Config) { c.Issuer = "ftp://auth.example.com" }, "https"},
		{"a line end in the API key", func(c *Config) { c.APIKey += "\n" }, "line end"},
		{"an unknown policy", func(c *Config) { c.WhenStale = 7 }, "WhenStale"},
		{"a negative staleness", func(c *Config) { c.Staleness = -time.Second }, "Staleness"},
		{"a store without Offline", func(c *Config) { c.OfflineStore = &memoryStore{} }, "Offline"},
		{"a negative limit", func(c *Config) { c.Remember = -1 }, "Remember"},
		{"an origin with a path", func(c *Config) { c.TrustedOrigins = []string{"https://shop.example/x"} }, "TrustedOrigins"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := good
			c.HTTPClient = deadClient
			test.change(&c)
			v, err := NewVerifier(c)
			if err == nil {
				v.Close()
			}
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one that names %q", err, test.want)
			}
			if err != nil && c.APIKey != "" && strings.Contains(err.Error(), c.APIKey) {
				t.Error("V-104 the API key stands in the error")
			}
		})
	}
}

func TestNoSwitchTurnsVerificationOff(t *testing.T) { // V-21
	suspicious := regexp.MustCompile(`(?i)skip|insecure|disable|ignore|unsafe|noverif|without|trustall|debug|bypass`)
	names, err := filepath.Glob("*.go")
	if err != nil || len(names) < 10 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	files := token.NewFileSet()
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && id.IsExported() && suspicious.MatchString(id.Name) && id.Name != "WithoutCancel" {
				t.Errorf("%s: %s looks like a switch that turns verification off", files.Position(id.Pos()), id.Name)
			}
			return true
		})
	}
}
