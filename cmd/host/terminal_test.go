package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminalPair opens a pseudo-terminal: what is written to tty can be read of it.
func terminalPair(t *testing.T) (tty *os.File, text func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	shown, read := &shown{}, make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			_, _ = shown.Write(buf[:n])
			if err != nil { // EIO, once nobody holds the other end
				return
			}
		}
	}()
	return tty, func() string {
		_ = tty.Close()
		select {
		case <-read:
		case <-time.After(time.Minute):
			t.Error("the terminal does not end")
		}
		_ = master.Close()
		return shown.String()
	}
}

// Colour and progress are for terminals: never for a pipe, and colour not where
// it is not wanted.
func TestTerminal(t *testing.T) {
	s, _ := quickstart(t)
	for _, tt := range []struct {
		args             []string
		tty              bool
		colour, progress bool
	}{
		{[]string{"reload"}, true, true, true},
		{[]string{"reload", "-q"}, true, true, false},
		{[]string{"reload", "--no-color"}, true, false, true},
		{[]string{"reload", "-o", "json"}, true, false, false},
		{[]string{"reload"}, false, false, false},
		{[]string{"status"}, true, true, false},
		{[]string{"status"}, false, false, false},
		{[]string{"events", "tail", "--follow=false"}, false, false, false},
	} {
		// Something to colour.
		line := fmt.Sprintf("plugin \"log\" \"n%d\" {}\n", time.Now().UnixNano())
		if err := os.WriteFile(filepath.Join(s.config, "more.hcl"), []byte(line), 0o644); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		args := slices.Concat(tt.args, []string{"-c", s.config})
		var code int
		var got string
		if tt.tty {
			tty, text := terminalPair(t)
			code = run(ctx, args, nil, tty, tty)
			got = text()
		} else {
			var b bytes.Buffer
			code = run(ctx, args, nil, &b, &b)
			got = b.String()
		}
		cancel()
		if code != exitOK || got == "" {
			t.Errorf("%v: exit code %d\n%s", tt.args, code, got)
		}
		if strings.Contains(got, "\x1b[") != tt.colour {
			t.Errorf("%v, terminal %t: colour is %t\n%q", tt.args, tt.tty, !tt.colour, got)
		}
		if strings.Contains(got, "prepare  ") != tt.progress {
			t.Errorf("%v, terminal %t: progress is %t\n%s", tt.args, tt.tty, !tt.progress, got)
		}
	}
}
