// Package interop holds what others' programs prove about the provider: strict clients
// that nobody here wrote sign people in through the running binary, another provider is
// asked what ours is asked, and the modules of the OpenID conformance lists are told
// again, each as a test of its name.
//
// It is a module of its own, so that nobody who imports ours gets what it needs.
package interop
