//go:build !drill

package sqlstore

// holdThread does nothing: the writer's goroutine runs on any thread.
func holdThread() {}
