package main

import "net/http"

// A candidate is one way to know who is calling, in front of the same answer.
type candidate struct {
	name    string // as -only takes it, and of its file of credentials
	label   string // in the table, with the version of module after it
	runtime string // "Go" or "Node"
	module  string // whose version is told; empty: none
	bare    bool   // checks nobody, and is what the others of its runtime are compared with
	ended   string // when a session or token that was ended is refused; "measured" for ours
	// handler makes the whole of a Go candidate from what lies in the folder, and
	// leaves its credentials there if nobody else has. Those on Node are in
	// node/server.js.
	handler func(shelf) (http.Handler, error)
}

const (
	onGo   = "Go"
	onNode = "Node"

	measured     = "measured"
	atTheNext    = "at the next request, which asks the store"
	afterExpiry  = "when the token expires, not before"
	nothingEnded = "nobody is checked"
)

// candidates are all there are, in the order of the table.
var candidates = []candidate{
	{name: "bare", label: "nothing: the bare handler", runtime: onGo, bare: true, ended: nothingEnded, handler: bare},
	{name: "floor", label: "the least a session check does: cookie, SHA-256, one map", runtime: onGo, ended: "at the next request, of this process alone", handler: floor},
	{name: "coatcheck-token", label: "**Coatcheck's verifier, access token**", runtime: onGo, ended: measured, handler: coatcheckVerifier},
	{name: "coatcheck-cookie", label: "**Coatcheck's verifier, session cookie**", runtime: onGo, ended: measured, handler: coatcheckVerifier},
	{name: "golang-jwt-eddsa", label: "golang-jwt, EdDSA", runtime: onGo, module: "github.com/golang-jwt/jwt/v5", ended: afterExpiry, handler: golangJWT("EdDSA")},
	{name: "golang-jwt-es256", label: "golang-jwt, ES256", runtime: onGo, module: "github.com/golang-jwt/jwt/v5", ended: afterExpiry, handler: golangJWT("ES256")},
	{name: "scs-memory", label: "scs, sessions in memory", runtime: onGo, module: "github.com/alexedwards/scs/v2", ended: "at the next request, of this process alone", handler: scsMemory},
	{name: "scs-redis", label: "scs, sessions in Redis", runtime: onGo, module: "github.com/alexedwards/scs/v2", ended: atTheNext, handler: scsRedis},
	{name: "express", label: "nothing: Express alone", runtime: onNode, module: "express", bare: true, ended: nothingEnded},
	{name: "express-session", label: "express-session, sessions in Redis", runtime: onNode, module: "express-session", ended: atTheNext},
	{name: "express-jwt-es256", label: "express-jwt, ES256", runtime: onNode, module: "express-jwt", ended: afterExpiry},
	{name: "express-jwt-rs256", label: "express-jwt, RS256", runtime: onNode, module: "express-jwt", ended: afterExpiry},
}
