package web_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/coatcheck/coatcheck/internal/web"
)

// loadDocument reads and validates the OpenAPI document that the server serves.
func loadDocument(t testing.TB) *openapi3.T {
	t.Helper()
	raw, err := web.OpenAPI("http://localhost:8080")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !doc.IsOpenAPI31OrLater() {
		t.Fatalf("the document is of OpenAPI %s", doc.OpenAPI)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatalf("the document is not valid: %v", err)
	}
	return doc
}

// The document names every row of the table that is no page, and nothing else.
func TestOpenAPIMatchesTheTable(t *testing.T) {
	doc := loadDocument(t)
	described, ids := map[string]bool{}, map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			described[method+" "+path] = true
			if ids[operation.OperationID] || operation.Summary == "" {
				t.Errorf("%s %s has no summary, or the operation id of another", method, path)
			}
			ids[operation.OperationID] = true
		}
	}
	for _, row := range web.Rows() {
		if row.Page == described[row.Pattern] {
			t.Errorf("%s: described %v, a page %v", row.Pattern, described[row.Pattern], row.Page)
		}
		delete(described, row.Pattern)
	}
	for pattern := range described {
		t.Errorf("%s is described but not served", pattern)
	}
}

// A contract holds what goes over the wire against the document.
type contract struct {
	doc   *openapi3.T
	match *http.ServeMux
}

func newContract(t testing.TB) *contract {
	c := &contract{doc: loadDocument(t), match: http.NewServeMux()}
	for _, row := range web.Rows() {
		c.match.Handle(row.Pattern, http.NotFoundHandler())
	}
	for _, schema := range c.doc.Components.Schemas { // an answer has no member that the document does not name
		if schema.Value.Type.Is("object") && len(schema.Value.Properties) > 0 {
			no := false
			schema.Value.AdditionalProperties = openapi3.BoolSchema{Has: &no}
		}
	}
	return c
}

// check holds one exchange against the document. Requests count where they were
// accepted: bad ones are sent on purpose.
func (c *contract) check(r *http.Request, sent []byte, status int, header http.Header, body []byte) error {
	_, pattern := c.match.Handler(r)
	method, path, _ := strings.Cut(pattern, " ")
	item := c.doc.Paths.Value(path)
	if item == nil {
		return nil // a page, or no address of ours
	}
	operation := item.GetOperation(method)
	if err := checkAnswer(operation, r.Method, status, header, body); err != nil {
		return fmt.Errorf("the answer to %s is not as /openapi.json says: %w", pattern, err)
	}
	if status < 300 {
		if err := checkRequest(operation, r, sent); err != nil {
			return fmt.Errorf("%s took a request that /openapi.json does not describe: %w", pattern, err)
		}
	}
	return nil
}

func checkAnswer(operation *openapi3.Operation, method string, status int, header http.Header, body []byte) error {
	described := operation.Responses.Value(strconv.Itoa(status))
	if described == nil {
		if status < 400 {
			return fmt.Errorf("status %d is not described", status)
		}
		described = operation.Responses.Default()
	}
	media, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	content := described.Value.Content[media]
	switch {
	case method == http.MethodHead, media == "text/event-stream" && content != nil:
		return nil
	case len(described.Value.Content) == 0 && len(body) == 0:
		return nil
	case content == nil:
		return fmt.Errorf("status %d has the content type %q", status, media)
	}
	return conforms(content.Schema, body)
}

