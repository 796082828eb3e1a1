package report

import (
	"encoding/json"
	"strings"
)

// readable returns JSON as people write it, with <, > and & as they are, and
// any other text as it is.
func readable(text string) string {
	if !strings.Contains(text, `\u00`) {
		return text
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil || d.More() {
		return text
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return text
	}
	return strings.TrimSuffix(b.String(), "\n")
}
