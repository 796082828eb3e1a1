package variable

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/pluginhost/host/host/config/expression/field"
	"github.com/pluginhost/host/host/config/expression/scan"
	"github.com/pluginhost/host/host/config/function"
	"github.com/pluginhost/host/host/config/syntax"
)

// readJSON reads a file of values that is one JSON object: a value for each
// name, in which nothing is evaluated. It reports whether the file could be
// read to its end.
func (s *Scope) readJSON(file *syntax.File, each func(name string, v cty.Value, at *hcl.Range)) bool {
	s.Diags.SetSource(file.Name, file.Text)
	d := json.NewDecoder(bytes.NewReader(file.Text))
	fail := func(err error) bool {
		offset := int(d.InputOffset())
		var wrong *json.SyntaxError
		switch {
		case errors.As(err, &wrong):
			offset = int(wrong.Offset) - 1
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			err = errors.New("it ends too early")
		}
		s.Diags.Problem("Not JSON", fmt.Sprintf("%s: a file of values whose name ends in .json is one object, {\"name\": value}.", err), place(file, offset, offset+1))
		return false
	}
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		if err == nil {
			err = errors.New("it is not an object")
		}
		return fail(err)
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return fail(err)
		}
		name, end := t.(string), int(d.InputOffset()) //nolint:errcheck,forcetypeassert // the decoder takes nothing else as a key
		at := place(file, bytes.LastIndexByte(file.Text[:end-1], '"'), end)
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return fail(err)
		}
		v, err := cty.NilVal, errors.New("a number has over 400 digits, or an exponent of over three")
		if scan.ReasonableNumbers(raw) {
			if v, err = field.FromJSON(raw); err == nil {
				err = function.Bounded(v)
			}
		}
		if err != nil {
			s.Diags.Problem("Not a value", fmt.Sprintf("%s: %v.", name, err), at)
			continue
		}
		each(name, v, at)
	}
	if _, err := d.Token(); err != nil {
		return fail(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fail(errors.New("something follows the object"))
	}
	return true
}

// place is a part of a file, in bytes.
func place(file *syntax.File, from, to int) *hcl.Range {
	from = min(max(from, 0), len(file.Text))
	to = min(max(to, from), len(file.Text))
	pos := func(offset int) hcl.Pos {
		before := string(file.Text[:offset])
		line := before[strings.LastIndexByte(before, '\n')+1:]
		return hcl.Pos{Line: 1 + strings.Count(before, "\n"), Column: 1 + len([]rune(line)), Byte: offset}
	}
	return &hcl.Range{Filename: file.Name, Start: pos(from), End: pos(to)}
}
