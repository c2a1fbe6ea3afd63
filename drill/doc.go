// Package drill breaks things on purpose: it runs the server as people run it, as a
// process, takes its disk, its network and its life away at the worst moments, and
// holds what clients then see to what was promised.
//
// The drills need Linux, root, strace and prlimit: one that cannot run fails. "make
// test" runs them small, "make drill" at their full size.
package drill
