package web

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/session"
)

// An exchange is one request on its way through: what every handler needs to know
// of it, found out once.
type exchange struct {
	http.ResponseWriter
	*http.Request
	route      *route
	arrived    time.Time
	holder     session.Holder // where the route asks for one
	key        account.APIKey // where the route asks for one
	client     *oauth.Client  // likewise
	parameters url.Values     // what that sent
	form       url.Values     // once it was read
	status     int            // as it was written; 0: not yet

	server      *Server
	asClient    bool          // who asks is told as its protocol wants it, on a route that others call, too
	locales     string        // languages that an application asks for, in the words of OpenID Connect
	application string        // its name
	refused     string        // what a page that refuses the request shows of it, for developers
	id          [1]string     // of the request, as a header holds it
	said        [3]string     // room for headers that name the holder
	origin      *audit.Origin // once somebody has asked
}

// Header returns the header of the answer; the request's is x.Request.Header.
func (x *exchange) Header() http.Header { return x.ResponseWriter.Header() }

// WriteHeader notes the status for the log and the metrics.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write answers 200 unless a status was written.
func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	return x.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// from returns where the request comes from.
func (x *exchange) from() audit.Origin {
	if x.origin == nil {
		x.origin = &audit.Origin{
			IP: clientAddress(x.Request, x.server.config.Proxies), UserAgent: x.UserAgent(), RequestID: x.id[0],
			Language: languageOf(x.Request),
		}
	}
	return *x.origin
}

// longestLanguage bounds what is kept of an Accept-Language header.
const longestLanguage = 128

// languageOf returns what the person reads, as the browser says it; "" if it says
// nothing, or more than anyone can read.
func languageOf(r *http.Request) string {
	said := r.Header.Get("Accept-Language")
	if len(said) > longestLanguage {
		return ""
	}
	return said
}

// requestID takes over a proxy's id if it is short and plain, else makes one.
func (s *Server) requestID(r *http.Request) string {
	if given := r.Header["X-Request-Id"]; len(given) > 0 && plain(given[0]) {
		return given[0]
	}
	return s.requests.next()
}

func plain(id string) bool {
	if len(id) < 8 || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// requestIDs never repeat: 64 random bits that are drawn once, and a count. An id is
// no secret, and whoever has one may guess the next. It is safe for concurrent use.
type requestIDs struct {
	prefix [8]byte
	count  atomic.Uint64
}

func newRequestIDs() *requestIDs {
	ids := &requestIDs{}
	_, _ = rand.Read(ids.prefix[:]) // never fails: crypto/rand.Read ends the program instead
	return ids
}

// next returns 20 characters: of the count 56 bits, which no process lives to use up.
func (ids *requestIDs) next() string {
	var id [15]byte
	var count [8]byte
	binary.BigEndian.PutUint64(count[:], ids.count.Add(1))
	copy(id[:], ids.prefix[:])
	copy(id[len(ids.prefix):], count[1:])
	var text [20]byte
	base64.RawURLEncoding.Encode(text[:], id[:])
	return string(text[:])
}
