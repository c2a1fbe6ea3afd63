package web

import (
	"reflect"
	"strings"
	"time"
)

// schemas are the JSON Schemas (2020-12) of the Go types that go over the wire,
// each under the name of its type.
type schemas struct {
	named object
	seen  map[reflect.Type]string
}

func newSchemas() *schemas {
	return &schemas{named: object{}, seen: map[reflect.Type]string{}}
}

func reference(name string) object { return object{"$ref": "#/components/schemas/" + name} }

// of returns the schema of a value's type. A strict one has no other members than
// those named, as is so for the JSON bodies that we read.
func (s *schemas) of(value any, strict bool) object {
	return s.ofType(reflect.TypeOf(value), strict)
}

var timeType = reflect.TypeFor[time.Time]()

func (s *schemas) ofType(t reflect.Type, strict bool) object {
	switch {
	case t == timeType:
		return object{"type": "string", "format": "date-time"}
	case t.Kind() == reflect.Pointer:
		return s.ofType(t.Elem(), strict)
	}
	switch t.Kind() {
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer"}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 { // JSON as it came
			return object{}
		}
		return object{"type": "array", "items": s.ofType(t.Elem(), strict)}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.ofType(t.Elem(), strict)}
	case reflect.Struct:
		return s.ofStruct(t, strict)
	}
	return object{}
}

func (s *schemas) ofStruct(t reflect.Type, strict bool) object {
	name, known := s.seen[t]
	if !known {
		name = schemaName(t.Name())
		s.seen[t] = name
		out := object{"type": "object"}
		properties, required := object{}, []string{}
		s.fields(t, strict, properties, &required)
		out["properties"] = properties
		if len(required) > 0 {
			out["required"] = required
		}
		if strict {
			out["additionalProperties"] = false
		}
		s.named[name] = out
	}
	return reference(name)
}

// fields adds the members of a struct, those of embedded ones among them.
func (s *schemas) fields(t reflect.Type, strict bool, properties object, required *[]string) {
	for i := range t.NumField() {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && name == "" {
			s.fields(field.Type, strict, properties, required)
			continue
		}
		if name == "" || name == "-" {
			continue
		}
		schema := s.ofType(field.Type, strict)
		if about := field.Tag.Get("about"); about != "" {
			schema["description"] = about
		}
		properties[name] = schema
		if !strings.Contains(options, "omitzero") && !strings.Contains(options, "omitempty") {
			*required = append(*required, name)
		}
	}
}

// schemaName makes "adminUser" AdminUser, and a list of them ListOfAdminUser.
func schemaName(name string) string {
	outer, inner, generic := strings.Cut(name, "[")
	outer = strings.ToUpper(outer[:1]) + outer[1:]
	if !generic {
		return outer
	}
	inner = strings.TrimSuffix(inner, "]")
	return outer + "Of" + schemaName(inner[strings.LastIndex(inner, ".")+1:])
}
