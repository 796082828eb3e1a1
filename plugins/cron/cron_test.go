package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pluginhost/host/sdk/sdktest"
)

// ticks takes the ticks that have come.
func ticks(in *sdktest.Instance) (out []Tick) {
	synctest.Wait()
	for _, e := range in.Emitted("tick") {
		var t Tick
		e.Into(&t)
		out = append(out, t)
		e.Resolve(nil)
	}
	synctest.Wait()
	return out
}

// due lists when ticks were scheduled.
func due(all []Tick) string {
	var out []string
	for _, t := range all {
		out = append(out, t.Scheduled.UTC().Format("15:04:05"))
	}
	return strings.Join(out, " ")
}

// Time in a bubble begins at midnight of a Saturday, 2000-01-01, in UTC.
func bubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

func TestTicks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		in := sdktest.Start(t, plugin(), sdktest.Config{"schedule": "*/20 * * * *"})
		time.Sleep(time.Hour + time.Minute)
		all := ticks(in)
		if due(all) != "00:20:00 00:40:00 01:00:00" {
			t.Errorf("%s", due(all))
		}
		for i, x := range all {
			if x.Sequence != uint64(i+1) || x.Missed || x.Actual.Sub(x.Scheduled) < 0 || x.Actual.Sub(x.Scheduled) > time.Second {
				t.Errorf("%+v", x)
			}
		}
		// After the drain nothing comes.
		in.Drain(time.Second)
		time.Sleep(time.Hour)
		if n := len(ticks(in)); n > 0 {
			t.Errorf("%d ticks after the drain", n)
		}
	})
}

func TestEvery(t *testing.T) {
	bubble(t, func(t *testing.T) {
		time.Sleep(7 * time.Second)
		in := sdktest.Start(t, plugin(), sdktest.Config{"every": "15s"})
		time.Sleep(time.Minute)
		if got := due(ticks(in)); got != "00:00:15 00:00:30 00:00:45 00:01:00" {
			t.Errorf("%s", got)
		}
		fast := sdktest.Start(t, plugin(), sdktest.Config{"every": "10ms"})
		time.Sleep(time.Second)
		if n := len(ticks(fast)); n < 99 || n > 101 {
			t.Errorf("%d ticks in a second", n)
		}
	})
}

func TestPausedUntilCommit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		in, _ := sdktest.New(t, plugin()).Prepare(sdktest.Config{"every": "1s"})
		time.Sleep(time.Minute)
		if n := len(ticks(in)); n > 0 {
			t.Errorf("%d ticks before the commit", n)
		}
		in.Commit()
		time.Sleep(2 * time.Second)
		if n := len(ticks(in)); n == 0 {
			t.Error("no tick after it")
		}
	})
}

// What was due while nothing ran, by policy. The checkpoint is what tells.
func TestMissed(t *testing.T) {
	for policy, want := range map[string]struct {
		ticks string
		long  int // after a long time
	}{
		"skip": {"", 0},
		"once": {"03:00:00", 1},
		"all":  {"02:00:00 03:00:00", maxMissed},
	} {
		t.Run(policy, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				state := sdktest.StateDir(t.TempDir())
				config := sdktest.Config{"schedule": "@hourly", "missed": policy}
				in := sdktest.Start(t, plugin(), config, state)
				time.Sleep(time.Hour + time.Minute)
				if got := due(ticks(in)); got != "01:00:00" {
					t.Errorf("at first %q", got)
				}
				in.Process().Kill()
				time.Sleep(2*time.Hour + 10*time.Minute)
				in = sdktest.Start(t, plugin(), config, state)
				all := ticks(in)
				if due(all) != want.ticks {
					t.Errorf("made up for %q", due(all))
				}
				for _, x := range all {
					if !x.Missed {
						t.Errorf("%+v", x)
					}
				}
				time.Sleep(time.Hour)
				if got := due(ticks(in)); got != "04:00:00" {
					t.Errorf("then %q", got)
				}
				in.Drain(time.Second)

				time.Sleep(1000 * time.Hour)
				in = sdktest.Start(t, plugin(), config, state)
				long := ticks(in)
				if len(long) != want.long {
					t.Fatalf("%d ticks after 1000 hours", len(long))
				}
				if n := len(long); n > 0 && time.Since(long[n-1].Scheduled) > time.Hour {
					t.Errorf("the last is of %v", long[n-1].Scheduled)
				}
			})
		})
	}
}

// A long outage of a quick schedule is looked through from its end.
func TestMissedQuickly(t *testing.T) {
	k, err := newClock(Config{Schedule: "* * * * * * *", Timezone: "UTC"})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	next := k.next
	k.next = func(t time.Time) time.Time { n++; return next(t) }
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	all := k.between(now.AddDate(-10, 0, 0), now)
	if len(all) != maxMissed || !all[len(all)-1].Equal(now) || n > 1000 {
		t.Errorf("%d ticks, the last of %v, after %d steps", len(all), all[len(all)-1], n)
	}
	if all := k.between(time.Time{}.AddDate(1, 0, 0), now); len(all) != maxMissed {
		t.Errorf("%d", len(all))
	}
	yearly, err := newClock(Config{Schedule: "@yearly", Timezone: "UTC"})
	if err != nil {
		t.Fatal(err)
	}
	if all := yearly.between(now.AddDate(-3, 0, 0), now.AddDate(0, 1, 0)); len(all) != 4 {
		t.Errorf("%v", all)
	}
}

