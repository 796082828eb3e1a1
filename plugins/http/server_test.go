package main

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pluginhost/host/sdk"
	"github.com/pluginhost/host/sdk/sdktest"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// serve starts a server; its address is added to the configuration.
func serve(t *testing.T, c sdktest.Config) (in *sdktest.Instance, url string) {
	t.Helper()
	l := listen(t)
	c["listen"] = l
	return sdktest.Start(t, plugin(), c), "http://" + l.Addr().String()
}

// answer is a response that was read.
type answer struct {
	status int
	header http.Header
	body   string
}

// failed is the JSON of an error response.
type failed struct {
	Error struct{ Code, Message, Event, Reason, Instance string }
}

// do sends a request on a connection of its own.
func do(t *testing.T, method, url, body string, header ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	tr := &http.Transport{DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr, Timeout: time.Minute}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// wantError checks an error response: its status, and the id of the event.
func wantError(t *testing.T, a answer, status int, code string) failed {
	t.Helper()
	var f failed
	if err := json.Unmarshal([]byte(a.body), &f); err != nil {
		t.Fatalf("%d %q: %v", a.status, a.body, err)
	}
	if a.status != status || f.Error.Code != code || f.Error.Event == "" || f.Error.Event != a.header.Get("X-Event-Id") || f.Error.Message == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	return f
}

func echo(e *sdktest.Emitted) (any, error) { return json.RawMessage(e.Event.Data), nil }

func TestResponseIsTheOutcome(t *testing.T) {
	in, url := serve(t, sdktest.Config{"path": "/orders", "timeout": "1m"})
	outcomes := map[string]*sdk.Error{
		"unrouted":    sdktest.Unrouted(),
		"invalid":     sdk.Errorf(sdk.InvalidArgument, "no id"),
		"deadline":    sdk.Errorf(sdk.DeadlineExceeded, "too slow"),
		"unavailable": {Code: sdk.Unavailable, Message: "down", Instance: "exec.bill", Retryable: true},
		"full":        sdk.Errorf(sdk.ResourceExhausted, "too much"),
		"too large":   {Code: sdk.ResourceExhausted, Message: "over output_limit"},
		"conflict":    sdk.Errorf(sdk.AlreadyExists, "twice"),
		"denied":      sdk.Errorf(sdk.PermissionDenied, "no"),
		"who":         sdk.Errorf(sdk.Unauthenticated, "who"),
		"not here":    sdk.Errorf(sdk.Unimplemented, "not here"),
		"bug":         sdk.Errorf(sdk.Internal, "panic"),
		"unknown":     sdk.Errorf(sdk.Unknown, "exit 3"),
	}
	in.Reply("request", func(e *sdktest.Emitted) (any, error) {
		var how string
		if json.Unmarshal(e.Event.Data, &how) == nil {
			if err := outcomes[how]; err != nil {
				return nil, err
			}
			return nil, nil
		}
		return json.RawMessage(e.Event.Data), nil
	})

	a := do(t, "POST", url+"/orders", `{"id":"o-1","total":12}`)
	if a.status != 200 || a.header.Get("Content-Type") != "application/json" || a.body != "{\"id\":\"o-1\",\"total\":12}\n" || a.header.Get("X-Event-Id") == "" {
		t.Errorf("%+v", a)
	}
	if a := do(t, "POST", url+"/orders", `"nothing"`); a.status != 204 || a.body != "" {
		t.Errorf("no value: %+v", a)
	}
	for how, want := range map[string]struct {
		status int
		code   string
	}{
		"unrouted": {404, "not_found"}, "invalid": {400, "invalid_argument"}, "deadline": {504, "deadline_exceeded"},
		"unavailable": {503, "unavailable"}, "full": {429, "resource_exhausted"}, "too large": {500, "resource_exhausted"}, "conflict": {409, "already_exists"},
		"denied": {403, "permission_denied"}, "who": {401, "unauthenticated"}, "not here": {501, "unimplemented"},
		"bug": {500, "internal"}, "unknown": {500, "unknown"},
	} {
		a := do(t, "POST", url+"/orders", fmt.Sprintf("%q", how))
		f := wantError(t, a, want.status, want.code)
		retry := a.header.Get("Retry-After")
		if (want.status == 503 || want.status == 429) != (retry != "") {
			t.Errorf("%s: Retry-After %q", how, retry)
		}
		if how == "unrouted" && f.Error.Reason != "unrouted" || how == "unavailable" && f.Error.Instance != "exec.bill" {
			t.Errorf("%s: %s", how, a.body)
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	in, url := serve(t, sdktest.Config{"path": "/orders", "body_limit": "16"})
	in.Reply("request", echo)
	for _, c := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"POST", "/ordersx", "{}", 404, "not_found"},
		{"POST", "/orders/", "{}", 404, "not_found"},
		{"GET", "/orders", "", 405, "unimplemented"},
		{"POST", "/orders", `{"id":"0123456789"}`, 413, "invalid_argument"},
		{"POST", "/orders", `{"id"`, 400, "invalid_argument"},
		{"POST", "/orders", `{} {}`, 400, "invalid_argument"},
		{"POST", "/orders", "\"a\xffb\"", 400, "invalid_argument"}, // JSON is UTF-8
	} {
		a := do(t, c.method, url+c.path, c.body)
		f := wantError(t, a, c.status, c.code)
		e := in.Next("refused")
		var r Refused
		if e.Into(&r); r.Status != c.status || r.Method != c.method || r.Path != c.path || r.Remote == "" || e.Event.ID.String() != f.Error.Event {
			t.Errorf("%s %s: %+v", c.method, c.path, r)
		}
		if c.status == 405 && a.header.Get("Allow") != "POST" {
			t.Errorf("Allow: %q", a.header.Get("Allow"))
		}
	}
	if a := do(t, "POST", url+"/orders?x=1", `{"a":1}`); a.status != 200 {
		t.Errorf("%+v", a)
	}
	if a := do(t, "POST", url+"/orders", ""); a.status != 200 || a.body != "{}\n" {
		t.Errorf("no body: %+v", a)
	}
}

func TestRequestAsData(t *testing.T) {
	in, url := serve(t, sdktest.Config{"path": "/v1/", "data": "request", "methods": []string{"POST", "GET", "HEAD"},
		"headers": []string{"X-Kind", "X-Absent"}, "subject": "{{.id}}"})
	in.Reply("request", func(e *sdktest.Emitted) (any, error) {
		return map[string]any{"subject": e.Event.Subject, "trace": e.Event.Traceparent, "data": json.RawMessage(e.Event.Data)}, nil
	})
	type seen struct {
		Subject, Trace string
		Data           Request
	}
	ask := func(method, path, body string, header ...string) (s seen) {
		t.Helper()
		a := do(t, method, url+path, body, header...)
		if err := json.Unmarshal([]byte(a.body), &s); err != nil || a.status != 200 {
			t.Fatalf("%+v: %v", a, err)
		}
		return s
	}
	trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	s := ask("POST", "/v1/a/b?q=1&q=2", `{"id":"o-7"}`, "X-Kind", "big", "X-Other", "no", "Traceparent", trace)
	if s.Subject != "o-7" || s.Trace != trace || s.Data.Method != "POST" || s.Data.Path != "/v1/a/b" || len(s.Data.Query["q"]) != 2 ||
		len(s.Data.Headers) != 1 || s.Data.Headers["x-kind"] != "big" || s.Data.Body.(map[string]any)["id"] != "o-7" || s.Data.Remote == "" {
		t.Errorf("%+v", s)
	}
	if s := ask("GET", "/v1/", ""); s.Data.Method != "GET" || s.Data.Body != nil {
		t.Errorf("%+v", s)
	}
	if s := ask("POST", "/v1/", "plain \xff text"); s.Data.Body != "plain \uFFFD text" {
		t.Errorf("%+v", s)
	}
	if a := do(t, "HEAD", url+"/v1/", ""); a.status != 200 || a.body != "" {
		t.Errorf("%+v", a)
	}
}

func sign(secret, body string) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(body))
	return hex.EncodeToString(h.Sum(nil))
}

