package config

import (
	"encoding/json"

	"github.com/pluginhost/host/sdk/wire"
)

// Expr is a compiled expression over an event. It is immutable and may be
// evaluated from many goroutines. Only the fields of the event that it reads
// are decoded.
type Expr struct{}

// Bool evaluates a when expression.
func (e *Expr) Bool(ev *wire.Event) (bool, error) { panic("unfinished") }

// JSON evaluates an input expression.
func (e *Expr) JSON(ev *wire.Event) (json.RawMessage, error) { panic("unfinished") }
