package terminal

import (
	"bytes"
	"os"
	"testing"
	"time"
)

func TestTableIsPlain(t *testing.T) {
	var b bytes.Buffer
	rows := [][]string{{"NAME", "WHY", "LAST"}, {"a", "x\x1b[31m\ty\n", "1"}, {"longer"}, {"b", "", "2"}}
	New(&b, true).Table(rows...)
	want := "NAME    WHY        LAST\na       x [31m y   1\nlonger\nb                  2\n"
	if b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
	if rows[1][1] != "x\x1b[31m\ty\n" {
		t.Errorf("the caller's row is %q now", rows[1][1])
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"eins → zwei":         "eins → zwei",
		"\x1b]0;title\a":      " ]0;title ",
		"a\r\nb\x7fc\u009b1m": "a  b c 1m",
	} {
		if got := Plain(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestPaint(t *testing.T) {
	if got := (Printer{Coloured: true}).Paint(Red, "no"); got != "\x1b[31mno\x1b[0m" {
		t.Errorf("%q", got)
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	if got := New(null, true).Paint(Red, "no"); got != "no" {
		t.Errorf("what is no terminal is painted: %q", got)
	}
}

func TestShort(t *testing.T) {
	for in, want := range map[time.Duration]string{
		1234 * time.Nanosecond:                       "1µs",
		1234567 * time.Nanosecond:                    "1.2ms",
		1234567890 * time.Nanosecond:                 "1.23s",
		time.Hour + 1400*time.Millisecond:            "1h0m1s",
		time.Second - time.Nanosecond:                "1s",
		59*time.Second + 999999999*time.Nanosecond:   "1m0s",
		26*time.Hour + 3*time.Minute + 4*time.Second: "26h3m4s",
	} {
		if got := Short(in); got != want {
			t.Errorf("%v became %s, want %s", int64(in), got, want)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 routes", 1: "1 route", 2: "2 routes"} {
		if got := Count(n, "route"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