func TestAuth(t *testing.T) {
	in, url := serve(t, sdktest.Config{"auth": sdktest.Config{"bearer": "s3cret", "hmac": sdktest.Config{"secret": "k", "header": "X-Sig"}}})
	in.Reply("request", echo)
	only, onlyURL := serve(t, sdktest.Config{"auth": sdktest.Config{"hmac": sdktest.Config{"secret": "k"}}})
	only.Reply("request", echo)
	for _, c := range []struct {
		url    string
		status int
		header []string
	}{
		{url, 401, nil},
		{url, 401, []string{"Authorization", "Bearer s3cre"}},
		{url, 401, []string{"Authorization", "Bearer s3crets"}},
		{url, 401, []string{"Authorization", "Bearer "}},
		{url, 401, []string{"Authorization", "Basic s3cret"}},
		{url, 401, []string{"Authorization", "s3cret"}},
		{url, 200, []string{"Authorization", "Bearer s3cret"}},
		{url, 200, []string{"Authorization", "bearer s3cret"}},
		{url, 200, []string{"X-Sig", sign("k", `{"a":1}`)}},
		{url, 200, []string{"X-Sig", "sha256=" + sign("k", `{"a":1}`)}},
		{url, 401, []string{"X-Sig", sign("k", `{"a":2}`)}},
		{url, 401, []string{"X-Sig", sign("K", `{"a":1}`)}},
		{url, 401, []string{"X-Sig", sign("k", `{"a":1}`)[:62]}},
		{url, 401, []string{"X-Sig", "sha256="}},
		{url, 401, []string{"X-Sig", "no hex"}},
		{onlyURL, 401, []string{"Authorization", "Bearer "}},
		{onlyURL, 200, []string{"X-Hub-Signature-256", "sha256=" + sign("k", `{"a":1}`)}},
	} {
		a := do(t, "POST", c.url, `{"a":1}`, c.header...)
		if a.status != c.status {
			t.Errorf("%v: %d %s", c.header, a.status, a.body)
		}
		if c.status == 401 {
			wantError(t, a, 401, "unauthenticated")
			if a.header.Get("WWW-Authenticate") == "" {
				t.Error("a 401 without WWW-Authenticate")
			}
		}
	}
}

