// Package browser holds tests that use the server as people do: the binary as it is
// shipped, mails that go through SMTP, and Chromium in front.
//
// The Go tests start the world (world_test.go) and name the scenarios; what a person
// does in one is told in the .mjs files, in Node with playwright-core. The tests need
// Node 20, npm and Debian's Chromium: one that cannot run fails.
package browser
