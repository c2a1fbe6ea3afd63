package web

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
)

// Request ids never repeat, within a process and between two, and are such as we would
// take over from a proxy.
func TestRequestIDsNeverRepeat(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]bool{}
	var all sync.WaitGroup
	for _, ids := range []*requestIDs{newRequestIDs(), newRequestIDs()} {
		for range 4 {
			all.Go(func() {
				for range 1000 {
					id := ids.next()
					mu.Lock()
					if seen[id] || !plain(id) {
						t.Errorf("%q was made twice, or is not plain", id)
					}
					seen[id] = true
					mu.Unlock()
				}
			})
		}
	}
	all.Wait()
}

// The shared headers of one answer cannot be changed through another.
func TestAnswersDoNotShareWhatTheyChange(t *testing.T) {
	s := &Server{config: Config{PublicURL: &url.URL{Scheme: "https", Host: "auth.example.com"}}}
	first := &exchange{ResponseWriter: httptest.NewRecorder(), Request: httptest.NewRequest(http.MethodGet, "/", nil), route: &route{class: api}}
	s.dress(first)
	first.Header().Set("Cache-Control", "public")
	first.Header().Add("Vary", "Accept")
	second := &exchange{ResponseWriter: httptest.NewRecorder(), Request: first.Request, route: first.route}
	s.dress(second)
	if h := second.Header(); h.Get("Cache-Control") != "no-store" || len(h.Values("Vary")) != 1 {
		t.Errorf("the second answer has %v", h)
	}
}
