package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pluginhost/host/sdk"
)

const (
	headerTimeout = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
	maxSubject    = 1024 // bytes
)

// server answers requests with the outcome of promises.
type server struct {
	config Config
	env    *sdk.Env
	http   *http.Server
	conns  *conns
	ran    chan struct{} // closed when nothing is accepted any more
}

func newServer(c Config, env *sdk.Env) *server {
	s := &server{config: c, env: env, ran: make(chan struct{})}
	s.conns = newConns(c.Listen, c.MaxConnections)
	s.http = &http.Server{
		Handler: s, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ReadTimeout: headerTimeout + c.Timeout, ConnState: s.conns.state,
		// From the end of the headers: the body, the promise, then a client that
		// reads its response too slowly.
		WriteTimeout: c.Timeout + c.Timeout + writeTimeout,
		ErrorLog:     env.Log.StandardLogger(nil),
	}
	return s
}

// run serves until the drain is over.
func (s *server) run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() {
		err := s.http.Serve(s.conns)
		close(s.ran)
		served <- err
	}()
	var err error
	select {
	case err = <-served:
		if s.conns.draining() {
			err = nil
			<-ctx.Done() // the connections go on until drain is done with them
		}
	case <-ctx.Done():
	}
	_ = s.http.Close()
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// drain answers every connection that was accepted. The socket is shared with
// the successor: this holder stops accepting, and shuts nothing down that the
// other could feel. A connection whose first request was not read yet gets its
// answer too, which http.Server.Shutdown would not give it.
func (s *server) drain(ctx context.Context) {
	s.conns.drain(ctx, s.ran)
	_ = s.http.Shutdown(ctx)
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.conns.draining() {
		w.Header().Set("Connection", "close")
	}
	c := &s.config
	below := strings.HasSuffix(c.Path, "/") && strings.HasPrefix(r.URL.Path, c.Path)
	if r.URL.Path != c.Path && !below {
		s.refuse(w, r, http.StatusNotFound, sdk.NotFound, "there is nothing at "+r.URL.Path)
		return
	}
	if !slices.Contains(c.Methods, r.Method) {
		w.Header().Set("Allow", strings.Join(c.Methods, ", "))
		s.refuse(w, r, http.StatusMethodNotAllowed, sdk.Unimplemented, "the method "+r.Method+" is not served")
		return
	}
	body, err := s.read(w, r)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		s.refuse(w, r, http.StatusRequestEntityTooLarge, sdk.InvalidArgument, fmt.Sprintf("the body is larger than body_limit (%d bytes)", c.BodyLimit))
		return
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.refuse(w, r, http.StatusRequestTimeout, sdk.DeadlineExceeded, "the body did not come in time")
		return
	case err != nil:
		s.refuse(w, r, http.StatusBadRequest, sdk.InvalidArgument, "the body cannot be read")
		return
	}
	if !authorized(c.Auth, r, body) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		s.refuse(w, r, http.StatusUnauthorized, sdk.Unauthenticated, "the request does not prove who sends it")
		return
	}
	if c.Reply != "" {
		_, _ = io.WriteString(w, c.Reply)
		return
	}
	data, parsed, ok := s.data(r, body)
	if !ok {
		s.refuse(w, r, http.StatusBadRequest, sdk.InvalidArgument, "the body is not JSON")
		return
	}
	s.answer(w, r, data, parsed)
}

// read returns the body. One that is announced as too large is not waited for.
func (s *server) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limit := int64(s.config.BodyLimit)
	if r.ContentLength > limit {
		w.Header().Set("Connection", "close") // else the response waits for the body
		return nil, &http.MaxBytesError{Limit: limit}
	}
	return io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
}

// data makes the event's data of a request, and the parsed body for the
// subject.
func (s *server) data(r *http.Request, body []byte) (data, parsed any, ok bool) {
	empty := len(bytes.TrimSpace(body)) == 0
	valid := utf8.Valid(body) && json.Valid(body) // json.Valid takes any bytes in a string
	if valid && s.config.Subject != nil {
		_ = json.Unmarshal(body, &parsed) // it is valid
	}
	if s.config.Data == "body" {
		switch {
		case valid:
			return json.RawMessage(body), parsed, true
		case empty:
			return json.RawMessage("{}"), parsed, true
		}
		return nil, nil, false
	}
	d := Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Remote: r.RemoteAddr}
	for _, name := range s.config.Headers {
		if v := r.Header.Values(name); len(v) > 0 {
			if d.Headers == nil {
				d.Headers = map[string]string{}
			}
			d.Headers[strings.ToLower(name)] = strings.Join(v, ", ")
		}
	}
	switch {
	case valid:
		d.Body = json.RawMessage(body)
	case !empty:
		d.Body = strings.ToValidUTF8(string(body), "\uFFFD")
	}
	return d, parsed, true
}