func TestCheckpoint(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "last-tick")
		for name, content := range map[string]string{"no time": "rubbish\n", "of the future": "2100-01-01T00:00:00Z\n", "nothing": ""} {
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			in := sdktest.Start(t, plugin(), sdktest.Config{"every": "1m", "missed": "all"}, sdktest.StateDir(dir))
			if n := len(ticks(in)); n > 0 {
				t.Errorf("%s: %d ticks at once", name, n)
			}
			time.Sleep(time.Minute)
			all := ticks(in)
			if len(all) != 1 || all[0].Missed || all[0].Scheduled.Before(begin) {
				t.Errorf("%s: %+v", name, all)
			}
			in.Drain(time.Second)
			if b, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(b)) != all[0].Scheduled.UTC().Format(time.RFC3339Nano) {
				t.Errorf("%s: the checkpoint is %q, %v", name, b, err)
			}
		}
	})
}

func TestJitterIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		in := sdktest.Start(t, plugin(), sdktest.Config{"every": "10s", "jitter": "9s"})
		time.Sleep(200*10*time.Second + 9*time.Second)
		all := ticks(in)
		if len(all) != 200 {
			t.Errorf("%d ticks of 200", len(all))
		}
		var least, most time.Duration = time.Hour, 0
		for _, x := range all {
			late := x.Actual.Sub(x.Scheduled)
			least, most = min(least, late), max(most, late)
		}
		if least < 0 || most > 9*time.Second || most-least < time.Second {
			t.Errorf("from %v to %v", least, most)
		}
	})
}

func TestOverlap(t *testing.T) {
	for policy, want := range map[string]int{"allow": 3, "skip": 1} {
		bubble(t, func(t *testing.T) {
			in := sdktest.Start(t, plugin(), sdktest.Config{"every": "1m", "overlap": policy})
			time.Sleep(3*time.Minute + time.Second)
			synctest.Wait()
			pending := in.Emitted("tick") // unsettled
			if len(pending) != want {
				t.Fatalf("%s: %d ticks", policy, len(pending))
			}
			for _, e := range pending {
				e.Resolve(nil)
			}
			time.Sleep(time.Minute)
			if all := ticks(in); len(all) != 1 || all[0].Missed {
				t.Errorf("%s: then %+v", policy, all)
			}
		})
	}
}

// A host without room: the tick waits, and what came meanwhile is missed.
func TestUnaccepted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		in := sdktest.Start(t, plugin(), sdktest.Config{"every": "1m", "missed": "once"}, sdktest.HoldAccepts())
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		first := in.Emitted("tick")
		if len(first) != 1 {
			t.Fatalf("%d ticks while the first was not accepted", len(first))
		}
		first[0].Accept()
		if got := due(ticks(in)); got != "00:05:00" {
			t.Errorf("then %q", got)
		}
	})
}

