package place

// What the test of a whole server makes a database with.
type Entry = entry

var (
	Write = write
	Names = names
)

// NewEntry returns a network with its record.
func NewEntry(network string, record map[string]any) Entry { return Entry{network, record} }