// answer emits the event and answers with the outcome of its promise.
func (s *server) answer(w http.ResponseWriter, r *http.Request, data, parsed any) {
	ctx, cancel := context.WithTimeout(r.Context(), s.config.Timeout)
	defer cancel()
	var opts []sdk.EmitOption
	if tp := r.Header.Get("Traceparent"); tp != "" {
		opts = append(opts, sdk.TraceContext(tp, r.Header.Get("Tracestate")))
	}
	if t := s.config.Subject; t != nil {
		var subject strings.Builder
		if err := t.Execute(&subject, parsed); err == nil && subject.Len() <= maxSubject {
			opts = append(opts, sdk.Subject(subject.String()))
		}
	}
	p := request.Emit(ctx, s.env, data, opts...)
	w.Header().Set("X-Event-Id", p.ID().String())
	value, err := p.Wait(ctx)
	if err == nil {
		if len(value) == 0 {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(value, '\n'))
		return
	}
	var e *sdk.Error
	if !errors.As(err, &e) {
		e = sdk.Errorf(sdk.Internal, "%v", err)
	}
	writeError(w, statusOf(e), e, p.ID())
}

// refuse answers a request that does not become an event. What happened is an
// event all the same, of its own kind.
func (s *server) refuse(w http.ResponseWriter, r *http.Request, status int, code sdk.Code, reason string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), time.Second) // for room in the window
	defer cancel()
	p := refused.Emit(ctx, s.env, Refused{Status: status, Reason: reason, Method: r.Method, Path: r.URL.Path, Remote: r.RemoteAddr},
		sdk.Subject(fmt.Sprintf("%d %.200s", status, reason)))
	w.Header().Set("X-Event-Id", p.ID().String())
	writeError(w, status, sdk.Errorf(code, "%s", reason), p.ID())
}

// statusOf maps an error to the status of a response.
func statusOf(e *sdk.Error) int {
	switch e.Code {
	case sdk.InvalidArgument:
		return http.StatusBadRequest
	case sdk.Unauthenticated:
		return http.StatusUnauthorized
	case sdk.PermissionDenied:
		return http.StatusForbidden
	case sdk.NotFound:
		return http.StatusNotFound
	case sdk.AlreadyExists, sdk.Aborted, sdk.FailedPrecondition:
		return http.StatusConflict
	case sdk.ResourceExhausted:
		if e.Retryable { // else the next request fails as this one did
			return http.StatusTooManyRequests
		}
	case sdk.Unimplemented:
		return http.StatusNotImplemented
	case sdk.Unavailable:
		return http.StatusServiceUnavailable
	case sdk.DeadlineExceeded:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

func writeError(w http.ResponseWriter, status int, e *sdk.Error, id sdk.ID) {
	body := map[string]any{"code": e.Code, "message": e.Message, "event": id}
	if e.Reason != "" {
		body["reason"] = e.Reason
	}
	if e.Instance != "" {
		body["instance"] = e.Instance
	}
	w.Header().Set("Content-Type", "application/json")
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	b, _ := json.Marshal(map[string]any{"error": body}) // plain values cannot fail
	_, _ = w.Write(append(b, '\n'))
}

// authorized compares in constant time.
func authorized(a *Auth, r *http.Request, body []byte) bool {
	if a == nil {
		return true
	}
	if a.Bearer != "" {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare([]byte(token), []byte(a.Bearer)) == 1 {
			return true
		}
	}
	if a.HMAC != nil {
		want := hmac.New(sha256.New, []byte(a.HMAC.Secret))
		want.Write(body)
		got, err := hex.DecodeString(strings.TrimPrefix(r.Header.Get(a.HMAC.Header), "sha256="))
		return err == nil && hmac.Equal(got, want.Sum(nil))
	}
	return false
}
