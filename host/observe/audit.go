package observe

import (
	"sync"
	"time"

	"github.com/pluginhost/host/sdk/wire"
)

// Bounds of what one instance may have told of it: a few at once, then one
// each second. All are counted.
const (
	auditBurst = 8
	auditPause = time.Second
)

// Audit notes attempts to act as somebody else: to emit in another's name, to
// settle what one never had, to use a token that never was. Whoever notices one
// refuses it; this tells of it. Its methods may be called from any goroutine.
type Audit struct {
	rec *Recorder
	log func(instance string, err *wire.Error, untold uint64)

	mu sync.Mutex
	by map[string]*suspect // by instance; they are as many as the configuration has
}

type suspect struct {
	refused uint64
	untold  uint64
	left    int // that may be told now
	since   time.Time
}

// NewAudit returns an audit that writes to a recorder and calls log, which
// must not block. Both may be nil. untold is how many attempts of the instance
// were not told since the last call.
func NewAudit(rec *Recorder, log func(instance string, err *wire.Error, untold uint64)) *Audit {
	return &Audit{rec: rec, log: log, by: map[string]*suspect{}}
}

// Refuse notes that an instance tried something that was refused with err.
// event is the event that it was about, or zero.
func (a *Audit) Refuse(instance string, event wire.ID, err *wire.Error) {
	if a == nil { // nobody wants to know
		return
	}
	now := time.Now()
	a.mu.Lock()
	s := a.by[instance]
	if s == nil {
		s = &suspect{left: auditBurst, since: now}
		a.by[instance] = s
	}
	s.refused++
	if n := int(now.Sub(s.since) / auditPause); n > 0 {
		s.left = min(s.left+n, auditBurst)
		s.since = now
	}
	if s.left == 0 {
		s.untold++
		a.mu.Unlock()
		return
	}
	s.left--
	untold := s.untold
	s.untold = 0
	a.mu.Unlock()
	if a.rec != nil {
		a.rec.Record(&Entry{Time: now, Step: Refused, Event: event, Instance: instance, Err: err})
	}
	if a.log != nil {
		a.log(instance, err, untold)
	}
}

// Refused returns how often each instance was refused.
func (a *Audit) Refused() map[string]uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := make(map[string]uint64, len(a.by))
	for i, s := range a.by {
		n[i] = s.refused
	}
	return n
}
