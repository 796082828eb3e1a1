package input

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// in makes a directory with these files.
func in(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFile(t *testing.T) {
	dir := in(t, map[string]string{"a": "text"})
	fifo, link := filepath.Join(dir, "fifo"), filepath.Join(dir, "link")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a", link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{filepath.Join(dir, "a"), link} {
		if b, err := File(name, 4); err != nil || string(b) != "text" {
			t.Errorf("%s holds %q, %v", name, b, err)
		}
	}
	for name, want := range map[string]string{fifo: "fifo is not a regular file", "/dev/zero": "/dev/zero is not a regular file", dir: "is not a regular file"} {
		if _, err := File(name, 4); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	if _, err := File(filepath.Join(dir, "a"), 3); err == nil || !strings.Contains(err.Error(), "more than 3 bytes") {
		t.Errorf("a file over the limit: %v", err)
	}
	if _, err := File(filepath.Join(dir, "none"), 3); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestJSON(t *testing.T) {
	dir := in(t, map[string]string{"good": "[1]", "bad": "["})
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ arg, stdin, want, wrong string }{
		{arg: "{}", want: "{}"},
		{arg: "-", stdin: "[2]", want: "[2]"},
		{arg: "-", stdin: "\"a\xffb\"", wrong: "UTF-8"},
		{arg: "@" + dir + "/good", want: "[1]"},
		{arg: "@" + dir + "/bad", wrong: "not JSON"},
		{arg: "text", wrong: "needs its quotes"},
		{arg: "[1,2,3,4,5]", wrong: "at most 10 bytes"},
		{arg: "-", stdin: "[1,2,3,4,5]", wrong: "standard input has more than 10 bytes"},
		{arg: "@" + fifo, wrong: "fifo is not a regular file; - reads standard input"},
		{arg: "@" + dir + "/none", wrong: "no such file"},
	} {
		b, err := JSON(c.arg, strings.NewReader(c.stdin), 10)
		if string(b) != c.want || (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s is %q, %v; want %q, %q", c.arg, b, err, c.want, c.wrong)
		}
	}
}
