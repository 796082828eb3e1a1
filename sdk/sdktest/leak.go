package sdktest

import (
	"fmt"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// labelKey marks goroutines. A goroutine inherits the labels of the one that
// starts it, so that all of a plugin's have them and nobody else's.
const labelKey = "sdktest"

// leakPatience is how long goroutines may take to end after the plugin has.
const leakPatience = 5 * time.Second

// goroutines returns the stacks of those with a label that do not end, or "".
func goroutines(label string) string {
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		left := labelled(label)
		if left == "" || time.Since(begin) > leakPatience {
			return left
		}
	}
}

func labelled(label string) string {
	var b strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return err.Error()
	}
	mark := fmt.Sprintf("%q:%q", labelKey, label)
	var left []string
	for stack := range strings.SplitSeq(b.String(), "\n\n") {
		if strings.Contains(stack, mark) {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}

// testLog writes what the plugin logs to the test's log, as long as there is
// one.
type testLog struct {
	mu   sync.Mutex
	t    testing.TB
	over bool
}

func newLog(t testing.TB) *testLog { return &testLog{t: t} }

func (l *testLog) logger() hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Name: "plugin", Level: hclog.Trace, Output: l, DisableTime: true})
}

// Write implements io.Writer.
func (l *testLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.t.Log(strings.TrimSuffix(string(b), "\n"))
	}
	return len(b), nil
}

func (l *testLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
}
