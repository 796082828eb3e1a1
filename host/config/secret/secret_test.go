package secret_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pluginhost/host/host/config/secret"
)

func TestHide(t *testing.T) {
	const key = "-----BEGIN KEY-----\nMIIBOgIBAAJBAKj34GkxFhD90vcNLYLInFEX\n-----END KEY-----\n"
	var s secret.Set
	if got := s.Hide("nothing is secret yet"); got != "nothing is secret yet" {
		t.Error(got)
	}
	s.Add("  hunter-two ", "hunter-two-and-more", `a "quoted" <one>`, "short", key)
	quoted, _ := json.Marshal(`a "quoted" <one>`)
	for text, want := range map[string]string{
		"it is hunter-two.":                               "it is (secret).",
		"hunter-two-and-more":                             "(secret)",
		"hunter-twohunter-two-and-more":                   "(secret)(secret)",
		"short stays":                                     "short stays",
		`say a "quoted" <one> now`:                        "say (secret) now",
		"Go: " + strconv.Quote(`a "quoted" <one>`):        `Go: "(secret)"`,
		"JSON: " + string(quoted):                         `JSON: "(secret)"`,
		"k: MIIBOgIBAAJBAKj34GkxFhD90vcNLYLInFEX, a line": "k: (secret), a line",
		key: "(secret)", "": "", "(secret)": "(secret)",
	} {
		if got := s.Hide(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := s.Mask("x = hunter-two # ä"); got != "x = ********** # ä" {
		t.Error(got)
	}
}

// However many secrets there are, no more than a fixed number is looked for, the
// newest; one file of many lines does not drive out the others.
func TestSetIsBounded(t *testing.T) {
	var s secret.Set
	for n := range 10_000 {
		s.Add(fmt.Sprintf("secret-number-%d;", n))
	}
	if n := len(s.Values()); n > 4096 {
		t.Errorf("%d are known", n)
	}
	if got := s.Hide("secret-number-9999; secret-number-1;"); got != "(secret) secret-number-1;" {
		t.Error(got)
	}
	s.Add(strings.Repeat("one of many lines of a large file\n", 1)+strings.Repeat("x", 100<<10), manyLines(5000))
	if got := s.Hide("secret-number-9999;"); got != "(secret)" {
		t.Errorf("%s after a file of many lines", got)
	}
}

func manyLines(n int) string {
	var b strings.Builder
	for n := range n {
		_, _ = fmt.Fprintf(&b, "a line of a large file, number %d\n", n)
	}
	return b.String()
}

// What is looked through costs what it is long, not that times the secrets.
func TestHideIsCheap(t *testing.T) {
	var s secret.Set
	for n := range 4096 {
		s.Add(fmt.Sprintf("%d-secret-of-many", n))
	}
	line := strings.Repeat("a line of a log that says nothing, ", 500)
	start := time.Now()
	for range 1000 {
		s.Hide(line)
	}
	took := time.Since(start)
	t.Logf("%v for %d KiB, %d secrets", took/1000, len(line)>>10, len(s.Values()))
	if took > time.Minute {
		t.Errorf("%v for a thousand lines", took)
	}
}
