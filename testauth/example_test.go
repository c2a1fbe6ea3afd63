package testauth_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"

	"github.com/coatcheck/coatcheck"
	"github.com/coatcheck/coatcheck/testauth"
)

// orders is the service under test.
func orders(v *coatcheck.Verifier) http.Handler {
	return v.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintln(w, "two coats and a hat")
	}), coatcheck.Scope("read"))
}

func Example() {
	t := &exampleTest{} // in a test: func TestOrders(t *testing.T)
	defer t.end()

	auth := testauth.New(t)
	service := orders(auth.Verifier("orders"))
	ada := auth.SignInFor("ada@example.com", "orders", "read")

	call := func() int {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer "+ada.AccessToken)
		w := httptest.NewRecorder()
		service.ServeHTTP(w, r)
		return w.Code
	}
	fmt.Println("signed in:", call())

	caller, err := auth.Verifier("orders").Verify(t.Context(), ada.AccessToken)
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	auth.End(ada.SessionID)
	<-caller.Done() // a verifier hears of an end within milliseconds
	fmt.Println("same person:", caller.UserID == ada.UserID)
	// Output:
	// signed in: 200
	// same person: true
}

func ExampleServer_SignIn() {
	t := &exampleTest{}
	defer t.end()

	auth := testauth.New(t)
	ada := auth.SignIn("ada@example.com")
	r, err := http.NewRequest(http.MethodGet, auth.URL+"/v1/session", nil)
	if err != nil {
		t.Fatalf("request: %v", err)
	}
	r.AddCookie(ada.Cookie)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatalf("request: %v", err)
	}
	defer answer.Body.Close()
	fmt.Println(answer.Status)
	// Output: 200 OK
}

// exampleTest stands in for the *testing.T that an example does not have.
type exampleTest struct {
	cleanups []func()
}

func (t *exampleTest) Helper() {}
func (t *exampleTest) Fatalf(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
	os.Exit(1)
}
func (t *exampleTest) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func (t *exampleTest) Cleanup(f func())         { t.cleanups = append(t.cleanups, f) }
func (t *exampleTest) Output() io.Writer        { return os.Stderr }
func (t *exampleTest) Context() context.Context { return context.Background() }

func (t *exampleTest) TempDir() string {
	dir, err := os.MkdirTemp("", "testauth")
	if err != nil {
		t.Fatalf("temporary folder: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (t *exampleTest) end() {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
}
