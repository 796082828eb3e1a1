// Package redact keeps the values that configurations marked as secret out of
// what the daemon shows and logs: events, instances, its log. host asks it.
package redact

import (
	"slices"

	"github.com/pluginhost/host/host/config/secret"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// Values are what the configurations since the start marked as secret; the zero
// Values are none. Plugins get them, and may say one in an error, a subject or a
// line of their log. The recorder keeps what it was told: it is looked at here,
// not where events pass.
type Values struct{ secret.Set }

func (s *Values) text(t *string) { *t = s.Hide(*t) }

// Err hides them in an error, which is replaced.
func (s *Values) Err(e **wire.Error) {
	if *e != nil {
		*e = secret.Error(*e, s.Hide)
	}
}

// Entry returns a step without them.
func (s *Values) Entry(e observe.Entry) observe.Entry {
	s.text(&e.Subject)
	s.text(&e.Detail)
	s.Err(&e.Err)
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
		s.Err(&d.Err)
		d.Attempts = slices.Clone(d.Attempts)
		for k := range d.Attempts {
			s.Err(&d.Attempts[k].Err)
		}
	}
	return all
}
