// Package secret keeps the values that a configuration marked as secret out of what
// is shown of events and instances. host asks it before it answers.
package secret

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// maxSecrets bounds how many are remembered: those of earlier generations go
// first.
const maxSecrets = 4096

// Values are what the configurations since the start marked as secret; the zero
// Values are none. Plugins get them, and may say one in an error or a subject;
// what the control API tells of events does not hold any of them. The recorder
// keeps what it was told: it is looked at here, not where events pass.
type Values struct {
	mu    sync.Mutex
	known []string // newest last
	hide  *strings.Replacer
}

// Add remembers those of one more configuration.
func (s *Values) Add(values []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.known)
	for _, v := range values {
		if !slices.Contains(s.known, v) {
			s.known = append(s.known, v)
		}
	}
	if len(s.known) == n {
		return
	}
	s.known = slices.Delete(s.known, 0, max(0, len(s.known)-maxSecrets))
	// One may be a part of another: the longer goes first.
	longest := slices.SortedStableFunc(slices.Values(s.known), func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	var pairs []string
	for _, v := range longest {
		pairs = append(pairs, v, diagnostic.Hidden)
	}
	s.hide = strings.NewReplacer(pairs...)
}

func (s *Values) text(t *string) {
	s.mu.Lock()
	hide := s.hide
	s.mu.Unlock()
	if hide != nil {
		*t = hide.Replace(*t)
	}
}

// err replaces an error that holds one; others may hold the error itself.
func (s *Values) err(e **wire.Error) {
	if *e == nil {
		return
	}
	c := **e
	s.text(&c.Message)
	s.text(&c.Reason)
	if details := string(c.Details); details != "" {
		s.text(&details)
		c.Details = []byte(details)
	}
	*e = &c
}

// Entry returns a step without them.
func (s *Values) Entry(e observe.Entry) observe.Entry {
	s.text(&e.Subject)
	s.text(&e.Detail)
	s.err(&e.Err)
	return e
}

// Instance hides them in what a process printed at its end.
func (s *Values) Instance(i *observe.Instance) {
	s.text(&i.Reason)
	i.Stderr = slices.Clone(i.Stderr)
	for n := range i.Stderr {
		s.text(&i.Stderr[n])
	}
}

// Waiting hides them in what waits.
func (s *Values) Waiting(all []observe.Waiting) []observe.Waiting {
	for n := range all {
		s.text(&all[n].Subject)
		s.text(&all[n].Why)
	}
	return all
}

// Dead hides them in dead deliveries, whose attempts the router keeps.
func (s *Values) Dead(all []observe.Dead) []observe.Dead {
	for n := range all {
		d := &all[n]
		s.text(&d.Subject)
		s.err(&d.Err)
		d.Attempts = slices.Clone(d.Attempts)
		for k := range d.Attempts {
			s.err(&d.Attempts[k].Err)
		}
	}
	return all
}
