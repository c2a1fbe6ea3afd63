package place_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/place"
)

// A whole server names places where people see them: among the devices, in the security
// activity, and in mails, each in the language of the reader.
func TestServerNamesPlaces(t *testing.T) {
	dir := t.TempDir()
	database := filepath.Join(dir, "places.mmdb")
	place.Write(t, database, "GeoLite2-City", place.NewEntry("192.0.2.0/24", map[string]any{
		"city": place.Names("en", "Munich", "de", "München"), "country": place.Names("en", "Germany", "de", "Deutschland", "fr", "Allemagne"),
	}))
	c, err := app.Configure(map[string]string{
		"database": "sqlite:" + filepath.Join(dir, "test.db"), "geo.database": database, "proxies": "127.0.0.1/32",
	})
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(t.Context(), app.Options{Config: c, Hash: &account.HashParameters{MemoryKiB: 64, Time: 1, Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	call := func(method, path, body, language, bearer string) (answer struct {
		Tokens struct {
			Access string `json:"access_token"`
		}
		Items []struct{ Place, IP, Key string }
	},
	) {
		t.Helper()
		r := httptest.NewRequest(method, "http://localhost:8080"+path, strings.NewReader(body))
		r.RemoteAddr = "127.0.0.1:50000"
		for name, value := range map[string]string{
			"Content-Type": "application/json", "X-Forwarded-For": "192.0.2.130", "Accept-Language": language, "User-Agent": "curl/8.0",
		} {
			r.Header.Set(name, value)
		}
		if bearer != "" {
			r.Header.Set("Authorization", "Bearer "+bearer)
		}
		w := httptest.NewRecorder()
		a.Handler().ServeHTTP(w, r)
		if w.Code >= http.StatusBadRequest {
			t.Fatalf("%s %s is %d: %s", method, path, w.Code, w.Body)
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	who := `{"email":"ada@example.com","password":"correct horse battery","transport":"token"`
	call("POST", "/v1/sign-up", who+`}`, "", "")
	token := call("POST", "/v1/sign-in", who+`,"device":"Ada's phone"}`, "de-CH, en;q=0.5", "").Tokens.Access
	for _, path := range []string{"/v1/sessions", "/v1/user/activity"} {
		for language, want := range map[string]string{"": "Munich, Germany", "de": "München, Deutschland", "fr": "Munich, Germany"} {
			items := call("GET", path, "", language, token).Items
			if len(items) == 0 || items[0].Place != want || items[0].IP != "192.0.2.130" {
				t.Errorf("%s in %q is %+v, want %s", path, language, items, want)
			}
		}
	}
	letters, _, err := a.Store.Claim(t.Context(), "test", time.Minute, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range letters {
		if l.Kind == mail.NewDevice {
			if l.Values["place"] != "München, Deutschland" || l.Values["ip"] != "" {
				t.Errorf("the mail says %v", l.Values)
			}
			return
		}
	}
	t.Errorf("nobody was told: %v", letters)
}

// The doctor says that it is good, and how old it is.
func TestDoctorLooksAtTheDatabase(t *testing.T) {
	dir := t.TempDir()
	database := filepath.Join(dir, "places.mmdb")
	place.Write(t, database, "GeoLite2-Country", place.NewEntry("192.0.2.0/24", map[string]any{"country": place.Names("en", "Germany")}))
	c, err := app.Configure(map[string]string{"database": "sqlite:" + filepath.Join(dir, "test.db"), "geo.database": database})
	if err != nil {
		t.Fatal(err)
	}
	for age, want := range map[time.Duration]app.Level{time.Hour: app.Fine, 100 * 24 * time.Hour: app.Note} {
		now := func() time.Time { return time.Unix(1, 0).Add(age) }
		found := app.Examine(t.Context(), c, now, &http.Client{Timeout: time.Millisecond})
		i := slices.IndexFunc(found, func(f app.Finding) bool { return f.Check == "geo" })
		if i < 0 || found[i].Level != want || !strings.Contains(found[i].What, database) {
			t.Errorf("after %s: %+v, want %s", age, found, want)
		}
	}
}
