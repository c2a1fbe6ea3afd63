package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/internal/config"
)

// What an operator gets wrong about the look of the pages keeps the server from
// starting, and says where it is.
func TestMistakesAboutTheLook(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"logo.svg": "<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "logo.gif": "GIF89a", "big.png": "\x89PNG\r\n\x1a\n" + strings.Repeat("x", 40_000),
		"page/sign_in.html": "{{define \"main\"}}\n{{.Titel}}{{end}}", "words/fr.toml": "\n[sign_in]\ntitel = \"x\"\n", "good/fr.toml": "[sign_in]\ntitle = \"x\"\n",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ key, value, want string }{
		{"BRAND_LOGO", filepath.Join(dir, "logo.svg"), ""},
		{"BRAND_LOGO", filepath.Join(dir, "logo.gif"), "brand.logo: "},
		{"BRAND_LOGO", filepath.Join(dir, "big.png"), "brand.logo: the logo has 40008 bytes"},
		{"BRAND_LOGO", filepath.Join(dir, "none.svg"), "brand.logo: "},
		{"PAGES_FOLDER", filepath.Join(dir, "good"), ""},
		{"PAGES_FOLDER", filepath.Join(dir, "none"), "pages.folder: "},
		{"PAGES_FOLDER", filepath.Join(dir, "page"), "sign_in.html:2:"},
		{"PAGES_FOLDER", filepath.Join(dir, "words"), "fr.toml:3: there is no text sign_in.titel"},
	} {
		loaded, err := config.Load(config.Options{Path: os.DevNull, Environ: []string{
			"COATCHECK_" + c.key + "=" + c.value, "COATCHECK_DATABASE=sqlite:" + filepath.Join(t.TempDir(), "coatcheck.db"),
		}})
		if err != nil {
			t.Fatal(err)
		}
		a, err := New(t.Context(), Options{Config: loaded.Config})
		if err == nil {
			err = a.Close()
		}
		if got := errorText(err); (c.want == "") != (got == "") || strings.Count(got, c.want) != 1 && c.want != "" {
			t.Errorf("%s=%s: %q, want one %q", c.key, filepath.Base(c.value), got, c.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
