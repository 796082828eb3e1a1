// Package client is the client of bench-reload, in a process of its own: an
// open-loop flood of new connections beside connections that are kept alive and
// connections with slow requests. It knows no server.
package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What every client does, whatever the load.
const (
	RequestTimeout = 10 * time.Second
	Kept           = 200 // connections that are kept alive
	Long           = 50  // connections with slow requests
	KeepPause      = time.Second
)

// Load is what the client is told to do.
type Load struct {
	Live   string        `json:"live"`   // where each request is a connection
	Steady string        `json:"steady"` // where connections are kept alive
	Slow   string        `json:"slow"`   // where requests are slow
	Rate   int           `json:"rate"`   // of requests to Live, a second
	Warm   time.Duration `json:"warm"`   // how long it goes on before what it sees counts
	For    time.Duration `json:"for"`
}

// Seen is what the client has noticed.
type Seen struct {
	Requests int            `json:"requests"` // to Live
	Failed   map[string]int `json:"failed"`   // of them, by kind
	P50      time.Duration  `json:"p50"`
	P99      time.Duration  `json:"p99"`
	Max      time.Duration  `json:"max"`
	Keep     Stream         `json:"keep"`
	Long     Stream         `json:"Long"`
}

// Stream is what became of connections with many requests.
type Stream struct {
	Requests int            `json:"requests"`
	Ended    int            `json:"ended"`  // closed by the server after a response, or while idle
	Broken   map[string]int `json:"broken"` // requests without a proper answer, by kind
}

// Run reads one load from standard input, says "ready" when its connections are
// open and the server is warm, and prints what it has seen.
func Run() error {
	var l Load
	if err := json.NewDecoder(os.Stdin).Decode(&l); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wait, opened sync.WaitGroup
	keep, slow := newStreams(), newStreams()
	opened.Add(Kept + Long)
	for n := range Kept {
		wait.Go(func() { keep.run(ctx, &opened, l.Steady, time.Duration(n)*KeepPause/Kept, KeepPause) })
	}
	for n := range Long {
		wait.Go(func() { slow.run(ctx, &opened, l.Slow, time.Duration(n)*time.Millisecond, 0) })
	}
	opened.Wait()
	cold := flood(l.Live, l.Rate, l.Warm)
	fmt.Println("ready")
	s := flood(l.Live, l.Rate, l.For)
	for kind, n := range cold.Failed { // of its requests no time counts, but each failure
		s.Failed[kind] += n
	}
	cancel()
	wait.Wait()
	s.Keep, s.Long = keep.stream, slow.stream
	return json.NewEncoder(os.Stdout).Encode(s)
}

// flood sends the requests at their times.
func flood(addr string, rate int, length time.Duration) Seen {
	total := int(float64(rate) * length.Seconds())
	took := make([]time.Duration, total)
	kinds := make([]string, total)
	var wait sync.WaitGroup
	start := time.Now()
	for n := range total {
		due := start.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
		if ahead := time.Until(due); ahead > 0 {
			time.Sleep(ahead)
		}
		wait.Go(func() {
			kinds[n] = once(addr, n)
			took[n] = time.Since(due)
		})
	}
	wait.Wait()
	s := Seen{Requests: total, Failed: map[string]int{}}
	var good []time.Duration
	for n, kind := range kinds {
		if kind != "" {
			s.Failed[kind]++
		} else {
			good = append(good, took[n])
		}
	}
	slices.Sort(good)
	if len(good) > 0 {
		s.P50, s.P99, s.Max = good[len(good)/2], good[len(good)*99/100], good[len(good)-1]
	}
	return s
}

var request = map[bool][]byte{
	true:  []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
	false: []byte("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
}

// dial connects from one of many addresses, so that there are ports enough.
func dial(addr string, n int) (net.Conn, error) {
	d := net.Dialer{Timeout: RequestTimeout, KeepAlive: -1, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+n%100))},
		Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) {
				_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) // without it ports may run out, which shows
			})
		}}
	return d.Dial("tcp4", addr)
}

// once makes one connection with one request, and returns what failed.
func once(addr string, n int) string {
	c, err := dial(addr, n)
	if err != nil {
		return kindOf(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(RequestTimeout)) // a closed connection shows at once
	if _, err := c.Write(request[false]); err != nil {
		return kindOf(err)
	}
	_, err = answer(bufio.NewReaderSize(c, 1024))
	return kindOf(err)
}

// errStatus is a response other than 200.
type errStatus int

func (e errStatus) Error() string { return fmt.Sprintf("status %d", int(e)) }

// answer reads one response, and says whether the connection ends after it.
func answer(r *bufio.Reader) (last bool, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return true, err
	}
	if len(line) < 12 {
		return true, errStatus(0)
	}
	status, _ := strconv.Atoi(string(line[9:12]))
	length := -1
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return true, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			length, _ = strconv.Atoi(string(value))
		case bytes.EqualFold(name, []byte("Connection")):
			last = bytes.EqualFold(value, []byte("close"))
		}
	}
	if length < 0 {
		return true, errStatus(status)
	}
	if _, err := r.Discard(length); err != nil {
		return true, err
	}
	if status != 200 {
		return last, errStatus(status)
	}
	return last, nil
}

func kindOf(err error) string {
	var timeout net.Error
	var status errStatus
	switch {
	case err == nil:
		return ""
	case errors.As(err, &status):
		return status.Error()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return "other: " + err.Error()
}

// streams are connections with many requests.
type streams struct {
	mu     sync.Mutex
	stream Stream
	next   atomic.Int64 // source of connections
}

func newStreams() *streams { return &streams{stream: Stream{Broken: map[string]int{}}} }

// run keeps one connection busy: a request, a pause, the next. When the server
// ends it, after a response or in a pause, it opens another. A request that is
// sent at the moment when the server closes an idle connection is broken.
func (s *streams) run(ctx context.Context, opened *sync.WaitGroup, addr string, delay, pause time.Duration) {
	first := true
	ready := func() {
		if first {
			first = false
			opened.Done()
		}
	}
	defer ready()
	for ctx.Err() == nil {
		c, err := dial(addr, int(s.next.Add(1)))
		ready()
		if err != nil {
			s.note(kindOf(err), false)
			sleep(ctx, 100*time.Millisecond)
			continue
		}
		sleep(ctx, delay)
		s.serve(ctx, c, pause)
		_ = c.Close()
	}
}

func (s *streams) serve(ctx context.Context, c net.Conn, pause time.Duration) {
	r := bufio.NewReaderSize(c, 1024)
	for ctx.Err() == nil {
		_ = c.SetDeadline(time.Now().Add(RequestTimeout))
		_, err := c.Write(request[true])
		last := true
		if err == nil {
			last, err = answer(r)
		}
		s.note(kindOf(err), err == nil && last)
		if err != nil || last {
			return
		}
		// Has the server closed it in the pause?
		_ = c.SetReadDeadline(time.Now().Add(max(pause, time.Millisecond)))
		if _, err := r.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
			if ctx.Err() == nil {
				s.end()
			}
			return
		}
	}
}

func (s *streams) note(kind string, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stream.Requests++
	if kind != "" {
		s.stream.Broken[kind]++
	}
	if ended {
		s.stream.Ended++
	}
}

func (s *streams) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stream.Ended++
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
