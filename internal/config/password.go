package config

// HoldsPassword reports whether the address of a database has a password in it, or may
// have: such an address belongs into the environment or a file, and never into a flag.
func HoldsPassword(database string) bool { return holdsPassword(database) }
