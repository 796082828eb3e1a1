package host_test

import (
	"go/scanner"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What is linked into the process with the rights, of this module: supervise is
// its top, and embedded daemons have server as theirs. Nothing may be added
// unseen, and what is there may not grow unseen: whoever raises a number says
// why in SECURITY.md, which has them too.
var (
	spawnerOwn   = []string{"host/spawner/server", "host/spawner/supervise"}
	spawnerUnder = []string{"host/spawner", "host/spawner/cgroup", "host/spawner/executable", "host/spawner/holder", "host/spawner/lease", "host/spawner/message", "host/spawner/policy"}
	// It begins after the change of user, in the process that becomes a program.
	spawnerChild = []string{"host/spawner/child"}
)

// Lines of code, comments and empty lines not counted.
const (
	mostOwn   = 1200
	mostRight = 3150 // with what it stands on
	mostChild = 420
)

// What these packages may import themselves of others: no compression, no
// templates, no text format, no network protocol, no logger, no reflection.
var spawnerImports = strings.Fields(`bytes cmp context crypto/sha256 encoding/binary encoding/hex errors fmt
	golang.org/x/sys/unix io io/fs maps math net net/netip os os/signal os/user path/filepath runtime slices
	strconv strings sync sync/atomic syscall time unsafe`)

func TestPrivilegedSideIsSmall(t *testing.T) {
	all := map[string]one{}
	for _, p := range packages(t) {
		all[short(p.ImportPath)] = p
	}
	var linked []string
	for _, top := range spawnerOwn {
		linked = append(linked, top)
		for _, d := range all[top].Deps {
			if strings.HasPrefix(d, module+"/") {
				linked = append(linked, short(d))
			}
		}
	}
	slices.Sort(linked)
	linked = slices.Compact(linked)
	want := slices.Concat(spawnerOwn, spawnerUnder, spawnerChild)
	slices.Sort(want)
	if !slices.Equal(linked, want) {
		t.Errorf("the process with the rights links\n%v, want\n%v", linked, want)
	}
	count := func(names []string) (n int) {
		for _, name := range names {
			p, ok := all[name]
			if !ok {
				t.Fatalf("there is no %s", name)
			}
			lines := 0
			for _, f := range p.GoFiles {
				lines += codeLines(t, filepath.Join(p.Dir, f))
			}
			t.Logf("%5d %s", lines, name)
			n += lines
			for _, x := range p.Imports {
				if !strings.HasPrefix(x, module+"/") && !slices.Contains(spawnerImports, x) {
					t.Errorf("%s imports %s, which the process with the rights has had no need of", name, x)
				}
			}
		}
		return n
	}
	own, under, child := count(spawnerOwn), count(spawnerUnder), count(spawnerChild)
	t.Logf("%5d of its own, %d with what it stands on, and %d in the process that becomes a program", own, own+under, child)
	for _, c := range []struct {
		what        string
		lines, most int
	}{{"the spawner itself", own, mostOwn}, {"all that runs with its rights", own + under, mostRight}, {"the child", child, mostChild}} {
		if c.lines > c.most {
			t.Errorf("%s has %d lines of code, at most %d: it must be readable in an evening", c.what, c.lines, c.most)
		}
	}
}

// codeLines counts the lines of a Go file on which something stands that is no
// comment.
func codeLines(t *testing.T, path string) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	file := set.AddFile(path, -1, len(b))
	var s scanner.Scanner
	s.Init(file, b, func(at token.Position, msg string) { t.Errorf("%s: %s", at, msg) }, 0)
	lines := map[int]bool{}
	for {
		pos, tok, text := s.Scan()
		if tok == token.EOF {
			return len(lines)
		}
		if tok == token.SEMICOLON && text == "\n" { // set by the scanner, not written
			continue
		}
		for n := range 1 + strings.Count(text, "\n") {
			lines[file.Line(pos)+n] = true
		}
	}
}

func TestCodeLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.go")
	text := "// Package x.\npackage x // 1\n\n/* no\n\nno */\nvar s = `2\n3\n` + // 4\n\t\"5\"\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := codeLines(t, path); n != 5 {
		t.Errorf("%d lines, want 5", n)
	}
}
