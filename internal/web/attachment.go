package web

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

const mergePatch = "application/merge-patch+json"

// swaps bounds how often a write that takes any version begins again.
const swaps = 8

// getAttachment answers with the application's own JSON beside the session, and with
// its version as the entity tag. There is always one; it begins as an empty object.
func (s *Server) getAttachment(x *exchange) error {
	document, version, err := s.Sessions.Attachment(x.Context(), x.holder.SessionID())
	if err != nil {
		return err
	}
	return writeAttachment(x, document, version)
}

// putAttachment replaces the document, at the version that If-Match names.
func (s *Server) putAttachment(x *exchange) error {
	at, err := versionIn(x.Request)
	if err != nil {
		return err
	}
	if at == nil {
		return session.ErrVersionNeeded
	}
	document, err := readDocument(x, "application/json")
	if err != nil {
		return err
	}
	next, err := s.attach(x, document, *at)
	if err != nil {
		return err
	}
	x.Header().Set("ETag", tagOf(next))
	return noContent(x)
}

// attach writes the document at a version, or over whichever there is.
func (s *Server) attach(x *exchange, document jsontext.Value, at int64) (int64, error) {
	if at != anyVersion {
		return s.Sessions.Attach(x.Context(), x.holder.SessionID(), document, at)
	}
	for range swaps {
		_, current, err := s.Sessions.Attachment(x.Context(), x.holder.SessionID())
		if err != nil {
			return 0, err
		}
		next, err := s.Sessions.Attach(x.Context(), x.holder.SessionID(), document, current)
		if !errors.Is(err, session.ErrVersionChanged) {
			return next, err
		}
	}
	return 0, session.ErrVersionChanged
}

// patchAttachment applies a merge patch (RFC 7396) to whatever is there, or with
// If-Match to that version alone.
func (s *Server) patchAttachment(x *exchange) error {
	at, err := versionIn(x.Request)
	if err != nil {
		return err
	}
	patch, err := readDocument(x, mergePatch, "application/json")
	if err != nil {
		return err
	}
	if at != nil && *at == anyVersion {
		at = nil
	}
	document, version, err := s.Sessions.MergeAttachment(x.Context(), x.holder.SessionID(), patch, at)
	if err != nil {
		return err
	}
	return writeAttachment(x, document, version)
}

func writeAttachment(x *exchange, document []byte, version int64) error {
	x.Header().Set("ETag", tagOf(version))
	x.Header().Set("Content-Type", "application/json")
	x.WriteHeader(http.StatusOK)
	_, _ = x.Write(document) // the client has gone: nobody is left to tell
	return nil
}

func tagOf(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// What an If-Match may say that is no version of ours.
const (
	anyVersion = -1 // *
	noVersion  = -2 // a tag that we never gave out, or a weak one, which never matches
)

// versionIn returns the version that If-Match names (RFC 9110 §13.1.1), nil if there
// is none. It takes one tag: a list would let a client say that it does not know.
func versionIn(r *http.Request) (*int64, error) {
	values := r.Header.Values("If-Match")
	if len(values) == 0 {
		return nil, nil
	}
	text := strings.Trim(values[0], " \t")
	tag, weak := strings.CutPrefix(text, "W/")
	version := int64(noVersion)
	switch {
	case len(values) == 1 && text == "*":
		version = anyVersion
	case len(values) > 1 || len(tag) < 2 || tag[0] != '"' || strings.IndexByte(tag[1:], '"') != len(tag)-2:
		return nil, fault.Bad("If-Match", "format", "Give the ETag that was read, with its quotes.")
	case !weak:
		n, err := strconv.ParseInt(tag[1:len(tag)-1], 10, 64)
		if err == nil && n >= 0 && tagOf(n) == tag {
			version = n
		}
	}
	return &version, nil
}
