// Package letter writes dead letters: what is told of an event that a route
// could not deliver. It is a contract with the plugins that take them.
package letter

import (
	"encoding/json"
	"time"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// remembered bounds the attempts told in a dead letter: the last ones. No route
// has more attempts.
const remembered = 100

// Remember appends a failed attempt to a history, which is bounded.
func Remember(history []observe.Attempt, a observe.Attempt) []observe.Attempt {
	if len(history) == remembered {
		history = append(history[:0], history[1:]...)
	}
	return append(history, a)
}

// letter is the input of a dead letter action.
type letter struct {
	Event    letterEvent       `json:"event"`
	Route    string            `json:"route"`
	Error    *wire.Error       `json:"error"`
	Attempts []observe.Attempt `json:"attempts"`
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

// Write returns a letter as JSON, or why there can be none.
func Write(ev *wire.Event, route string, err *wire.Error, attempts []observe.Attempt) ([]byte, *wire.Error) {
	l := letter{Route: route, Error: err, Attempts: attempts, Event: letterEvent{
		SpecVersion: "1.0", ID: ev.ID, Type: ev.Type, Source: ev.Source, Subject: ev.Subject,
		Time: time.Unix(0, ev.Time).UTC(), Correlation: ev.Correlation, Causation: ev.Causation,
		Traceparent: ev.Traceparent, Tracestate: ev.Tracestate, ContentType: ev.ContentType,
	}}
	if l.Attempts == nil {
		l.Attempts = []observe.Attempt{}
	}
	isJSON := ev.ContentType == "" || ev.ContentType == "application/json"
	switch {
	case isJSON && (len(ev.Data) == 0 || json.Valid(ev.Data)):
		l.Event.ContentType, l.Event.Data = "application/json", ev.Data
	case isJSON: // it is not what it says
		l.Event.ContentType, l.Event.DataBase64 = "application/octet-stream", ev.Data
	default:
		l.Event.DataBase64 = ev.Data
	}
	b, bad := json.Marshal(l)
	switch {
	case bad != nil:
		return nil, &wire.Error{Code: wire.Internal, Message: "the dead letter cannot be written: " + bad.Error()}
	case len(b) > wire.MaxEvent:
		return nil, &wire.Error{Code: wire.Internal, Message: "the dead letter is larger than an input may be"}
	}
	return b, nil
}
