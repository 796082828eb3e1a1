// Package input reads what a command line names: files, JSON, standard input.
// Everything it reads is bounded, and of files only regular ones are opened:
// opening a FIFO would wait for whoever writes to it, and a device may never end.
package input

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

var errIrregular = errors.New("is not a regular file")

// File reads a regular file of at most limit bytes.
func File(name string, limit int64) ([]byte, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s %w", name, errIrregular)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return All(f, name, limit)
}

// All reads at most limit bytes to the end; name is for the error.
func All(r io.Reader, name string, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes, which are the most that is read", name, limit)
	}
	return b, nil
}

// JSON returns the JSON that arg means: itself, with @ before a name what is in
// that file, or for - what comes on stdin.
func JSON(arg string, stdin io.Reader, limit int64) (json.RawMessage, error) {
	b, err := []byte(arg), error(nil)
	name, isFile := strings.CutPrefix(arg, "@")
	switch {
	case arg == "-":
		b, err = All(stdin, "standard input", limit)
	case isFile:
		b, err = File(name, limit)
	case int64(len(arg)) > limit:
		err = fmt.Errorf("at most %d bytes can be sent", limit)
	}
	if errors.Is(err, errIrregular) {
		err = fmt.Errorf("%w; - reads standard input, from a pipe too", err)
	}
	if err != nil {
		return nil, fmt.Errorf("the data cannot be read: %w", err)
	}
	if !utf8.Valid(b) { // which json.Valid takes in a string
		return nil, errors.New("the data is not JSON, which is written in UTF-8")
	}
	if !json.Valid(b) {
		return nil, errors.New(`the data is not JSON; a string needs its quotes: '"text"'`)
	}
	return b, nil
}
