// Package delivery reads how a route delivers: attempts, their timing, the queue.
package delivery

import (
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/config/reference"
	"github.com/pluginhost/host/host/config/syntax"
)

// Policy is how a route delivers, as its delivery block says.
type Policy struct {
	Timeout     time.Duration       // of one attempt; default 30 s
	Attempts    int                 // default 3
	Backoff     time.Duration       // before the second attempt, doubles; default 100 ms
	MaxBackoff  time.Duration       // default 10 s, or Backoff where that is more; 0 is for none
	Await       bool                // the promise waits for this route; default true
	Queue       int                 // deliveries waiting; default 1024
	Overflow    string              // block (default), reject, drop_oldest
	Concurrency int                 // in flight at once; 0: as the instance has credit
	Order       string              // "" or "subject"
	DeadLetter  *reference.Endpoint // an action, or nil
	Durable     bool                // refused for now with a diagnostic that says so
}

// Defaults is the policy of a route that says nothing.
func Defaults() Policy {
	return Policy{Timeout: 30 * time.Second, Attempts: 3, Backoff: 100 * time.Millisecond,
		MaxBackoff: 10 * time.Second, Await: true, Queue: 1024, Overflow: "block"}
}

// Read reads a delivery block over the policy; nil is for none. action reads a
// reference to an action. What is wrong is told, by action too.
func (p *Policy) Read(d *syntax.Reader, action func(hclsyntax.Expression) (reference.Endpoint, bool), diags *diagnostic.List) {
	if d == nil {
		return
	}
	d.Duration("timeout", &p.Timeout, time.Millisecond, 24*time.Hour)
	d.Number("attempts", &p.Attempts, 1, 100)
	d.Duration("backoff", &p.Backoff, 0, time.Hour)
	d.Duration("max_backoff", &p.MaxBackoff, 0, 24*time.Hour)
	if a := d.Body.Attributes["max_backoff"]; p.MaxBackoff > 0 && p.Backoff > p.MaxBackoff {
		if a != nil {
			diags.Problem("Out of range", fmt.Sprintf("max_backoff of a delivery is at least its backoff, which is %s; 0s is for no limit.", p.Backoff), a.SrcRange.Ptr())
		}
		p.MaxBackoff = p.Backoff
	}
	d.Flag("await", &p.Await)
	d.Number("queue", &p.Queue, 1, 100_000)
	d.OneOf("overflow", &p.Overflow, "block", "reject", "drop_oldest")
	d.Number("concurrency", &p.Concurrency, 0, 100_000)
	d.OneOf("order", &p.Order, "", "subject")
	d.Flag("durable", &p.Durable)
	if p.Durable {
		diags.Problem("Not available yet", "durable = true needs the journal, which this version does not have. Remove the line: events are kept in memory.", d.Body.Attributes["durable"].SrcRange.Ptr())
	}
	if e := d.Expr("dead_letter"); e != nil {
		if to, ok := action(e); ok {
			p.DeadLetter = &to
		}
	}
	d.Done()
}

// Text says what is set otherwise than by default; it is empty where nothing is.
func (p *Policy) Text() string {
	var set []string
	add := func(name string, value, normal any) {
		if value == normal {
			return
		}
		switch value.(type) {
		case string, time.Duration:
			value = fmt.Sprintf("%q", fmt.Sprint(value))
		}
		set = append(set, fmt.Sprintf("%s = %v", name, value))
	}
	n := Defaults()
	add("timeout", p.Timeout, n.Timeout)
	add("attempts", p.Attempts, n.Attempts)
	add("backoff", p.Backoff, n.Backoff)
	add("max_backoff", p.MaxBackoff, n.MaxBackoff)
	add("await", p.Await, n.Await)
	add("queue", p.Queue, n.Queue)
	add("overflow", p.Overflow, n.Overflow)
	add("concurrency", p.Concurrency, n.Concurrency)
	add("order", p.Order, n.Order)
	add("durable", p.Durable, n.Durable)
	if p.DeadLetter != nil {
		set = append(set, "dead_letter = "+p.DeadLetter.Instance+"."+p.DeadLetter.Name)
	}
	if len(set) == 0 {
		return ""
	}
	return " delivery { " + strings.Join(set, ", ") + " }"
}
