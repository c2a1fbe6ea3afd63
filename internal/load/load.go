// Package load plays the many clients of a server, so cheaply that what is measured
// is the server: thousands of readers of its revocation stream in one process, and
// tens of thousands in several.
//
// It measures and counts; it never judges what is fast enough.
package load
