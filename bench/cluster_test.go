package main

import "testing"

func TestDatabaseOfABackend(t *testing.T) {
	for title, want := range map[string]bool{
		"postgres: postgres idle [local] idle\x00":          true,
		"postgres: postgres idle 127.0.0.1(4711) SELECT":    true,
		"postgres: postgres other [local] idle":             false,
		"postgres: checkpointer ":                           false,
		"postgres: idle other [local] idle":                 false,
		"/usr/lib/postgresql/15/bin/postgres\x00-D\x00idle": false,
		"": false,
	} {
		if got := databaseOf(title, "idle"); got != want {
			t.Errorf("%q: %v", title, got)
		}
	}
}
