package launch

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Bounds of what a process writes to its standard error.
const (
	tailLines     = 20
	tailLine      = 512  // bytes
	linesASecond  = 1000 // logged; the rest is counted
	maxLogMessage = 8 << 10
)

// stderr reads a process's standard error: lines of hclog keep their level and
// fields, others are logged as they are. go-plugin never sees them.
type stderr struct {
	log   hclog.Logger
	quiet bool
	hide  func(string) string

	mu   sync.Mutex
	last []string // ring of the last lines, oldest first

	second  int64 // of the count
	count   int
	dropped int
}

func newStderr(log hclog.Logger, quiet bool, hide func(string) string) *stderr {
	return &stderr{log: log, quiet: quiet, hide: hide}
}

func (s *stderr) read(from io.Reader) {
	r := bufio.NewReaderSize(from, 16<<10)
	skip := false // the rest of a line that was too long
	for {
		b, err := r.ReadSlice('\n')
		if !skip && len(b) > 0 {
			s.take(strings.TrimRight(string(b), "\r\n"))
		}
		skip = errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !skip {
			return
		}
	}
}

func (s *stderr) take(line string) {
	if line == "" {
		return
	}
	line = s.hide(line) // before it is parsed, quoted or cut
	e, structured := parseLog(line)
	shown := line
	if structured {
		shown = e.text
	}
	s.mu.Lock()
	if len(s.last) == tailLines {
		s.last = append(s.last[:0], s.last[1:]...)
	}
	s.last = append(s.last, clean(shown, tailLine))
	s.mu.Unlock()
	if s.quiet || !s.allow() {
		return
	}
	if structured {
		s.log.Log(e.level, e.message, e.fields...)
	} else {
		s.log.Info(clean(line, maxLogMessage))
	}
}

// allow bounds the lines logged in a second.
func (s *stderr) allow() bool {
	now := time.Now().Unix()
	if now != s.second {
		if s.dropped > 0 {
			s.log.Warn("lines of standard error were dropped", "lines", s.dropped, "limit_a_second", linesASecond)
		}
		s.second, s.count, s.dropped = now, 0, 0
	}
	s.count++
	if s.count > linesASecond {
		s.dropped++
		return false
	}
	return true
}

func (s *stderr) tail() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.last...)
}

// entry is a line of hclog's JSON format.
type entry struct {
	level   hclog.Level
	message string
	fields  []any
	text    string // message and fields, for people
}

// parseLog reads a line of hclog, or reports that it is none. Any JSON may
// come: no type is taken for granted.
func parseLog(line string) (entry, bool) {
	if len(line) == 0 || line[0] != '{' {
		return entry{}, false
	}
	var m map[string]any
	if json.Unmarshal([]byte(line), &m) != nil {
		return entry{}, false
	}
	message, ok := m["@message"].(string)
	level, ok2 := m["@level"].(string)
	if !ok || !ok2 {
		return entry{}, false
	}
	e := entry{level: hclog.LevelFromString(level), message: clean(message, maxLogMessage), text: clean(message, tailLine)}
	if e.level == hclog.NoLevel {
		e.level = hclog.Info
	}
	for _, k := range sortedKeys(m) {
		if strings.HasPrefix(k, "@") && k != "@module" {
			continue
		}
		v := m[k]
		text, ok := v.(string)
		if !ok {
			b, _ := json.Marshal(v) // it came from JSON
			text = string(b)
		}
		k = clean(strings.TrimPrefix(k, "@"), 64)
		e.fields = append(e.fields, k, clean(text, maxLogMessage))
		if k != "module" {
			e.text += " " + k + "=" + clean(text, 128)
		}
	}
	return e, true
}