// The deadline is the event's, and the response does not wait longer.
func TestTimeout(t *testing.T) {
	in, url := serve(t, sdktest.Config{"timeout": "200ms"})
	a := do(t, "POST", url, "{}")
	wantError(t, a, 504, "deadline_exceeded")
	e := in.Next("request")
	if d := time.Unix(0, e.Event.Deadline).Sub(time.Unix(0, e.Event.Time)); d <= 0 || d > 200*time.Millisecond {
		t.Errorf("the deadline is %v after the event", d)
	}
}

// A client that goes away leaves nothing behind: the drain at the end of the
// test would wait for it, and its goroutines would be seen.
func TestCanceledClient(t *testing.T) {
	in, url := serve(t, sdktest.Config{"timeout": "10m"})
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp, err := http.DefaultClient.Do(r); err == nil {
			resp.Body.Close()
			t.Error("it got a response")
		}
	}()
	in.Next("request") // its promise is left pending
	cancel()
	<-done
}

func TestTwoServersAndKeepAlive(t *testing.T) {
	p := sdktest.New(t, plugin())
	var urls []string
	for _, name := range []string{"a", "b"} {
		l := listen(t)
		in := p.Start(sdktest.Config{"listen": l}, sdktest.Address("http."+name))
		in.Reply("request", func(e *sdktest.Emitted) (any, error) { return e.Event.Type, nil })
		urls = append(urls, "http://"+l.Addr().String())
	}
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}
	for range 3 {
		for i, url := range urls {
			resp, err := client.Post(url, "application/json", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if want := fmt.Sprintf("\"http.%c.request\"\n", 'a'+i); string(b) != want {
				t.Errorf("%q", b)
			}
		}
	}
}

// raw is a connection whose bytes the test decides.
func raw(t *testing.T, url, send string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, send); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestHeaderBounds(t *testing.T) {
	_, url := serve(t, sdktest.Config{})
	c := raw(t, url, "POST / HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("a", 128<<10))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("128 KiB of headers: %s", resp.Status)
	}
	// Half a header has its time, and ends then.
	if s := newServer(Config{Listen: listen(t), MaxConnections: 1, Timeout: time.Second}, &sdk.Env{Log: nullLog()}); s.http.ReadHeaderTimeout != headerTimeout ||
		s.http.ReadTimeout <= 0 || s.http.WriteTimeout <= 2*time.Second || s.http.IdleTimeout <= 0 || s.http.MaxHeaderBytes != maxHeader {
		t.Errorf("a bound is missing: %+v", s.http)
	}
}

