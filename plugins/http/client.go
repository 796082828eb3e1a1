package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/pluginhost/host/sdk"
)

// Call is what the action send takes.
type Call struct {
	URL     string            `json:"url,omitempty" doc:"Absolute, or below base_url."`
	Method  string            `json:"method,omitempty" doc:"POST with a body, GET without one, unless given."`
	Headers map[string]string `json:"headers,omitempty"`
	Body    json.RawMessage   `json:"body,omitempty" doc:"A string is sent as it is, anything else as JSON."`
}

// Reply is what it returns.
type Reply struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    json.RawMessage   `json:"body,omitempty" doc:"JSON where it is JSON, a string otherwise."`
}

// client sends requests.
type client struct {
	config Config
	http   *http.Client
}

func newClient(c Config) *client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil // the environment does not decide where calls go
	t.MaxIdleConnsPerHost, t.MaxConnsPerHost = 16, 256
	return &client{config: c, http: &http.Client{Transport: t, Timeout: c.Timeout,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects || c.BaseURL != nil && !below(c.BaseURL, r.URL) {
				return http.ErrUseLastResponse // the redirect itself is the reply
			}
			return nil
		}}}
}

const maxRedirects = 5

func (c *client) close() { c.http.CloseIdleConnections() }

func (c *client) send(ctx context.Context, in Call) (Reply, error) {
	target, err := c.target(in.URL)
	if err != nil {
		return Reply{}, sdk.Errorf(sdk.InvalidArgument, "%v", err)
	}
	body, kind := []byte(in.Body), "application/json"
	var s string // null is no body
	if json.Unmarshal(body, &s) == nil {
		body, kind = []byte(s), "text/plain; charset=utf-8"
	}
	method := strings.ToUpper(in.Method)
	if method == "" {
		method = http.MethodGet
		if len(body) > 0 {
			method = http.MethodPost
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return Reply{}, sdk.Errorf(sdk.InvalidArgument, "%v", err)
	}
	if len(body) > 0 {
		r.Header.Set("Content-Type", kind)
	}
	if e, ok := sdk.FromContext(ctx); ok && e.Traceparent != "" {
		r.Header.Set("Traceparent", e.Traceparent)
	}
	for k, v := range in.Headers {
		r.Header.Set(k, v)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return Reply{}, failure(err)
	}
	defer func() { _ = resp.Body.Close() }()
	return c.reply(resp)
}

// target resolves a URL; with a base nothing leads away from it.
func (c *client) target(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", err
	}
	if base := c.config.BaseURL; base != nil {
		full := u
		if !u.IsAbs() && u.Host == "" {
			full = base.JoinPath(u.EscapedPath())
			full.RawQuery = u.RawQuery
		}
		if !below(base, full) {
			return "", fmt.Errorf("%s is not below base_url %s", raw, base)
		}
		return full.String(), nil
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("%q is not an http:// or https:// URL", raw)
	}
	return u.String(), nil
}

// below reports whether nothing of u, read as a server may read it, leads away
// from base.
func below(base, u *url.URL) bool {
	root := strings.TrimSuffix(path.Clean("/"+base.Path), "/") + "/"
	return u.Scheme == base.Scheme && u.Host == base.Host && u.User == nil &&
		strings.HasPrefix(strings.TrimSuffix(path.Clean("/"+u.Path), "/")+"/", root)
}

func (c *client) reply(resp *http.Response) (Reply, error) {
	limit := int64(c.config.ResponseLimit)
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return Reply{}, failure(err)
	}
	if int64(len(b)) > limit {
		return Reply{}, sdk.Errorf(sdk.OutOfRange, "the response is larger than response_limit")
	}
	out := Reply{Status: resp.StatusCode, Headers: map[string]string{}}
	for k := range resp.Header {
		out.Headers[strings.ToLower(k)] = resp.Header.Get(k)
	}
	switch {
	case json.Valid(b):
		out.Body = b
	case len(b) > 0:
		out.Body, _ = json.Marshal(strings.ToValidUTF8(string(b), "\uFFFD")) // strings cannot fail
	}
	switch code := resp.StatusCode; {
	case code == http.StatusTooManyRequests, code == http.StatusBadGateway, code == http.StatusServiceUnavailable, code == http.StatusGatewayTimeout:
		return out, rejection(sdk.Unavailable, true, out)
	case code >= 500:
		return out, rejection(sdk.Unknown, false, out)
	case code >= 400:
		return out, rejection(sdk.FailedPrecondition, false, out)
	}
	return out, nil
}

// rejection carries the response in its details.
func rejection(code sdk.Code, retryable bool, r Reply) error {
	e := sdk.Errorf(code, "the server answered %d %s", r.Status, http.StatusText(r.Status))
	e.Retryable = retryable
	e.Details, _ = json.Marshal(r) // its body is JSON
	return e
}

// failure is an error without a response.
func failure(err error) error {
	if errors.Is(err, context.Canceled) {
		return sdk.Errorf(sdk.Canceled, "%v", err)
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		e := sdk.Errorf(sdk.DeadlineExceeded, "%v", err)
		e.Retryable = true
		return e
	}
	return sdk.Errorf(sdk.Unavailable, "%v", err)
}
