package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/cronexpr"
)

// schedule is a cron expression in a time zone. As in other crons, one for
// certain hours follows the clock on the wall: what daylight saving skips is
// due when the gap is over, and what it repeats is due once. One for every hour,
// or every so many, follows the time that passes.
type schedule struct {
	expression *cronexpr.Expression
	zone       *time.Location
	wall       bool
}

// nicknames stand for schedules.
var nicknames = []string{"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"}

var year = regexp.MustCompile(`^\d{4}`)

func newSchedule(text string, zone *time.Location) (*schedule, error) {
	switch fields := strings.Fields(text); {
	case strings.HasPrefix(text, "@") && !slices.Contains(nicknames, text):
		return nil, fmt.Errorf("%q is none of %s", text, strings.Join(nicknames, ", "))
	case !strings.HasPrefix(text, "@") && (len(fields) < 5 || len(fields) > 7):
		return nil, fmt.Errorf("%q has %d fields: write minute hour day month weekday, with seconds before them and a year behind them where wanted", text, len(fields))
	}
	if fields := strings.Fields(text); len(fields) == 6 && !year.MatchString(fields[5]) { // other crons have seconds there
		return nil, fmt.Errorf("%q has six fields, and the sixth is a year such as 2027; with seconds write seven: \"%s *\"", text, strings.Join(fields, " "))
	}
	e, err := cronexpr.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	return &schedule{expression: e, zone: zone, wall: !everyHour(text)}, nil
}

// everyHour reports whether the hours of an expression are a star, or steps
// from one.
func everyHour(text string) bool {
	fields := strings.Fields(text)
	switch len(fields) {
	case 1:
		return fields[0] == "@hourly"
	case 5, 6: // minute, hour, …
		return strings.HasPrefix(fields[1], "*")
	default: // second, minute, hour, …
		return strings.HasPrefix(fields[2], "*")
	}
}

// next is the first time that is due after t; zero for never.
func (s *schedule) next(t time.Time) time.Time {
	t = t.In(s.zone)
	if !s.wall {
		return s.expression.Next(t)
	}
	// The wall's clock is counted in UTC, where no hour is missing.
	for at := onWall(t); ; {
		at = s.expression.Next(at)
		if at.IsZero() {
			return at
		}
		if due := s.moment(at); due.After(t) {
			return due
		}
	}
}

func onWall(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// moment is when the wall's clock first shows a time, or jumps over it.
func (s *schedule) moment(at time.Time) time.Time {
	t := time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), 0, s.zone)
	start, end := t.ZoneBounds()
	switch shown := onWall(t); {
	case shown.After(at): // it is in the gap before this time's zone began
		return start
	case shown.Before(at):
		return end
	}
	if !start.IsZero() { // does the zone before it show the same?
		_, now := t.Zone()
		_, before := start.Add(-time.Second).Zone()
		if first := t.Add(time.Duration(now-before) * time.Second); first.Before(start) && onWall(first).Equal(at) {
			return first
		}
	}
	return t
}