// times follows a schedule from one local time to another.
func times(t *testing.T, schedule, zone, from, to string) (out []string) {
	t.Helper()
	k, err := newClock(Config{Schedule: schedule, Timezone: zone})
	if err != nil {
		t.Fatal(err)
	}
	parse := func(s string) time.Time {
		x, err := time.ParseInLocation("2006-01-02 15:04", s, k.zone)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	for at := k.next(parse(from)); !at.After(parse(to)) && len(out) < 100; at = k.next(at) {
		out = append(out, at.In(k.zone).Format("02 15:04Z07"))
	}
	return out
}

func TestDaylightSaving(t *testing.T) {
	for _, c := range []struct{ schedule, zone, from, to, want string }{
		// 02:00 to 03:00 is missing on the 29th: due at the end of the gap, once.
		{"30 2 * * *", "Europe/Berlin", "2026-03-28 00:00", "2026-03-30 12:00", "28 02:30+01, 29 03:00+02, 30 02:30+02"},
		{"0,15,30 2 * * *", "Europe/Berlin", "2026-03-29 00:00", "2026-03-29 12:00", "29 03:00+02"},
		{"0 3 * * *", "Europe/Berlin", "2026-03-29 00:00", "2026-03-29 12:00", "29 03:00+02"},
		{"*/30 * * * *", "Europe/Berlin", "2026-03-29 01:00", "2026-03-29 03:30", "29 01:30+01, 29 03:00+02, 29 03:30+02"},
		// 02:00 to 03:00 comes twice on the 25th: due the first time only.
		{"30 2 * * *", "Europe/Berlin", "2026-10-24 00:00", "2026-10-26 12:00", "24 02:30+02, 25 02:30+02, 26 02:30+01"},
		{"0 2,3 * * *", "Europe/Berlin", "2026-10-25 00:00", "2026-10-25 12:00", "25 02:00+02, 25 03:00+01"},
		// Every hour is every hour that passes.
		{"0 * * * *", "Europe/Berlin", "2026-10-25 00:30", "2026-10-25 03:30", "25 01:00+02, 25 02:00+02, 25 02:00+01, 25 03:00+01"},
		{"@hourly", "America/New_York", "2026-11-01 00:30", "2026-11-01 02:30", "01 01:00-04, 01 01:00-05, 01 02:00-05"},
		{"30 2 * * *", "America/New_York", "2026-03-08 00:00", "2026-03-09 12:00", "08 03:00-04, 09 02:30-04"},
		// A gap at midnight, and one of half an hour.
		{"@daily", "America/Santiago", "2026-09-05 12:00", "2026-09-07 12:00", "06 01:00-03, 07 00:00-03"},
		{"15 2 * * *", "Australia/Lord_Howe", "2026-10-03 12:00", "2026-10-05 12:00", "04 02:30+11, 05 02:15+11"},
		{"45 1 * * *", "Australia/Lord_Howe", "2026-04-04 12:00", "2026-04-06 12:00", "05 01:45+11, 06 01:45+10"},
	} {
		if got := strings.Join(times(t, c.schedule, c.zone, c.from, c.to), ", "); got != c.want {
			t.Errorf("%s in %s from %s:\n got %s\nwant %s", c.schedule, c.zone, c.from, got, c.want)
		}
	}
}

// Every tick of a year is after the one before, in any zone.
func TestScheduleMovesForwards(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu"} {
		for _, text := range []string{"7 1-4 * * *", "*/17 */2 * * *", "0 0 1,15 * *", "59 23 * * 7", "5,35 2 * 3,4,10,11 *"} {
			k, err := newClock(Config{Schedule: text, Timezone: zone})
			if err != nil {
				t.Fatal(err)
			}
			at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			for end := at.AddDate(1, 0, 0); at.Before(end); {
				n := k.next(at)
				if !n.After(at) {
					t.Fatalf("%s in %s: %v follows %v", text, zone, n, at)
				}
				at = n
			}
		}
	}
}

func TestSyntax(t *testing.T) {
	p := sdktest.New(t, plugin())
	for _, c := range []struct {
		config    sdktest.Config
		attribute string
	}{
		{sdktest.Config{}, "schedule"},
		{sdktest.Config{"schedule": "* * * *"}, "schedule"},
		{sdktest.Config{"schedule": "61 * * * *"}, "schedule"},
		{sdktest.Config{"schedule": "@fortnightly"}, "schedule"},
		{sdktest.Config{"schedule": "   "}, "schedule"},
		{sdktest.Config{"schedule": "0 0 30 2 *"}, "schedule"},
		{sdktest.Config{"schedule": "0 0 1 1 * 1999"}, "schedule"},
		{sdktest.Config{"schedule": "@hourly", "every": "1h"}, "every"},
		{sdktest.Config{"every": "1ms"}, "every"},
		{sdktest.Config{"every": "-1h"}, "every"},
		{sdktest.Config{"schedule": "@hourly", "timezone": "Mars/Olympus"}, "timezone"},
		{sdktest.Config{"schedule": "@hourly", "timezone": "../etc/passwd"}, "timezone"},
		{sdktest.Config{"schedule": "@hourly", "jitter": "-1s"}, "jitter"},
		{sdktest.Config{"schedule": "@hourly", "jitter": "1h"}, "jitter"},
		{sdktest.Config{"every": "5s", "jitter": "5s"}, "jitter"},
	} {
		if d, _ := p.Verify(c.config); len(d) != 1 || d[0].Attribute != c.attribute {
			t.Errorf("%v: %+v", c.config, d)
		}
	}
	both := sdktest.Config{"schedule": "* * * *", "timezone": "Mars/Olympus"}
	if d, _ := p.Verify(both); len(d) != 2 || !strings.Contains(d[1].Summary, "4 fields: write minute hour day month weekday") {
		t.Errorf("both are wrong: %+v", d)
	}
	if d, _ := p.Verify(sdktest.Config{"schedule": "@fortnightly"}); len(d) != 1 || !strings.Contains(d[0].Summary, "none of @yearly") {
		t.Errorf("a nickname: %+v", d)
	}
	if d, _ := p.Verify(sdktest.Config{"schedule": "*/5 * * * * *"}); len(d) != 1 || !strings.Contains(d[0].Summary, `with seconds write seven: "*/5 * * * * * *"`) {
		t.Errorf("six fields: %+v", d)
	}
	for _, ok := range []string{"@daily", "@weekly", "@monthly", "@yearly", "0 9-17/2 * * MON-FRI", "0 0 L * *", "*/5 * * * * * *", "0 0 1 1 * 2099"} {
		if d, _ := p.Verify(sdktest.Config{"schedule": ok}); len(d) > 0 {
			t.Errorf("%s: %+v", ok, d)
		}
	}
}
