package config

import (
	"os"
	"testing"
)

// What people see of an operator is text, a colour, and links that a page may have: no
// script among them (V-74).
func TestBrandIsHeldToItsForm(t *testing.T) {
	for _, c := range []struct {
		key, text string
		good      bool
	}{
		{"BRAND_NAME", "Ada & Söhne", true},
		{"BRAND_NAME", "two\nlines", false},
		{"BRAND_NAME", " padded", false},
		{"BRAND_NAME", "ein Name, der so lang ist, dass er auf keine Zeile mehr passt, nirgends", false},
		{"BRAND_NAME", "right\u202eleft", false},
		{"BRAND_COLOR", "#1F5c4d", true},
		{"BRAND_COLOR", "1f5c4d", false},
		{"BRAND_COLOR", "#fff", false},
		{"BRAND_COLOR", "red", false},
		{"BRAND_COLOR", "#1f5c4d; } body { display: none", false},
		{"BRAND_HELP", "https://example.com/help", true},
		{"BRAND_HELP", "mailto:help@example.com", true},
		{"BRAND_HELP", "mailto:", false},
		{"BRAND_HELP", "javascript:alert(1)", false},
		{"BRAND_HELP", "/help", false},
		{"BRAND_HELP", "data:text/html,x", false},
		{"BRAND_HELP", "https://user@example.com/", false},
		{"BRAND_PRIVACY", "https://example.com/privacy", true},
		{"BRAND_PRIVACY", "mailto:x@example.com", false},
		{"BRAND_TERMS", "http://localhost:3000/terms", true},
		{"BRAND_TERMS", "https:///terms", false},
		{"BRAND_TERMS", "https:terms", false},
	} {
		loaded, err := Load(Options{Path: os.DevNull, Environ: []string{"COATCHECK_" + c.key + "=" + c.text}})
		if (err == nil) != c.good {
			t.Errorf("%s=%q: %v", c.key, c.text, err)
		}
		if c.text == "#1F5c4d" && loaded.Brand.Color != "#1f5c4d" {
			t.Errorf("the colour is %q", loaded.Brand.Color)
		}
	}
}
