package redact

import (
	"fmt"
	"slices"

	"github.com/hashicorp/go-hclog"
)

// logger hides secrets in what is logged.
type logger struct {
	hclog.Logger
	values *Values
}

// Log returns a logger that hides the values in messages and fields. What plugins
// write to their log, and what they say in errors, passes through it.
func (s *Values) Log(to hclog.Logger) hclog.Logger { return &logger{to, s} }

// args hides them in the values of fields, also in those that become text only
// when they are written: errors and the like.
func (l *logger) args(args []any) []any {
	mine := false
	for n, a := range args {
		var text string
		switch x := a.(type) {
		case string:
			text = x
		case hclog.Format, hclog.CapturedStacktrace, bool, int, int64, uint32, uint64, nil:
			continue
		default:
			text = fmt.Sprint(x)
		}
		hidden := l.values.Hide(text)
		if hidden == text {
			continue
		}
		if !mine {
			args, mine = slices.Clone(args), true
		}
		args[n] = hidden
	}
	return args
}

// Log implements hclog.Logger.
func (l *logger) Log(level hclog.Level, msg string, args ...any) {
	if level >= l.GetLevel() {
		l.Logger.Log(level, l.values.Hide(msg), l.args(args)...)
	}
}

// Trace implements hclog.Logger, as those that follow do.
func (l *logger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }

// Debug is Trace.
func (l *logger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }

// Info is Trace.
func (l *logger) Info(msg string, args ...any) { l.Log(hclog.Info, msg, args...) }

// Warn is Trace.
func (l *logger) Warn(msg string, args ...any) { l.Log(hclog.Warn, msg, args...) }

func (l *logger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

// With is Trace.
func (l *logger) With(args ...any) hclog.Logger {
	return &logger{l.Logger.With(l.args(args)...), l.values}
}

// Named is Trace.
func (l *logger) Named(name string) hclog.Logger { return &logger{l.Logger.Named(name), l.values} }

// ResetNamed is Trace.
func (l *logger) ResetNamed(name string) hclog.Logger {
	return &logger{l.Logger.ResetNamed(name), l.values}
}
