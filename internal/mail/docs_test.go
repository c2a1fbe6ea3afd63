package mail

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// docs/mail.md tells what is so: the numbers, and all that templates see.
func TestTheDocsSayWhatIsSo(t *testing.T) {
	text, err := os.ReadFile("../../docs/mail.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, said := range []string{
		fmt.Sprintf("the last %d can be read at `/dev/mail`", shown),
		fmt.Sprintf("tried again after %d seconds, then twice as long each time up to an hour", firstWait/time.Second),
		fmt.Sprintf("up to %d minutes, so that all that waits", longestWaitAway/time.Minute),
		fmt.Sprintf("any other after %d days", Worth/(24*time.Hour)),
		fmt.Sprintf("kept with its address for %d days, counted", keepDead/(24*time.Hour)),
	} {
		if !strings.Contains(string(text), said) {
			t.Errorf("docs/mail.md does not say %q", said)
		}
	}
	if longestWait != time.Hour {
		t.Errorf("the longest wait is %s, and docs/mail.md says an hour", longestWait)
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[view]()) {
		if field.IsExported() && !strings.Contains(string(text), "`."+field.Name+"`") {
			t.Errorf("docs/mail.md does not tell of .%s", field.Name)
		}
	}
}
