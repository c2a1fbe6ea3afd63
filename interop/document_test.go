package interop

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/conformance.md anew")

const conformanceHead = `# Conformance

The OpenID Foundation publishes a [conformance suite](https://openid.net/certification/), whose test modules say what a provider has to do. Each module of the plans below is told again here, from its description, as a test of its name in the folder ` + "`interop`" + `: it runs against the binary, and ID tokens and logout tokens are checked by a library that is not ours. This page is made from those tests.

**Coatcheck is not certified.** Nobody but its own tests has run these, and they are our reading of what each module asks. Where the suite wants something that Coatcheck does not do, the row says what it does instead, and why.

Run them all with:

` + "```console" + `
$ cd interop && go test -run TestOIDF .
` + "```" + `

Beside them strict libraries of other people (openid-client, oauth4webapi, go-oidc) and Apache's mod_auth_openidc sign people in through the binary in the same folder, and malformed requests are sent to another provider and to ours, which must answer in the same way or have a reason.

The suite runs some modules without PKCE, and some without a nonce. A nonce may be left out. PKCE may be only where a client is registered with ` + "`--without-pkce`" + `, which is off by default, for confidential clients alone, and named by ` + "`coatcheck doctor`" + `.
`

// docs/conformance.md is what the tests of the modules say of themselves.
func TestConformanceDocument(t *testing.T) {
	var text strings.Builder
	text.WriteString(conformanceHead)
	modules := 0
	for _, name := range []string{"conformance_basic_test.go", "conformance_logout_test.go"} {
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		plans := plansOf(file)
		for _, d := range file.Decls {
			f, isFunc := d.(*ast.FuncDecl)
			if !isFunc || !strings.HasPrefix(f.Name.Name, "TestOIDF_") {
				continue
			}
			for len(plans) > 0 && plans[0].at < f.Pos() {
				fmt.Fprintf(&text, "\n## %s\n\n| module | what it does | what is done instead, and why |\n| --- | --- | --- |\n", plans[0].name)
				plans = plans[1:]
			}
			module := strings.TrimPrefix(f.Name.Name, "TestOIDF_")
			says := strings.Join(strings.Fields(strings.TrimPrefix(f.Doc.Text(), f.Name.Name+" ")), " ")
			does, instead, _ := strings.Cut(says, " Deviation: ")
			fmt.Fprintf(&text, "| %s | %s | %s |\n", module, does, instead)
			modules++
		}
	}
	if modules < 50 {
		t.Errorf("there are %d modules", modules)
	}
	const path = "../docs/conformance.md"
	if *update {
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil || string(have) != text.String() {
		t.Errorf("%s is not what the tests say (%v): go test ./interop -run Document -update", path, err)
	}
}

type plan struct {
	name string
	at   token.Pos
}

// plansOf finds the comments that begin the modules of a plan.
func plansOf(file *ast.File) (all []plan) {
	for _, group := range file.Comments {
		if name, found := strings.CutPrefix(strings.TrimSpace(group.Text()), "Plan: "); found {
			all = append(all, plan{name, group.End()})
		}
	}
	return all
}
