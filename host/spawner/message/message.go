// Package message is the form of what goes over the spawner's sockets: fields
// in a fixed order, without names, each with a bound. One function describes a
// type for both directions. It knows nothing of what the fields mean.
package message

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Max is the longest message, in bytes.
const Max = 128 << 10

// Bounds of fields.
const (
	maxText = 32 << 10 // bytes of one text
	maxList = 1024     // texts in a list
)

// Errors of a message that cannot be read.
var (
	errShort = errors.New("the message ends too early")
	errRest  = errors.New("the message goes on after its end")
)

// Coder reads or writes the fields of one message, in the order of the calls.
// After an error it does nothing more.
type Coder struct {
	b       []byte
	reading bool
	err     error
}

// Encode writes what fields describes.
func Encode(fields func(*Coder)) ([]byte, error) {
	c := &Coder{}
	fields(c)
	if c.err == nil && len(c.b) > Max {
		c.err = fmt.Errorf("the message is %d bytes long, at most %d are allowed", len(c.b), Max)
	}
	return c.b, c.err
}

// Decode reads b into what fields describes. All of b must be used.
func Decode(b []byte, fields func(*Coder)) error {
	c := &Coder{b: b, reading: true}
	fields(c)
	if c.err == nil && len(c.b) > 0 {
		c.err = errRest
	}
	return c.err
}

// Fail makes the message wrong.
func (c *Coder) Fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// take returns the next n bytes of what is read.
func (c *Coder) take(n int) []byte {
	if c.err != nil || n > len(c.b) {
		c.Fail(errShort)
		return nil
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}

// Byte is a field of one byte.
func (c *Coder) Byte(v *byte) {
	if !c.reading {
		c.b = append(c.b, *v)
	} else if b := c.take(1); b != nil {
		*v = b[0]
	}
}

// Bool is a field of one byte, 0 or 1.
func (c *Coder) Bool(v *bool) {
	var b byte
	if *v {
		b = 1
	}
	c.Byte(&b)
	if b > 1 {
		c.Fail(errors.New("neither true nor false"))
	}
	*v = b == 1
}

// Uint is a field of eight bytes.
func (c *Coder) Uint(v *uint64) {
	if !c.reading {
		c.b = binary.BigEndian.AppendUint64(c.b, *v)
	} else if b := c.take(8); b != nil {
		*v = binary.BigEndian.Uint64(b)
	}
}

// Int is a field of eight bytes.
func (c *Coder) Int(v *int64) {
	u := uint64(*v)
	c.Uint(&u)
	*v = int64(u)
}

// Text is a text with its length before it.
func (c *Coder) Text(v *string) {
	n := uint64(len(*v))
	c.length(&n, maxText)
	if !c.reading {
		c.b = append(c.b, *v...)
	} else if b := c.take(int(n)); b != nil {
		*v = string(b)
	}
}

// Texts is a list with its length before it; an empty one is read as nil.
func (c *Coder) Texts(v *[]string) {
	n := uint64(len(*v))
	c.length(&n, maxList)
	if c.reading {
		*v = nil
	}
	for i := range int(n) {
		if c.err != nil {
			return
		}
		if c.reading {
			*v = append(*v, "")
		}
		c.Text(&(*v)[i])
	}
}

func (c *Coder) length(n *uint64, most uint64) {
	if !c.reading && *n > most {
		c.Fail(fmt.Errorf("a field has the length %d, at most %d is allowed", *n, most))
	}
	if !c.reading {
		c.b = binary.BigEndian.AppendUint32(c.b, uint32(min(*n, most)))
	} else if b := c.take(4); b != nil {
		*n = uint64(binary.BigEndian.Uint32(b))
	} else {
		*n = 0
	}
	if *n > most {
		c.Fail(fmt.Errorf("a field has the length %d, at most %d is allowed", *n, most))
		*n = 0
	}
}
