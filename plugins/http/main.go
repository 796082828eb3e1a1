// Command http is the plugin http: a server whose requests are events and whose
// responses are the outcome of their promises, and a client as an action.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/pluginhost/host/sdk"
)

// Config is the configuration of an instance. Without listen it is a client
// only.
type Config struct {
	Listen         net.Listener       `host:"listen" doc:"Where the server listens; without it the instance is a client only."`
	Path           string             `host:"path" default:"/" doc:"The path that is served, exactly; one that ends in / serves everything below it."`
	Methods        []string           `host:"methods" default:"[\"POST\"]" doc:"Methods that are served."`
	Headers        []string           `host:"headers" default:"[]" doc:"Request headers to pass on, with data = \"request\"."`
	Data           string             `host:"data" default:"body" oneof:"body|request" doc:"The event's data: the JSON body itself, or an object with method, path, query, headers, remote and body."`
	Subject        *template.Template `host:"subject" doc:"Subject of the event, a template over the JSON body: {{.id}}."`
	BodyLimit      sdk.Bytes          `host:"body_limit" default:"1MiB" doc:"Largest body that is read."`
	Reply          string             `host:"reply" doc:"Answer with this text and emit no event: for checks of health, and pages that do not change."`
	Timeout        time.Duration      `host:"timeout" default:"30s" doc:"How long a response may take; the deadline of the event. Of the client, how long a call may take."`
	MaxConnections int                `host:"max_connections" default:"10000" doc:"Connections at once; more wait in the socket's queue."`
	Auth           *Auth              `host:"auth" doc:"Who may send requests; without it, everybody."`
	BaseURL        *url.URL           `host:"base_url" doc:"Of the client: calls go here and nowhere else."`
	ResponseLimit  sdk.Bytes          `host:"response_limit" default:"1MiB" doc:"Of the client: largest body of a response that is read."`
}

// Auth says who may send requests. Both may be set; one is enough then.
type Auth struct {
	Bearer sdk.Secret `host:"bearer" doc:"Token that Authorization: Bearer must carry."`
	HMAC   *HMAC      `host:"hmac" doc:"Signature of the body."`
}

// HMAC is a signature of the body with a shared secret.
type HMAC struct {
	Secret sdk.Secret `host:"secret,required" doc:"Shared with the sender."`
	Header string     `host:"header" default:"X-Hub-Signature-256" doc:"Header that carries the signature in hex, with or without sha256= before it."`
}

// Refused is the data of the event refused.
type Refused struct {
	Status int    `json:"status" doc:"Of the response."`
	Reason string `json:"reason" doc:"What is wrong with the request."`
	Method string `json:"method"`
	Path   string `json:"path"`
	Remote string `json:"remote" doc:"Address of the client."`
}

// Request is the data of the event request when data = "request".
type Request struct {
	Method  string              `json:"method"`
	Path    string              `json:"path"`
	Query   map[string][]string `json:"query,omitempty"`
	Headers map[string]string   `json:"headers,omitempty"`
	Remote  string              `json:"remote"`
	Body    any                 `json:"body,omitempty"`
}

var (
	request = sdk.Event[any]("request", "A request came; its response is the outcome of the promise.")
	refused = sdk.Event[Refused]("refused", "A request was refused before it became an event.")
	send    = sdk.Action[Call, Reply]("send", "Sends a request and returns the response.")
)

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin[Config] {
	return sdk.Plugin[Config]{
		Name: "http", Version: "0.1.0", Doc: "An HTTP server whose requests are events, and an HTTP client.",
		Events: sdk.Events{request, refused}, Actions: sdk.Actions{send}, Capabilities: []string{"network"},
		Verify: func(_ context.Context, c Config, _ func(string, int)) error { return check(c) },
		New: func(_ context.Context, c Config, env *sdk.Env) (*sdk.Instance, error) {
			if err := check(c); err != nil {
				return nil, err
			}
			client := newClient(c)
			in := &sdk.Instance{
				Handlers: sdk.Handlers{send.Handle(client.send)},
				Close:    func() error { client.close(); return nil },
			}
			if c.Listen != nil {
				s := newServer(c, env)
				in.Run, in.OnDrain = s.run, s.drain
			}
			return in, nil
		},
	}
}

func check(c Config) error {
	var errs []error
	wrong := func(attribute, format string, args ...any) {
		errs = append(errs, &sdk.AttrError{Attribute: attribute, Err: fmt.Errorf(format, args...)})
	}
	if !strings.HasPrefix(c.Path, "/") {
		wrong("path", "%q does not begin with /", c.Path)
	}
	if len(c.Methods) == 0 {
		wrong("methods", "it needs at least one method")
	}
	known := []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	for _, m := range c.Methods {
		if !slices.Contains(known, m) {
			wrong("methods", "%q is not one of %s", m, strings.Join(known, ", "))
		}
	}
	if c.BodyLimit < 1 || c.BodyLimit > 3<<20 {
		wrong("body_limit", "it is from 1 byte to 3 MiB")
	}
	if c.ResponseLimit < 1 || c.ResponseLimit > 3<<20 {
		wrong("response_limit", "it is from 1 byte to 3 MiB")
	}
	if c.Timeout <= 0 {
		wrong("timeout", "it is more than nothing")
	}
	if c.MaxConnections < 1 {
		wrong("max_connections", "it is at least 1")
	}
	if c.Auth != nil && c.Auth.Bearer == "" && c.Auth.HMAC == nil {
		wrong("auth", "it needs bearer or hmac")
	}
	if c.Auth != nil && c.Auth.HMAC != nil && c.Auth.HMAC.Secret == "" {
		wrong("auth.hmac.secret", "it is empty")
	}
	if c.BaseURL != nil && c.BaseURL.Scheme != "http" && c.BaseURL.Scheme != "https" {
		wrong("base_url", "it is http:// or https://")
	}
	return errors.Join(errs...)
}
