package field

// Names are the strings that come again and again, so that reading them
// allocates once.
type Names struct {
	known map[string]string
	last  [16]string // of them, those that came last, by field
}

// maxNames bounds the strings that are remembered, and maxName each.
const (
	maxNames = 512
	maxName  = 128
)

// Text reads a string that probably came before, most often in a field of the
// same tag. It reports false when it is not UTF-8.
func (n *Names) Text(tag uint64, b []byte) (string, bool) {
	last := &n.last[tag>>3&15]
	if *last == string(b) {
		return *last, true
	}
	s, ok := n.known[string(b)]
	if !ok {
		if s, ok = Text(b); !ok {
			return s, false
		}
		if len(b) > maxName {
			return s, true
		}
		if n.known == nil || len(n.known) == maxNames {
			n.known = map[string]string{}
		}
		n.known[s] = s
	}
	*last = s
	return s, true
}
