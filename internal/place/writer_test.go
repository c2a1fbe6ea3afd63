package place

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// An entry is a network and the record of it: maps, texts and numbers.
type entry struct {
	network string
	record  map[string]any
}

// A table is the search tree of a database under construction. A side of a node is
// another node (above 0), a record (below 0) or nothing.
type table struct {
	nodes   [][2]int
	records []map[string]any
}

// write makes a database by the format's specification (version 2.0): 24 bits a side,
// IPv4 below ::/96.
func write(t *testing.T, path, kind string, entries ...entry) {
	t.Helper()
	b := &table{nodes: make([][2]int, 1)}
	for _, e := range entries {
		b.add(netip.MustParsePrefix(e.network), e.record)
	}
	var section []byte
	offsets := make([]int, len(b.records))
	for i, r := range b.records {
		offsets[i] = len(section)
		section = encode(section, r)
	}
	const between = 16
	var file []byte
	for _, node := range b.nodes {
		for _, side := range node {
			value := len(b.nodes) // nothing
			switch {
			case side > 0:
				value = side
			case side < 0:
				value = len(b.nodes) + between + offsets[-side-1]
			}
			file = append(file, byte(value>>16), byte(value>>8), byte(value))
		}
	}
	file = append(append(file, make([]byte, between)...), section...)
	file = append(file, "\xab\xcd\xefMaxMind.com"...)
	file = encode(file, map[string]any{
		"node_count": uint32(len(b.nodes)), "record_size": uint16(24), "ip_version": uint16(6), "database_type": kind,
		"binary_format_major_version": uint16(2), "binary_format_minor_version": uint16(0), "build_epoch": uint64(1),
	})
	fresh := filepath.Join(t.TempDir(), "fresh")
	if err := os.WriteFile(fresh, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, path); err != nil {
		t.Fatal(err)
	}
}

func (b *table) add(network netip.Prefix, r map[string]any) {
	bits := network.Bits()
	address := network.Addr().As16()
	if network.Addr().Is4() {
		bits += 96
		address = netip.AddrFrom16([16]byte(append(make([]byte, 12), network.Addr().AsSlice()...))).As16()
	}
	b.records = append(b.records, r)
	at := 0
	for i := range bits {
		side := address[i/8] >> (7 - i%8) & 1
		switch {
		case i == bits-1:
			b.nodes[at][side] = -len(b.records)
		case b.nodes[at][side] == 0:
			b.nodes = append(b.nodes, [2]int{})
			b.nodes[at][side] = len(b.nodes) - 1
			fallthrough
		default:
			at = b.nodes[at][side]
		}
	}
}

// encode appends a value: its type and size, and what it is.
func encode(to []byte, value any) []byte {
	control := func(kind, size int) {
		extended := kind > 7
		first := kind << 5
		if extended {
			first = 0
		}
		long := size >= 29
		if long {
			first |= 29
		} else {
			first |= size
		}
		to = append(to, byte(first))
		if extended {
			to = append(to, byte(kind-7))
		}
		if long {
			to = append(to, byte(size-29))
		}
	}
	switch v := value.(type) {
	case string:
		control(2, len(v))
		to = append(to, v...)
	case uint16:
		control(5, 2)
		to = binary.BigEndian.AppendUint16(to, v)
	case uint32:
		control(6, 4)
		to = binary.BigEndian.AppendUint32(to, v)
	case uint64:
		control(9, 8)
		to = binary.BigEndian.AppendUint64(to, v)
	case map[string]any:
		control(7, len(v))
		var names []string
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			to = encode(encode(to, name), v[name])
		}
	}
	return to
}

// names is a part of a record that has names: language and name, in turn.
func names(pairs ...string) map[string]any {
	of := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		of[pairs[i]] = pairs[i+1]
	}
	return map[string]any{"names": of}
}
