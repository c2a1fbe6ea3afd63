package web

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/coatcheck/coatcheck/internal/fault"
)

// maxBody bounds every body that is read.
const maxBody = 64 << 10

// readBody reads the whole body. That it breaks off, or comes too slowly, is the
// client's doing: it is no error of ours, and none for an operator to look at.
func readBody(x *exchange) ([]byte, error) {
	body, err := io.ReadAll(x.Body)
	var tooLarge *http.MaxBytesError
	if err != nil && !errors.As(err, &tooLarge) {
		err = fmt.Errorf("%w: %w", errBadRequest, err)
	}
	return body, err
}

// readJSON reads a JSON body into in, strictly: UTF-8, no duplicate members, names
// in their exact case, no member that in does not have. Errors name the member and
// never hold a value.
func readJSON(x *exchange, in any) error {
	media, _, err := mime.ParseMediaType(x.Request.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return errMediaType
	}
	body, err := readBody(x)
	if err != nil {
		return err
	}
	return decodeJSON(body, in)
}

// readOptionalJSON is readJSON for calls that may come without a body.
func readOptionalJSON(x *exchange, in any) error {
	if x.ContentLength == 0 {
		return nil
	}
	return readJSON(x, in)
}

// readDocument reads a JSON document of any shape, and holds it to the same rules.
func readDocument(x *exchange, types ...string) (jsontext.Value, error) {
	media, _, err := mime.ParseMediaType(x.Request.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(types, media) {
		return nil, errMediaType
	}
	body, err := readBody(x)
	if err != nil {
		return nil, err
	}
	document := jsontext.Value(body)
	if !document.IsValid() {
		return nil, errInvalidJSON
	}
	return document, nil
}

func decodeJSON(body []byte, in any) error {
	err := json.Unmarshal(body, in, json.RejectUnknownMembers(true))
	if err == nil {
		return nil
	}
	var semantic *json.SemanticError
	if !errors.As(err, &semantic) {
		return errInvalidJSON
	}
	var syntactic *jsontext.SyntacticError
	if errors.As(semantic.Err, &syntactic) {
		return errInvalidJSON
	}
	member := string(semantic.JSONPointer)
	if len(member) > 128 {
		member = member[:128]
	}
	if errors.Is(semantic.Err, json.ErrUnknownName) {
		return fault.Bad(member, "unknown", "There is no member of this name here.")
	}
	return fault.Bad(member, "type", "This member has another type.")
}

// writeJSON answers with a JSON body.
func writeJSON(x *exchange, status int, out any) error {
	body, err := json.Marshal(out)
	if err != nil {
		return err
	}
	return writeBody(x, status, body)
}

// jsonMedia is the content type of JSON.
var jsonMedia = line("Content-Type", "application/json")

// writeBody answers with a body that is JSON already.
func writeBody(x *exchange, status int, body []byte) error {
	x.Header()[jsonMedia.name] = jsonMedia.values
	x.WriteHeader(status)
	_, _ = x.Write(body) // the client has gone: nobody is left to tell
	return nil
}

// noContent answers that it is done.
func noContent(x *exchange) error {
	x.WriteHeader(http.StatusNoContent)
	return nil
}