func checkRequest(operation *openapi3.Operation, r *http.Request, sent []byte) error {
	for name := range r.URL.Query() {
		if operation.Parameters.GetByInAndName("query", name) == nil {
			return fmt.Errorf("the parameter %s is not described", name)
		}
	}
	if operation.RequestBody == nil {
		if len(sent) > 0 {
			return fmt.Errorf("a body is not described")
		}
		return nil
	}
	described := operation.RequestBody.Value
	if len(sent) == 0 && !described.Required {
		return nil
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	content := described.Content[media]
	if content == nil {
		return fmt.Errorf("the content type %q is not described", media)
	}
	if media == "application/x-www-form-urlencoded" {
		return formConforms(content.Schema, sent)
	}
	return conforms(content.Schema, sent)
}

// formConforms holds the names of a form against the schema; its values are text.
func formConforms(schema *openapi3.SchemaRef, sent []byte) error {
	form, err := url.ParseQuery(string(sent))
	if err != nil {
		return err
	}
	for name := range form {
		if schema.Value.Properties[name] == nil {
			return fmt.Errorf("the member %s is not described", name)
		}
	}
	for _, name := range schema.Value.Required {
		if !form.Has(name) {
			return fmt.Errorf("the member %s is required", name)
		}
	}
	return nil
}

func conforms(schema *openapi3.SchemaRef, body []byte) error {
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return err
	}
	return schema.Value.VisitJSON(value, openapi3.EnableFormatValidation())
}

// What the contract checks would mean nothing if they let anything pass.
func TestContractFindsDifferences(t *testing.T) {
	c := newContract(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/oauth2/introspect", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	json, form := http.Header{"Content-Type": {"application/json"}}, []byte("token=x")
	for _, test := range []struct {
		name   string
		sent   []byte
		status int
		header http.Header
		body   string
		wrong  bool
	}{
		{"right", form, 200, json, `{"active":false}`, false},
		{"a member that is not described", form, 200, json, `{"active":true,"password":"x"}`, true},
		{"a member that is missing", form, 200, json, `{"sub":"x"}`, true},
		{"a member of another type", form, 200, json, `{"active":"yes"}`, true},
		{"a status that is not described", form, 204, json, ``, true},
		{"another content type", form, 200, http.Header{"Content-Type": {"text/html"}}, `{"active":false}`, true},
		{"a member of the form that is not described", []byte("token=x&y=z"), 200, json, `{"active":false}`, true},
		{"a form without what is required", []byte("seen=1"), 200, json, `{"active":false}`, true},
	} {
		err := c.check(r, test.sent, test.status, test.header, []byte(test.body))
		if (err != nil) != test.wrong {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestOpenAPIIsStable(t *testing.T) {
	first, err := web.OpenAPI("https://auth.example.com")
	if err != nil {
		t.Fatal(err)
	}
	second, err := web.OpenAPI("https://auth.example.com")
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("two writings differ (%v): caches would never hit", err)
	}
	if !slices.Contains(strings.Split(string(first), `"`), "https://auth.example.com") {
		t.Error("the server is not named")
	}
}

// The description of all calls is larger than a page may be, so it travels compressed to
// who takes it so, under a tag of its own.
func TestDescriptionTravelsCompressed(t *testing.T) {
	s := front(t)
	plain := s.ask(t, "GET", "/openapi.json", "", "Accept-Encoding", "identity").must(t, 200)
	small := s.ask(t, "GET", "/openapi.json", "", "Accept-Encoding", "br, gzip").must(t, 200)
	if small.header.Get("Content-Encoding") != "gzip" || plain.header.Get("Content-Encoding") != "" || !slices.Contains(plain.header.Values("Vary"), "Accept-Encoding") {
		t.Errorf("the encodings are %q and %q", small.header.Get("Content-Encoding"), plain.header.Get("Content-Encoding"))
	}
	unzip, err := gzip.NewReader(strings.NewReader(small.text))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(unzip)
	if err != nil || string(text) != plain.text || len(small.text) > 30_000 {
		t.Errorf("%d bytes are %d bytes of something else (%v)", len(small.text), len(text), err)
	}
	if small.header.Get("ETag") == plain.header.Get("ETag") {
		t.Error("both have one tag")
	}
	for _, r := range []struct{ encoding, tag string }{{"gzip", small.header.Get("ETag")}, {"identity", plain.header.Get("ETag")}} {
		s.ask(t, "GET", "/openapi.json", "", "Accept-Encoding", r.encoding, "If-None-Match", r.tag).must(t, 304)
	}
	s.ask(t, "GET", "/openapi.json", "", "Accept-Encoding", "identity", "If-None-Match", small.header.Get("ETag")).must(t, 200)
}
