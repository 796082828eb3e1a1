// Package secret replaces secrets in texts: in diagnostics, in what expressions
// say of an event, in what plugins print and in all that is shown of them. It is
// the only place that does. What is secret is for others to say.
package secret

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// Hidden stands for a secret where it would be shown.
const Hidden = "(secret)"

// Bounds of what is searched for.
const (
	shortest     = 6        // bytes: what is shorter stands in every text
	longest      = 64 << 10 // bytes
	most         = 4096     // those that were added first go first
	shortestLine = 16       // bytes, of one of several lines
	lines        = 64       // of one value
)

// Set holds secrets. Its methods may be called from any goroutine; the zero Set
// is empty. Whoever has a value that is marked as secret does not show it,
// whatever its length: a Set is for texts in which somebody else may have put one.
type Set struct {
	mu    sync.Mutex
	known []string // newest last
	in    map[string]bool

	hide atomic.Pointer[strings.Replacer] // of known; nil when it must be made
	any  atomic.Bool
}

// Add adds secrets: each as it is, without the space around it, as Go and JSON
// quote it, and each of its lines that is not short.
func (s *Set) Add(values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.known)
	for _, v := range values {
		s.add(v)
		s.add(strings.TrimSpace(v))
		quoted := strconv.Quote(v)
		s.add(quoted[1 : len(quoted)-1])
		if b, err := json.Marshal(v); err == nil {
			s.add(string(b[1 : len(b)-1]))
		}
		s.lines(v)
	}
	if len(s.known) == n {
		return
	}
	for _, v := range s.known[:max(0, len(s.known)-most)] {
		delete(s.in, v)
	}
	s.known = slices.Delete(s.known, 0, max(0, len(s.known)-most))
	s.hide.Store(nil)
	s.any.Store(true)
}

// lines adds the first lines of a value of several: logs are read line by line.
func (s *Set) lines(v string) {
	left := lines
	for line := range strings.Lines(v) {
		if line = strings.TrimSpace(line); len(line) >= shortestLine && len(line) < len(v) {
			s.add(line)
			if left--; left == 0 {
				return
			}
		}
	}
}

func (s *Set) add(v string) {
	if len(v) < shortest || len(v) > longest || s.in[v] {
		return
	}
	if s.in == nil {
		s.in = map[string]bool{}
	}
	s.in[v] = true
	s.known = append(s.known, v)
}

// Values returns what is searched for, oldest first.
func (s *Set) Values() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.known)
}

// Hide returns a text without the secrets.
func (s *Set) Hide(text string) string {
	if len(text) < shortest || !s.any.Load() {
		return text
	}
	hide := s.hide.Load()
	if hide == nil {
		hide = s.compile()
	}
	return hide.Replace(text)
}

// compile makes the replacer of what is known. One secret may be a part of
// another: the longer goes first.
func (s *Set) compile() *strings.Replacer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var pairs []string
	for _, v := range s.longestFirst() {
		pairs = append(pairs, v, Hidden)
	}
	hide := strings.NewReplacer(pairs...)
	s.hide.Store(hide)
	return hide
}

func (s *Set) longestFirst() []string {
	return slices.SortedStableFunc(slices.Values(s.known), func(a, b string) int { return cmp.Compare(len(b), len(a)) })
}

// Mask returns a text in which each secret is as many stars as it has characters,
// so that a mark under the text still stands right.
func (s *Set) Mask(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.longestFirst() {
		if strings.Contains(text, v) {
			text = strings.ReplaceAll(text, v, strings.Repeat("*", utf8.RuneCountInString(v)))
		}
	}
	return text
}
