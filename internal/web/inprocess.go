package web

import (
	"context"

	"github.com/coatcheck/coatcheck/internal/account"
)

type inProcessKey struct{}

// InProcess marks the requests of the program that the server is part of. They need no
// API key for introspection and the stream; administration still does. Nothing that
// comes by a network is ever marked: the mark is a value of the context alone.
func InProcess(ctx context.Context) context.Context {
	return context.WithValue(ctx, inProcessKey{}, true)
}

// ownKey is whom an unkeyed request of our own program counts as.
func ownKey(x *exchange) (account.APIKey, bool) {
	if x.Context().Value(inProcessKey{}) == nil || x.route.scope == account.ScopeAdmin {
		return account.APIKey{}, false
	}
	return account.APIKey{Name: "in process", Scopes: []string{x.route.scope}}, true
}
