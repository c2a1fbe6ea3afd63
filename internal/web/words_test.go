package web

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/internal/catalogue"
	"github.com/coatcheck/coatcheck/internal/oauth"
)

var (
	action   = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	element  = regexp.MustCompile(`(?s)<script.*?</script>|<[^>]*>`)
	spoken   = regexp.MustCompile(`(?:aria-label|alt|title|placeholder)="[^"{]*[A-Za-z]`)
	keyInTag = regexp.MustCompile(`\bt "([^"]+)"`)
)

// Every word of a page is in the catalogue, none in a template.
func TestTemplatesHaveNoWords(t *testing.T) {
	words, err := catalogue.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range templateTexts(t) {
		for _, key := range keyInTag.FindAllStringSubmatch(text, -1) {
			if !words.Language("").Has(key[1]) {
				t.Errorf("%s shows the text %s, which is not there", name, key[1])
			}
		}
		plain := action.ReplaceAllString(text, "")
		if found := spoken.FindString(plain); found != "" {
			t.Errorf("%s says %s", name, found)
		}
		if left := strings.Trim(element.ReplaceAllString(plain, ""), " \n·•."); regexp.MustCompile(`[A-Za-z]`).MatchString(left) {
			t.Errorf("%s has words of its own: %.80q", name, left)
		}
	}
}

func templateTexts(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("templates/*.html")
	if err != nil || len(files) != len(pageNames)+1 {
		t.Fatalf("%d templates: %v", len(files), err)
	}
	texts := map[string]string{}
	for _, file := range files {
		text, err := assets.ReadFile(filepath.ToSlash(file))
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(text)
	}
	return texts
}

// Every text is shown somewhere: in a template, by a literal in the code, or by a key
// that is put together.
func TestEveryTextIsShown(t *testing.T) {
	used := map[string]bool{}
	for _, text := range templateTexts(t) {
		for _, key := range keyInTag.FindAllStringSubmatch(text, -1) {
			used[key[1]] = true
		}
	}
	for _, file := range append(goFiles(t, "*.go"), goFiles(t, "../catalogue/*.go")...) {
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, is := n.(*ast.BasicLit); is && literal.Kind == token.STRING {
				text, _ := strconv.Unquote(literal.Value)
				used[text] = true
			}
			return true
		})
	}
	for code := range advices {
		used["advice."+code+".title"], used["advice."+code+".text"] = true, true
	}
	used["advice.otherwise.title"], used["advice.otherwise.text"] = true, true
	for _, about := range []string{"sign_up", "verify", "email"} {
		for _, part := range []string{"_title", "_text", "_submit"} {
			used["verify."+about+part] = true
		}
	}
	for _, key := range ActivityKeys() {
		used["activity."+key] = true
	}
	for _, scope := range oauth.Scopes {
		used["scope."+scope] = true
	}
	for _, key := range ownKeys(t, "en") {
		table, _, _ := strings.Cut(key, ".")
		if !used[key] && table != "mail" && table != "time" {
			t.Errorf("nothing shows the text %s", key)
		}
	}
}

// Every error that a person may meet has German words, and an advice has a title.
func TestErrorsHaveGermanWords(t *testing.T) {
	words, err := catalogue.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	german := words.Language("de")
	for _, f := range failures {
		if german.Sentence(f.Code, "untranslated") == "untranslated" {
			t.Errorf("de.toml lacks [fault] %s", f.Code)
		}
	}
	for code := range advices {
		if !german.Has("advice." + code + ".title") {
			t.Errorf("the advice for %s has no title", code)
		}
	}
	for _, key := range ActivityKeys() {
		if !german.Has("activity." + key) {
			t.Errorf("there are no words for the activity %s", key)
		}
	}
	for _, file := range goFiles(t, "../account/*.go") {
		ast.Inspect(file, func(n ast.Node) bool {
			call, is := n.(*ast.CallExpr)
			if !is || len(call.Args) != 3 {
				return true
			}
			if name, is := call.Fun.(*ast.SelectorExpr); !is || name.Sel.Name != "Bad" {
				return true
			}
			if literal, is := call.Args[2].(*ast.BasicLit); is {
				if sentence, _ := strconv.Unquote(literal.Value); german.Sentence("", sentence) == sentence {
					t.Errorf("de.toml lacks [sentences] %q", sentence)
				}
			}
			return true
		})
	}
}

func goFiles(t *testing.T, pattern string) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no source was found: %v", err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// ownKeys returns the keys of one of our languages.
func ownKeys(t *testing.T, language string) []string {
	t.Helper()
	keys, err := catalogue.Keys(language)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	return keys
}
