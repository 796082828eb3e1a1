package route

import (
	"encoding/json"
	"time"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// remembered bounds the attempts told in a dead letter: the last ones.
const remembered = 16

// failure is one failed attempt of a delivery.
type failure struct {
	Attempt uint32      `json:"attempt"`
	Time    time.Time   `json:"time"`
	Error   *wire.Error `json:"error"`
}

// letter is the input of a dead letter action.
type letter struct {
	Event    letterEvent `json:"event"`
	Route    string      `json:"route"`
	Error    *wire.Error `json:"error"`
	Attempts []failure   `json:"attempts"`
}

// letterEvent is the event in the names of CloudEvents.
type letterEvent struct {
	SpecVersion string          `json:"specversion"`
	ID          wire.ID         `json:"id"`
	Type        string          `json:"type"`
	Source      string          `json:"source"`
	Subject     string          `json:"subject,omitempty"`
	Time        time.Time       `json:"time"`
	Correlation wire.ID         `json:"correlation"`
	Causation   wire.ID         `json:"causation,omitzero"`
	Traceparent string          `json:"traceparent,omitempty"`
	Tracestate  string          `json:"tracestate,omitempty"`
	ContentType string          `json:"datacontenttype"`
	Data        json.RawMessage `json:"data,omitempty"`
	DataBase64  []byte          `json:"data_base64,omitempty"`
}

// remember keeps a failed attempt for the dead letter, where there may be one.
func (d *delivery) remember(err *wire.Error, now instant) {
	if d.route.letters == nil {
		return
	}
	if len(d.history) == remembered {
		d.history = append(d.history[:0], d.history[1:]...)
	}
	d.history = append(d.history, failure{d.attempt, now.wall, err})
}

// deadLetter queues the letter that tells of a delivery that failed for good.
// It is a delivery of its own to another action, under the route's policy but
// for order, deadline and dead letter; nobody waits for it.
func (r *Router) deadLetter(d *delivery, err *wire.Error, now instant) {
	ev, rt := d.ev, d.route.letters
	e := r.newEvent(ev.src, 0, &ev.Event, now)
	e.Deadline, e.deadline = 0, 0
	e.letter, e.accepted = true, true
	e.deliveries = e.one[:1]
	l := &e.deliveries[0]
	*l = delivery{ev: e, route: rt, hasInput: true}
	l.line.d, l.age.d = l, l
	var bad error
	if l.input, bad = json.Marshal(letterOf(d, err)); bad != nil {
		l.fault = &wire.Error{Code: wire.Internal, Message: "the dead letter cannot be written: " + bad.Error()}
	} else if len(l.input) > wire.MaxEvent {
		l.fault = &wire.Error{Code: wire.Internal, Message: "the dead letter is larger than an input may be"}
	}
	e.open++
	r.open++
	r.offer(l, now)
	if l.state.waits() {
		r.record(observe.Queued, e, l, nil, now)
	}
	r.release(e)
}

func letterOf(d *delivery, err *wire.Error) letter {
	ev := d.ev
	l := letter{Route: d.route.name, Error: err, Attempts: d.history, Event: letterEvent{
		SpecVersion: "1.0", ID: ev.ID, Type: ev.Type, Source: ev.Source, Subject: ev.Subject,
		Time: time.Unix(0, ev.Time).UTC(), Correlation: ev.Correlation, Causation: ev.Causation,
		Traceparent: ev.Traceparent, Tracestate: ev.Tracestate, ContentType: ev.ContentType,
	}}
	if l.Attempts == nil {
		l.Attempts = []failure{}
	}
	json := ev.ContentType == "" || ev.ContentType == "application/json"
	switch {
	case json && valid(ev.Data):
		l.Event.ContentType, l.Event.Data = "application/json", ev.Data
	case json:
		l.Event.ContentType, l.Event.DataBase64 = "application/octet-stream", ev.Data
	default:
		l.Event.DataBase64 = ev.Data
	}
	return l
}

func valid(b []byte) bool { return len(b) == 0 || json.Valid(b) }

// lostLetter says that a dead letter could not be delivered. That is the end
// of it: letters have no letters.
func (r *Router) lostLetter(d *delivery, err *wire.Error) {
	log, name, id, typ := r.log, d.route.owner.name, d.ev.ID, d.ev.Type
	r.later = append(r.later, func() {
		log.Error("a dead letter could not be delivered and is lost", "route", name, "event", id.String(), "type", typ, "error", err)
	})
}
