package wire

import (
	"strings"
	"testing"
)

func TestTraceContext(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, c := range []struct{ parent, state, wantParent, wantState string }{
		{good, "", good, ""},
		{good, "vendor=1,other=2", good, "vendor=1,other=2"},
		{good, strings.Repeat("a", 512), good, strings.Repeat("a", 512)},
		{good, strings.Repeat("a", 513), good, ""},
		{good, "a=1\nb=2", good, ""},
		{good, "a=\x1b[31m", good, ""},
		{good, "a=ü", good, ""},
		{"", "vendor=1", "", ""},
		{"00-1-2-03", "vendor=1", "", ""},
		{strings.ToUpper(good), "", "", ""},
		{good + "-more", "", "", ""},
		{good[:54], "", "", ""},
		{good[:54] + "\n", "", "", ""},
		{"ff" + good[2:], "", "", ""},
		{"00-" + strings.Repeat("0", 32) + good[35:], "", "", ""},
		{good[:36] + strings.Repeat("0", 16) + good[52:], "", "", ""},
		{strings.ReplaceAll(good, "-", "_"), "", "", ""},
		{good[:10] + "\x00" + good[11:], "", "", ""},
		{"cc" + good[2:], "", "cc" + good[2:], ""},
	} {
		if parent, state := TraceContext(c.parent, c.state); parent != c.wantParent || state != c.wantState {
			t.Errorf("%q, %q: %q, %q; want %q, %q", c.parent, c.state, parent, state, c.wantParent, c.wantState)
		}
	}
}
