package launch

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// logLines logs each line that is written to it: what a plugin prints with fmt
// after go-plugin has taken over its standard output.
type logLines struct {
	log  hclog.Logger
	what string
	rest []byte
}

func newLogLines(log hclog.Logger, what string) *logLines { return &logLines{log: log, what: what} }

// Write is called by one goroutine of go-plugin.
func (l *logLines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		n := bytes.IndexByte(l.rest, '\n')
		if n < 0 && len(l.rest) < maxLogMessage {
			return len(p), nil
		}
		if n < 0 {
			n = len(l.rest) - 1
		}
		if line := strings.TrimSpace(string(l.rest[:n+1])); line != "" {
			l.log.Info(clean(line, maxLogMessage), "printed_on", l.what)
		}
		l.rest = append(l.rest[:0], l.rest[n+1:]...)
	}
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
