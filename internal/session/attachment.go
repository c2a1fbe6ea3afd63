package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// MaxAttachment is the most bytes of JSON that an application may keep with a
// session.
const MaxAttachment = 16 << 10

// Attachment returns the JSON that the application keeps with a session, and its version, which starts at 0
// with an empty object.
func (m *Manager) Attachment(ctx context.Context, sessionID string) ([]byte, int64, error) {
	document, version, err := m.attach.Attachment(ctx, sessionID)
	if err != nil {
		return nil, 0, unavailable("read an attachment", err)
	}
	if document == nil {
		document = []byte("{}")
	}
	return document, version, nil
}

// Attach puts document, which is JSON, in the place of the one at version.
// ErrVersionChanged if that is no longer the one, ErrTooBig above MaxAttachment.
func (m *Manager) Attach(ctx context.Context, sessionID string, document []byte, version int64) (int64, error) {
	if len(document) > MaxAttachment {
		return 0, ErrTooBig
	}
	next, err := m.attach.SwapAttachment(ctx, sessionID, document, version)
	switch {
	case errors.Is(err, ErrLost):
		return 0, ErrVersionChanged
	case errors.Is(err, ErrNone):
		return 0, ErrEnded
	case err != nil:
		return 0, unavailable("write an attachment", err)
	}
	return next, nil
}

// MergeAttachment applies a JSON merge patch (RFC 7396) to whatever is there, as
// often as it takes. With a version it applies to that one alone.
func (m *Manager) MergeAttachment(ctx context.Context, sessionID string, patch []byte, version *int64) ([]byte, int64, error) {
	for range attempts {
		document, at, err := m.Attachment(ctx, sessionID)
		if err != nil {
			return nil, 0, err
		}
		if version != nil && *version != at {
			return nil, 0, ErrVersionChanged
		}
		merged, err := mergePatch(document, patch)
		if err != nil {
			return nil, 0, err
		}
		next, err := m.Attach(ctx, sessionID, merged, at)
		if !errors.Is(err, ErrVersionChanged) || version != nil {
			return merged, next, err
		}
	}
	return nil, 0, ErrVersionChanged
}

func mergePatch(document, patch []byte) ([]byte, error) {
	target, err := decode(document)
	if err != nil {
		return nil, fmt.Errorf("read an attachment: %w", err)
	}
	change, err := decode(patch)
	if err != nil {
		return nil, fmt.Errorf("read a merge patch: %w", err)
	}
	merged, err := json.Marshal(merge(target, change))
	if err != nil {
		return nil, fmt.Errorf("write an attachment: %w", err)
	}
	return merged, nil
}

// decode keeps numbers as they are written, so that a patch of one member rounds no
// other.
func decode(text []byte) (document any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	err = d.Decode(&document)
	return document, err
}

func merge(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	object, ok := target.(map[string]any)
	if !ok {
		object = map[string]any{}
	}
	for name, value := range changes {
		if value == nil {
			delete(object, name)
		} else {
			object[name] = merge(object[name], value)
		}
	}
	return object
}
