package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/sdk"
	"github.com/pluginhost/host/sdk/sdktest"
	"github.com/pluginhost/host/sdk/sdktest/port"
)

func nullLog() hclog.Logger { return hclog.NewNullLogger() }

// backend is a server that does what the path says.
func backend(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/base/echo", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Seen", "yes")
		json.NewEncoder(w).Encode(map[string]any{"method": r.Method, "uri": r.RequestURI, "type": r.Header.Get("Content-Type"),
			"key": r.Header.Get("X-Key"), "trace": r.Header.Get("Traceparent"), "body": string(b)})
	})
	mux.HandleFunc("/base/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		var code int
		fmt.Sscan(r.PathValue("code"), &code)
		w.WriteHeader(code)
		fmt.Fprint(w, "because")
	})
	mux.HandleFunc("/base/big", func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 100<<10)) })
	mux.HandleFunc("/base/slow", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/base/go", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.URL.Query().Get("to"))
		w.WriteHeader(http.StatusFound)
	})
	mux.HandleFunc("/base/loop", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/base/loop", http.StatusFound)
	})
	mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/free") {
			t.Errorf("a request left base_url: %s", r.URL)
		}
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func sending(t *testing.T, c sdktest.Config) func(Call) (Reply, *sdk.Error) {
	t.Helper()
	in := sdktest.Start(t, plugin(), c)
	return func(call Call) (r Reply, err *sdk.Error) {
		v, err := in.Call("send", call, func(e *sdk.EventInfo) { e.Traceparent = "00-trace" })
		if err == nil {
			if err := v.Into(&r); err != nil {
				t.Error(err)
			}
		}
		return r, err
	}
}

func TestSend(t *testing.T) {
	s := backend(t)
	send := sending(t, sdktest.Config{"base_url": s.URL + "/base"})
	type seen struct{ Method, URI, Type, Key, Trace, Body string }
	for _, c := range []struct {
		call Call
		want seen
	}{
		{Call{URL: "echo"}, seen{Method: "GET", URI: "/base/echo"}},
		{Call{URL: "/echo?a=1&b=%2F", Body: json.RawMessage(`{"a":1}`)}, seen{Method: "POST", URI: "/base/echo?a=1&b=%2F", Type: "application/json", Body: `{"a":1}`}},
		{Call{URL: s.URL + "/base/echo", Method: "put", Body: json.RawMessage(`"text"`), Headers: map[string]string{"X-Key": "k"}},
			seen{Method: "PUT", URI: "/base/echo", Type: "text/plain; charset=utf-8", Body: "text", Key: "k"}},
	} {
		r, err := send(c.call)
		if err != nil {
			t.Errorf("%+v: %v", c.call, err)
			continue
		}
		c.want.Trace = "00-trace"
		var got seen
		if json.Unmarshal(r.Body, &got); got != c.want || r.Status != 200 || r.Headers["x-seen"] != "yes" {
			t.Errorf("%+v, %+v", got, r)
		}
	}
}

func TestSendStatuses(t *testing.T) {
	send := sending(t, sdktest.Config{"base_url": backend(t).URL + "/base/"})
	for status, want := range map[int]struct {
		code      sdk.Code
		retryable bool
	}{
		400: {sdk.FailedPrecondition, false}, 404: {sdk.FailedPrecondition, false}, 429: {sdk.Unavailable, true},
		500: {sdk.Unknown, false}, 502: {sdk.Unavailable, true}, 503: {sdk.Unavailable, true}, 504: {sdk.Unavailable, true},
	} {
		_, err := send(Call{URL: fmt.Sprintf("status/%d", status)})
		if err == nil || err.Code != want.code || err.Retryable != want.retryable {
			t.Errorf("%d: %+v", status, err)
			continue
		}
		var r Reply
		if e := json.Unmarshal(err.Details, &r); e != nil || r.Status != status || string(r.Body) != `"because"` {
			t.Errorf("%d: details %s", status, err.Details)
		}
	}
	if r, err := send(Call{URL: "status/204"}); err != nil || r.Status != 204 || len(r.Body) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestSendFails(t *testing.T) {
	s := backend(t)
	send := sending(t, sdktest.Config{"base_url": s.URL + "/base", "timeout": "300ms", "response_limit": "64KiB"})
	if _, err := send(Call{URL: "slow"}); err == nil || err.Code != sdk.DeadlineExceeded || !err.Retryable {
		t.Errorf("a slow body: %v", err)
	}
	if _, err := send(Call{URL: "big"}); err == nil || err.Code != sdk.OutOfRange || err.Retryable {
		t.Errorf("a large body: %v", err)
	}
	if _, err := send(Call{URL: "echo", Method: "NO WAY"}); err == nil || err.Code != sdk.InvalidArgument {
		t.Errorf("a bad method: %v", err)
	}
	gone := sending(t, sdktest.Config{})
	if _, err := gone(Call{URL: fmt.Sprintf("http://127.0.0.1:%d", port.Free(t))}); err == nil || err.Code != sdk.Unavailable || !err.Retryable {
		t.Errorf("nobody listens: %v", err)
	}
	for _, bad := range []string{"", "/echo", "ftp://x/", "http://", "::"} {
		if _, err := gone(Call{URL: bad}); err == nil || err.Code != sdk.InvalidArgument {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestCanceledSend(t *testing.T) {
	in := sdktest.Start(t, plugin(), sdktest.Config{"base_url": backend(t).URL + "/base", "timeout": "10m"})
	d := in.Deliver("send", Call{URL: "slow"})
	time.AfterFunc(100*time.Millisecond, d.Cancel)
	if _, err := d.Wait(); err == nil || err.Code != sdk.Canceled || err.Retryable {
		t.Errorf("%+v", err)
	}
}

// With base_url nothing leads away from it: no path, no host, no redirect.
func TestBaseURL(t *testing.T) {
	s := backend(t)
	send := sending(t, sdktest.Config{"base_url": s.URL + "/base"})
	for _, bad := range []string{"../admin", "/../admin", "x/../../admin", "%2e%2e/admin", "..%2fadmin", s.URL + "/admin", s.URL + "/base/../admin",
		s.URL + "/base/%2e%2e/admin", s.URL + "/based", "http://example.com/base/x", "//example.com/base/x", "http://u:p@" + strings.TrimPrefix(s.URL, "http://") + "/base/echo"} {
		if _, err := send(Call{URL: bad}); err == nil || err.Code != sdk.InvalidArgument {
			t.Errorf("%q: %v", bad, err)
		}
	}
	// A redirect that leads away is the reply; it is not followed.
	for _, to := range []string{"/admin", "http://127.0.0.1:1/base/", "/base/../admin"} {
		if r, err := send(Call{URL: "go?to=" + to}); err != nil || r.Status != 302 || r.Headers["location"] == "" {
			t.Errorf("%s: %+v, %v", to, r, err)
		}
	}
	if r, err := send(Call{URL: "go?to=/base/echo"}); err != nil || r.Status != 200 {
		t.Errorf("below it: %+v, %v", r, err)
	}
	if r, err := send(Call{URL: "loop"}); err != nil || r.Status != 302 {
		t.Errorf("a loop: %+v, %v", r, err)
	}
}
