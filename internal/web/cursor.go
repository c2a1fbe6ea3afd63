package web

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/coatcheck/coatcheck/internal/fault"
)

// How many items a page of a list holds.
const (
	defaultPage = 50
	largestPage = 200
)

// A list is one page of items; next is the cursor of the page after it, absent on
// the last.
type list[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitzero" about:"give it as cursor to read on"`
}

// paging are the query parameters of every list.
var paging = []parameter{
	{"limit", "how many items, 1 to 200; 50 unless given"},
	{"cursor", "next of the page before"},
}

// A window is which part of a list is asked for.
type window struct {
	list  string // the list that cursors are for
	after string // the position that the cursor holds; "" for the first page
	limit int
}

// windowOf reads the paging of a list. Parameters that the list does not have are
// refused, so that a mistyped filter does not silently list everything.
func windowOf(x *exchange, filters ...string) (window, url.Values, error) {
	w := window{list: x.route.path, limit: defaultPage}
	query, err := url.ParseQuery(x.URL.RawQuery)
	if err != nil {
		return w, nil, errBadRequest
	}
	var wrong fault.Members
	for _, name := range slices.Sorted(keysOf(query)) {
		switch {
		case name != "limit" && name != "cursor" && !slices.Contains(filters, name):
			wrong = append(wrong, fault.Member{Member: "?" + limited(name), Code: "unknown", Detail: "There is no parameter of this name here."})
		case len(query[name]) > 1:
			wrong = append(wrong, fault.Member{Member: "?" + name, Code: "format", Detail: "This parameter is here more than once."})
		}
	}
	if query.Has("limit") {
		n, err := strconv.Atoi(query.Get("limit"))
		if err != nil || n < 1 || n > largestPage {
			wrong = append(wrong, fault.Member{Member: "?limit", Code: "format", Detail: "A page holds 1 to 200 items."})
		}
		w.limit = n
	}
	if len(wrong) > 0 {
		return w, nil, wrong
	}
	w.after, err = w.open(query.Get("cursor"))
	return w, query, err
}

func keysOf(query url.Values) func(func(string) bool) {
	return func(yield func(string) bool) {
		for name := range query {
			if !yield(name) {
				return
			}
		}
	}
}

func limited(name string) string { return name[:min(len(name), 64)] }

// A cursor is a position behind a checksum that also covers which list it is for.
// The position is an id that the reader has seen, so there is nothing to hide; the
// checksum makes whatever was altered a clear error and not another page.
const checksumLength = 6

func (w window) seal(position string) string {
	sum := sha256.Sum256([]byte("cursor\x00" + w.list + "\x00" + position))
	return base64.RawURLEncoding.EncodeToString(append(sum[:checksumLength:checksumLength], position...))
}

func (w window) open(cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(cursor) > 256 || len(raw) <= checksumLength || w.seal(string(raw[checksumLength:])) != cursor {
		return "", errCursor
	}
	return string(raw[checksumLength:]), nil
}

// page cuts rows, of which one more than the limit was read, to a page. position
// returns what a cursor holds of a row.
func pageOf[R, T any](w window, rows []R, position func(*R) string, view func(*R) T) list[T] {
	out := list[T]{Items: []T{}}
	if len(rows) > w.limit {
		rows = rows[:w.limit]
		out.Next = w.seal(strings.Clone(position(&rows[w.limit-1])))
	}
	for i := range rows {
		out.Items = append(out.Items, view(&rows[i]))
	}
	return out
}