// A client that sends its headers a byte at a time is cut off.
func TestSlowClient(t *testing.T) {
	_, url := serve(t, sdktest.Config{})
	begin := time.Now()
	c := raw(t, url, "POST / HTTP/1.1\r\n")
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(500 * time.Millisecond):
				if _, err := io.WriteString(c, "X-A: b\r\n"); err != nil {
					return
				}
			}
		}
	}()
	if _, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
	if time.Since(begin) < headerTimeout/2 {
		t.Errorf("cut off after %v", time.Since(begin))
	}
}

// A body that is announced as too large is refused before it comes, and one that
// stops on its way when its time is over.
func TestBodyThatDoesNotCome(t *testing.T) {
	_, url := serve(t, sdktest.Config{"body_limit": "1KiB"})
	for request, want := range map[string]int{
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1025\r\n\r\n":                         http.StatusRequestEntityTooLarge,
		"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1025\r\n\r\n": http.StatusRequestEntityTooLarge,
	} {
		resp, err := http.ReadResponse(bufio.NewReader(raw(t, url, request)), nil)
		if err != nil || resp.StatusCode != want {
			t.Errorf("%q: %+v, %v", request, resp, err)
		}
	}
	_, url = serve(t, sdktest.Config{"timeout": "1ms"})
	resp, err := http.ReadResponse(bufio.NewReader(raw(t, url, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")), nil)
	if err != nil || resp.StatusCode != http.StatusRequestTimeout {
		t.Errorf("half a body: %+v, %v", resp, err)
	}
}

func TestMaxConnections(t *testing.T) {
	in, url := serve(t, sdktest.Config{"max_connections": 2})
	in.Reply("request", echo)
	idle := []net.Conn{raw(t, url, ""), raw(t, url, "")}
	got := make(chan answer, 1)
	go func() { got <- do(t, "POST", url, "{}") }()
	select {
	case a := <-got:
		t.Fatalf("a third connection was served: %+v", a)
	case <-time.After(300 * time.Millisecond):
	}
	idle[0].Close()
	if a := <-got; a.status != 200 {
		t.Errorf("%+v", a)
	}
}

// What was accepted is answered: a request in flight, one whose first byte is
// read after the drain began, and a second one on a connection kept alive.
func TestDrainAnswersWhatWasAccepted(t *testing.T) {
	in, url := serve(t, sdktest.Config{})
	post := "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
	read := func(c net.Conn, r *bufio.Reader) *http.Response {
		t.Helper()
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		io.Copy(io.Discard, resp.Body)
		return resp
	}

	kept := raw(t, url, post)
	keptReader := bufio.NewReader(kept)
	in.Next("request").Resolve(1)
	if resp := read(kept, keptReader); resp.StatusCode != 200 || resp.Close {
		t.Errorf("before the drain: %+v", resp)
	}
	flight := raw(t, url, post)
	first := in.Next("request")
	silent := raw(t, url, "")
	late := raw(t, url, "")
	// A request that was answered later proves that those were accepted.
	proof := raw(t, url, post)
	in.Next("request").Resolve(0)
	read(proof, bufio.NewReader(proof))

	drained := make(chan int, 1)
	go func() { drained <- in.Drain(time.Minute) }()
	for refusedBy(url) == nil { // nothing is accepted any more
		time.Sleep(5 * time.Millisecond)
	}
	io.WriteString(late, post)
	in.Next("request").Resolve(2)
	if resp := read(late, bufio.NewReader(late)); resp.StatusCode != 200 || !resp.Close {
		t.Errorf("first read in the drain: %s, close %v", resp.Status, resp.Close)
	}
	select {
	case <-drained:
		t.Fatal("the drain did not wait for a request in flight")
	default:
	}
	first.Resolve(3)
	if resp := read(flight, bufio.NewReader(flight)); resp.StatusCode != 200 {
		t.Errorf("in flight: %s", resp.Status)
	}
	if n := <-drained; n != 0 {
		t.Errorf("%d deliveries given up", n)
	}
	for _, c := range []net.Conn{silent, kept} {
		if b, err := io.ReadAll(c); len(b) > 0 || err != nil {
			t.Errorf("a silent connection got %q, %v", b, err)
		}
	}
}

// refusedBy dials the socket, which the test holds too: after the drain began a
// connection waits in the queue and gets no answer.
func refusedBy(url string) error {
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(100 * time.Millisecond))
	io.WriteString(c, "GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	_, err = bufio.NewReader(c).ReadByte()
	return err
}

// Under load, a server is replaced by another on the same socket again and
// again. No request fails.
func TestNoRequestFailsInAReplacement(t *testing.T) {
	l := listen(t)
	url := "http://" + l.Addr().String()
	p := sdktest.New(t, plugin())
	next := func() *sdktest.Instance {
		in := p.Start(sdktest.Config{"listen": l})
		in.Reply("request", echo)
		return in
	}
	in := next()
	stop := make(chan struct{})
	var sent atomic.Int64
	var clients sync.WaitGroup
	for n := range 4 {
		clients.Go(func() {
			tr := &http.Transport{DisableKeepAlives: n%2 == 0}
			defer tr.CloseIdleConnections()
			c := &http.Client{Transport: tr, Timeout: time.Minute}
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := c.Post(url, "application/json", strings.NewReader("{}"))
				if err != nil {
					t.Errorf("after %d requests: %v", sent.Load(), err)
					return
				}
				if io.Copy(io.Discard, resp.Body); resp.StatusCode != 200 {
					t.Errorf("%s", resp.Status)
				}
				resp.Body.Close()
				sent.Add(1)
			}
		})
	}
	for range 5 {
		successor := next()
		if n := in.Drain(time.Minute); n != 0 {
			t.Errorf("%d given up", n)
		}
		in = successor
		before := sent.Load()
		for sent.Load() < before+20 && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
	}
	close(stop)
	clients.Wait()
	t.Logf("%d requests", sent.Load())
}

func TestCheck(t *testing.T) {
	p := sdktest.New(t, plugin())
	for _, c := range []struct {
		config    sdktest.Config
		attribute string
	}{
		{sdktest.Config{"path": "orders"}, "path"},
		{sdktest.Config{"methods": []string{}}, "methods"},
		{sdktest.Config{"methods": []string{"post"}}, "methods"},
		{sdktest.Config{"body_limit": "4MiB"}, "body_limit"},
		{sdktest.Config{"response_limit": 0}, "response_limit"},
		{sdktest.Config{"timeout": "0s"}, "timeout"},
		{sdktest.Config{"max_connections": 0}, "max_connections"},
		{sdktest.Config{"auth": sdktest.Config{}}, "auth"},
		{sdktest.Config{"auth": sdktest.Config{"hmac": sdktest.Config{"secret": ""}}}, "auth.hmac.secret"},
		{sdktest.Config{"base_url": "ftp://x"}, "base_url"},
	} {
		d, _ := p.Verify(c.config)
		if len(d) != 1 || d[0].Attribute != c.attribute {
			t.Errorf("%v: %+v", c.config, d)
		}
		if in, d := p.Prepare(c.config); in != nil || len(d) != 1 {
			t.Errorf("%v is prepared: %+v", c.config, d)
		}
	}
	if d, _ := p.Verify(sdktest.Config{}); len(d) > 0 {
		t.Errorf("%+v", d)
	}
}

// A text of its own needs no event, but whoever may not ask is refused as ever.
func TestReply(t *testing.T) {
	in, url := serve(t, sdktest.Config{"path": "/health", "methods": []string{"GET"}, "reply": "fine\n"})
	if a := do(t, "GET", url+"/health", ""); a.status != 200 || a.body != "fine\n" || a.header.Get("X-Event-Id") != "" {
		t.Errorf("%+v", a)
	}
	wantError(t, do(t, "POST", url+"/health", ""), 405, "unimplemented")
	if e := in.Next("refused"); e.Event.Subject == "" {
		t.Errorf("the first event is not that of the refused request: %+v", e.Event)
	}
}
