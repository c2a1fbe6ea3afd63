package storetest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// nouns are the packages that declare what they need of a store.
var nouns = []string{"revocation", "keyring", "audit", "account", "session", "mail", "throttle", "oauth"}

// TestEverySentenceIsProven holds the comments of the Store interfaces and the
// proofs to each other: a sentence without a proof and a proof of a sentence that
// is no longer there both fail.
func TestEverySentenceIsProven(t *testing.T) {
	var said []string
	for _, noun := range nouns {
		said = append(said, sentencesOf(t, noun)...)
	}
	if len(said) < 50 {
		t.Fatalf("found %d sentences, which cannot be all", len(said))
	}
	var proven []string
	for _, p := range promises() {
		key := p.method + ": " + p.sentence
		if slices.Contains(proven, key) {
			t.Errorf("promised twice: %s", key)
		}
		proven = append(proven, key)
		if len(p.proofs) == 0 {
			t.Errorf("no proof: %s", key)
		}
		if !slices.Contains(said, key) {
			t.Errorf("nobody says: %s", key)
		}
	}
	for _, key := range said {
		if !slices.Contains(proven, key) {
			t.Errorf("not proven: %s", key)
		}
	}
}

// TestProofNames fails when two proofs of a sentence cannot be told apart.
func TestProofNames(t *testing.T) {
	for _, p := range promises() {
		var names []string
		for _, proof := range p.proofs {
			if proof.name == "" || slices.Contains(names, proof.name) {
				t.Errorf("%s: the proof %q has no name of its own", p.method, proof.name)
			}
			names = append(names, proof.name)
		}
	}
}

// sentencesOf returns what a package's store interfaces promise. The first
// sentence of an interface's own comment says what it is and promises nothing.
func sentencesOf(t *testing.T, noun string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", noun, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, declared := range file.Decls {
			general, ok := declared.(*ast.GenDecl)
			if !ok || general.Tok != token.TYPE {
				continue
			}
			for _, spec := range general.Specs {
				all = append(all, sentencesOfType(t, noun, general.Doc, spec.(*ast.TypeSpec))...)
			}
		}
	}
	return all
}

func sentencesOfType(t *testing.T, noun string, doc *ast.CommentGroup, spec *ast.TypeSpec) []string {
	t.Helper()
	face, ok := spec.Type.(*ast.InterfaceType)
	if !ok || !strings.HasSuffix(spec.Name.Name, "Store") {
		return nil
	}
	name := noun + "." + spec.Name.Name
	var all []string
	own := sentences(doc.Text())
	if len(own) == 0 {
		t.Fatalf("%s has no comment", name)
	}
	for _, sentence := range own[1:] {
		all = append(all, name+": "+sentence)
	}
	for _, method := range face.Methods.List {
		said := sentences(method.Doc.Text())
		if len(method.Names) != 1 || len(said) == 0 {
			t.Errorf("%s has a method without a comment", name)
			continue
		}
		for _, sentence := range said {
			all = append(all, name+"."+method.Names[0].Name+": "+sentence)
		}
	}
	return all
}

var sentenceEnd = regexp.MustCompile(`\.\s+`)

// sentences cuts a comment after each full stop that white space follows.
func sentences(comment string) []string {
	text := strings.Join(strings.Fields(comment), " ")
	var all []string
	for _, sentence := range sentenceEnd.Split(strings.TrimSuffix(text, "."), -1) {
		if sentence != "" {
			all = append(all, sentence+".")
		}
	}
	return all
}

// Every method of an interface that promises it is broken in each way: it writes, or
// it reads.
func TestEveryMethodIsBroken(t *testing.T) {
	var broken []string
	for _, s := range slices.Concat(faultySteps, noticeSteps, codeSteps) {
		broken = append(broken, s.method)
	}
	for _, r := range slices.Concat(faultyReads, noticeReads, codeReads) {
		broken = append(broken, r.method)
	}
	for _, noun := range nouns {
		for _, sentence := range sentencesOf(t, noun) {
			method, _, _ := strings.Cut(sentence, ":")
			promised := slices.ContainsFunc(brokenPromises, func(p promise) bool {
				_, of := within(method, p.method)
				return of
			})
			if promised && !slices.Contains(broken, method) {
				t.Errorf("%s is not broken by any proof", method)
			}
		}
	}
}
