// Package wycheproof holds the keys of package jwt to the signature vectors of
// Project Wycheproof. It is a module of its own, so that nobody else downloads
// them; its go.sum says which bytes they are, and nothing of them is kept here.
package wycheproof
