//go:build drill

package sqlstore

import "runtime"

// holdThread keeps the writer's goroutine on one thread of the operating system, so
// that whoever injects faults by thread counts all writes and fsyncs of the database,
// and no others.
func holdThread() { runtime.LockOSThread() }
