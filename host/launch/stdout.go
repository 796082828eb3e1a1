package launch

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// Bounds of what a process prints.
const (
	maxBeforeHandshake = 64 << 10 // bytes
	maxHeadLines       = 5        // kept for the message
	maxHeadLine        = 200      // bytes of each
	maxLine            = 1 << 20  // bytes of a line that is passed on; longer ones are split
)

// handshakeLine is what go-plugin may see: core version, protocol version,
// network, address, protocol, and no more than it needs. The address is a path,
// which may hold spaces and letters of any language.
var handshakeLine = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\d{1,3}\|\d{1,5}\|[a-z]{1,10}\|[^|[:cntrl:]]+(\|[\x20-\x7e]*)*$`)
})

// stdout reads a process's standard output: the handshake line goes to
// go-plugin, what follows it to the writer.
type stdout struct {
	to    io.Writer
	kill  func()
	hide  func(string) string
	line  *io.PipeReader // for go-plugin
	write *io.PipeWriter

	mu    sync.Mutex
	heads []string // first lines before the handshake
	shook string   // the handshake line
	flood bool
}

func newStdout(to io.Writer, kill func(), hide func(string) string) *stdout {
	s := &stdout{to: to, kill: kill, hide: hide}
	s.line, s.write = io.Pipe()
	return s
}

func (s *stdout) read(from io.Reader) {
	r := bufio.NewReaderSize(from, 32<<10)
	if s.shake(r) {
		s.pass(r)
	}
	_, _ = io.Copy(io.Discard, r)
}

// shake looks for the handshake line and reports whether it came.
func (s *stdout) shake(r *bufio.Reader) bool {
	total := 0
	for {
		b, err := r.ReadSlice('\n')
		total += len(b)
		text := strings.TrimRight(string(b), "\r\n")
		if err == nil && handshakeLine().MatchString(text) {
			s.mu.Lock()
			s.shook = text
			s.mu.Unlock()
			_, _ = io.WriteString(s.write, text+"\n")
			_ = s.write.Close()
			return true
		}
		s.mu.Lock()
		if text != "" && len(s.heads) < maxHeadLines {
			s.heads = append(s.heads, clean(s.hide(text), maxHeadLine))
		}
		s.flood = total > maxBeforeHandshake
		s.mu.Unlock()
		if total > maxBeforeHandshake {
			s.kill()
			_ = s.write.Close()
			return false
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			_ = s.write.Close()
			return false
		}
	}
}

// pass passes whole lines on.
func (s *stdout) pass(r *bufio.Reader) {
	if s.to == nil {
		return
	}
	var line bytes.Buffer
	for {
		b, err := r.ReadSlice('\n')
		line.Write(b)
		if line.Len() > 0 && (err == nil || line.Len() >= maxLine || !errors.Is(err, bufio.ErrBufferFull)) {
			if !bytes.HasSuffix(line.Bytes(), []byte("\n")) {
				line.WriteByte('\n')
			}
			_, _ = s.to.Write(line.Bytes())
			line.Reset()
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// end ends go-plugin's wait for a handshake.
func (s *stdout) end() { _ = s.write.Close() }

func (s *stdout) head() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heads
}

func (s *stdout) matched() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return clean(s.shook, maxHeadLine)
}

func (s *stdout) flooded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flood
}

// clean makes a printable line of at most n bytes and a mark.
func clean(s string, n int) string {
	cut := len(s) > n
	if cut {
		s = s[:n]
	}
	q := strconv.Quote(strings.ToValidUTF8(s, "\uFFFD"))
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	q = strings.ReplaceAll(q, `\\`, `\`)
	if len(q) > 2*n {
		q, cut = q[:2*n], true
	}
	if cut {
		q += "…"
	}
	return q
}
