package generation

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/renameio/v2"
)

// Bounds of the log.
const (
	maxAttempts = 200       // that are kept
	maxLog      = 512 << 10 // bytes of the file before it is written anew
	maxLine     = 64 << 10  // bytes of a line that is read
	maxText     = 2 << 10   // bytes of a message
)

// Killed is the outcome of an attempt during which the daemon ended.
const Killed = "killed"

// Attempt is one try to change what is serving: who, when, what, how it ended.
type Attempt struct {
	Number     uint64       `json:"number"`
	Generation uint64       `json:"generation,omitempty"` // that it made, or would have made
	Who        Who          `json:"who"`
	Started    time.Time    `json:"started"`
	Ended      time.Time    `json:"ended,omitzero"`
	Outcome    string       `json:"outcome,omitempty"` // empty while it runs
	Summary    string       `json:"summary,omitempty"`
	Message    string       `json:"message,omitempty"`
	Steps      []Transition `json:"steps,omitempty"`
}

// Transition is the moment in which a phase began.
type Transition struct {
	Phase string    `json:"phase"`
	Time  time.Time `json:"time"`
}

// Log is the trail of all attempts. Each transition is one line, appended when
// it happens, so that an end of the daemon in between can be told from one
// before and one after.
type Log struct {
	path string

	mu       sync.Mutex
	file     *os.File
	size     int64
	attempts []Attempt // oldest first
}

// line is one line of the file. What is set is what happened.
type line struct {
	Number uint64      `json:"n"`
	Begin  *Attempt    `json:"begin,omitempty"`
	Step   *Transition `json:"step,omitempty"`
	End    *Attempt    `json:"end,omitempty"`
}

// OpenLog reads the trail. An attempt without an end was cut short by the end
// of the daemon: where its generation is the last of the store, its commit
// stands; else it was undone.
func OpenLog(stateDir string, s *Store) (*Log, error) {
	l := &Log{path: filepath.Join(stateDir, "generations", "log.jsonl")}
	b, err := os.ReadFile(l.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("log of the generations: %w", err)
	}
	scan := bufio.NewScanner(bytes.NewReader(b))
	scan.Buffer(nil, maxLine)
	for scan.Scan() {
		var x line
		if json.Unmarshal(scan.Bytes(), &x) == nil { // the last line may be torn
			l.fold(x)
		}
	}
	last, _ := s.Last()
	for n := range l.attempts {
		a := &l.attempts[n]
		if a.Outcome != "" {
			continue
		}
		a.Outcome, a.Ended = Killed, time.Now().UTC()
		a.Message = "the daemon ended in between; nothing of it was kept"
		if a.Generation != 0 && a.Generation == last.Generation {
			a.Outcome, a.Message = "committed", "the daemon ended right after the commit; the next start went on with it"
		}
	}
	// Written anew: no torn line, no more than is kept.
	if err := l.rewrite(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Log) fold(x line) {
	switch {
	case x.Begin != nil:
		l.attempts = append(l.attempts, *x.Begin)
		if over := len(l.attempts) - maxAttempts; over > 0 {
			l.attempts = slices.Delete(l.attempts, 0, over)
		}
	case x.Step != nil:
		if a := l.find(x.Number); a != nil {
			a.Steps = append(a.Steps, *x.Step)
		}
	case x.End != nil:
		if a := l.find(x.Number); a != nil {
			steps := a.Steps
			*a = *x.End
			a.Steps = steps
		}
	}
}

func (l *Log) find(n uint64) *Attempt {
	for i := len(l.attempts) - 1; i >= 0; i-- {
		if l.attempts[i].Number == n {
			return &l.attempts[i]
		}
	}
	return nil
}

// rewrite writes the file with what is kept, and opens it to append. l.mu is
// held, or nobody else knows l.
func (l *Log) rewrite() error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	for _, a := range l.attempts {
		_ = e.Encode(line{Number: a.Number, Begin: &a}) // to memory; plain values
	}
	err := renameio.WriteFile(l.path, b.Bytes(), 0o600)
	if err == nil {
		if l.file != nil {
			_ = l.file.Close()
		}
		l.file, err = os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND, 0o600)
		l.size = int64(b.Len())
	}
	if err != nil {
		return fmt.Errorf("log of the generations: %w", err)
	}
	return nil
}

// append adds a line. The log is a witness, not a part of the transaction: what
// cannot be written is still in memory, and is tried again with the next.
func (l *Log) append(x line) {
	l.fold(x)
	if l.file == nil {
		return // closed
	}
	b, err := json.Marshal(x)
	if err != nil {
		return
	}
	n, err := l.file.Write(append(b, '\n'))
	if l.size += int64(n); err != nil || l.size > maxLog {
		_ = l.rewrite()
	}
}

// Begin opens an attempt and numbers it. Its steps so far are kept.
func (l *Log) Begin(a Attempt) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.Number = 1
	if n := len(l.attempts); n > 0 {
		a.Number = l.attempts[n-1].Number + 1
	}
	l.append(line{Number: a.Number, Begin: &a})
	return a.Number
}

// Step says that a phase begins.
func (l *Log) Step(n uint64, t Transition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.append(line{Number: n, Step: &t})
}

// End closes an attempt.
func (l *Log) End(n uint64, end Attempt) {
	end.Number, end.Message, end.Steps = n, text(end.Message), nil
	l.mu.Lock()
	defer l.mu.Unlock()
	l.append(line{Number: n, End: &end})
}

func text(s string) string { return s[:min(len(s), maxText)] }

// List returns the attempts that are kept, oldest first.
func (l *Log) List() []Attempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.Clone(l.attempts)
	for n := range all {
		all[n].Steps = slices.Clone(all[n].Steps)
	}
	return all
}

// Close closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.file
	l.file = nil
	if f == nil {
		return nil
	}
	return f.Close()
}
