package web

import "strconv"

// A Row is what tests outside of the package see of a route.
type Row struct {
	Pattern  string // as http.ServeMux takes it
	Method   string
	Path     string
	Who      string   // "anyone", "holder", "apikey", "client", "client or apikey" or "grantee"
	Scope    string   // of the API key or the access token
	Statuses []string // of success
	Page     bool
	Foreign  bool // forms of other sites may call it
}

// Rows returns the table of routes.
func Rows() []Row {
	rows := make([]Row, len(routes))
	for i, rt := range routes {
		rows[i] = Row{
			Pattern: rt.method + " " + rt.path, Method: rt.method, Path: rt.path, Page: rt.class == page, Foreign: rt.foreign,
			Who: map[who]string{anyone: "anyone", holder: "holder", apiKey: "apikey", client: "client", clientOrKey: "client or apikey", grantee: "grantee"}[rt.who], Scope: rt.scope,
		}
		for _, status := range append([]int{rt.status}, rt.also...) {
			rows[i].Statuses = append(rows[i].Statuses, strconv.Itoa(status))
		}
	}
	return rows
}

// Codes returns the code of every fault that can leave the server, once each.
func Codes() []string {
	var codes []string
	known := map[string]bool{}
	for _, f := range failures {
		if !known[f.Code] {
			known[f.Code] = true
			codes = append(codes, f.Code)
		}
	}
	return codes
}

// OpenAPI returns the OpenAPI document of an issuer.
func OpenAPI(issuer string) ([]byte, error) { return describeAPI(issuer, "__Host-coatcheck", "test") }

// A Failure is what the outside sees of a fault.
type Failure struct {
	Code     string
	Status   int
	Sentence string
}

// Faults returns every fault that can leave the server, once for each code. Of
// several with one code the first gives the sentence.
func Faults() []Failure {
	var out []Failure
	known := map[string]bool{}
	for _, f := range failures {
		if !known[f.Code] {
			known[f.Code] = true
			out = append(out, Failure{Code: f.Code, Status: statuses[f.Kind], Sentence: f.Sentence})
		}
	}
	return out
}
