package wire

import "strings"

// maxTracestate is the longest trace state that is carried, in bytes: what the
// W3C wants everybody to carry at least.
const maxTracestate = 512

// TraceContext returns a W3C trace context as it may be carried on: both empty
// when parent is not well-formed, and without a state that is too long or has
// anything but printable ASCII. It comes from strangers, and ends in headers,
// environments and logs. See https://www.w3.org/TR/trace-context/.
func TraceContext(parent, state string) (traceparent, tracestate string) {
	if !traced(parent) {
		return "", ""
	}
	if len(state) > maxTracestate || strings.ContainsFunc(state, func(c rune) bool { return c < ' ' || c > '~' }) {
		state = ""
	}
	return parent, state
}

// traced reports whether s is version-trace-parent-flags, in lower-case
// hexadecimal. What may follow that in
// later versions is refused, since nothing says yet what it means.
func traced(s string) bool {
	if len(s) != 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	version, trace, parent, flags := s[:2], s[3:35], s[36:52], s[53:]
	for _, part := range []string{version, trace, parent, flags} {
		if strings.Trim(part, "0123456789abcdef") != "" {
			return false
		}
	}
	return version != "ff" && strings.Trim(trace, "0") != "" && strings.Trim(parent, "0") != ""
}
