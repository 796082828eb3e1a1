package generation_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pluginhost/host/host/generation"
)

func open(t *testing.T, dir string) *generation.Store {
	t.Helper()
	s, err := generation.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func src(text string) generation.Source {
	return generation.Source{Files: []generation.File{
		{Name: "config/a.hcl", Data: []byte(text)}, {Name: "config/same.hcl", Data: []byte("same")}, {Name: "vars/0002-x.hcl", Data: []byte("v")},
	}, Vars: map[string]string{"n": "1"}}
}

func commit(t *testing.T, s *generation.Store, n uint64, text string) {
	t.Helper()
	st, err := s.Stage(generation.Record{Generation: n, Config: src(text).Fingerprint(), Vars: src(text).Vars}, src(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Commit(); err != nil {
		t.Fatal(err)
	}
}

// What is committed is found again, what is only staged is not.
func TestStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, ok := s.Last(); ok {
		t.Error("there is a generation from the beginning")
	}
	commit(t, s, 1, "one")
	commit(t, s, 2, "two")
	if _, err := s.Stage(generation.Record{Generation: 3}, src("three")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if r, ok := s.Last(); !ok || r.Generation != 2 || r.Vars["n"] != "1" || len(s.List()) != 2 {
		t.Errorf("the last is %+v", r)
	}
	b, err := os.ReadFile(filepath.Join(s.ConfigDir(1), "a.hcl"))
	if err != nil || string(b) != "one" {
		t.Errorf("generation 1 has %q, %v", b, err)
	}
	if v := s.VarFiles(2); len(v) != 1 || filepath.Base(v[0]) != "0002-x.hcl" {
		t.Errorf("files of values: %v", v)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "generations", ".*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if r, err := s.Before(2); err != nil || r.Generation != 1 {
		t.Errorf("before 2: %+v %v", r, err)
	}
	if _, err := s.Before(1); err == nil {
		t.Error("there is something before 1")
	}
	if _, err := s.Get(3); !errors.Is(err, generation.ErrUnknown) {
		t.Errorf("generation 3: %v", err)
	}
	one, same, two := src("one"), src("one"), src("two")
	if one.Fingerprint() == two.Fingerprint() || one.Fingerprint() != same.Fingerprint() {
		t.Error("fingerprints do not tell sources apart")
	}
	if one.Printed().Fingerprint() != one.Fingerprint() || one.Printed().Fingerprint() == two.Printed().Fingerprint() {
		t.Error("a fingerprint made beforehand is another")
	}
}

// One process at a time has the store, and the next says which.
func TestOneAtATime(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := generation.Open(dir); err == nil || !strings.Contains(err.Error(), fmt.Sprint("pid ", os.Getpid())) {
		t.Errorf("a second one: %v", err)
	}
	_ = s.Close()
	_ = open(t, dir).Close()
}

func TestPrune(t *testing.T) {
	s := open(t, t.TempDir())
	for n := range uint64(30) {
		commit(t, s, n+1, fmt.Sprint(n))
	}
	if err := s.Prune(2); err != nil {
		t.Fatal(err)
	}
	all := s.List()
	if len(all) != generation.Keep || all[0].Generation != 2 || all[1].Generation != 12 || all[len(all)-1].Generation != 30 {
		t.Errorf("kept: %d, from %d and %d", len(all), all[0].Generation, all[1].Generation)
	}
	// Files are shared between generations; what stays is whole.
	if b, err := os.ReadFile(filepath.Join(s.ConfigDir(30), "same.hcl")); err != nil || string(b) != "same" {
		t.Errorf("%q %v", b, err)
	}
}

func TestConfirmed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	st, err := s.Stage(generation.Record{Generation: 1, Confirm: &generation.Confirm{Back: 7, Until: time.Now()}}, src("x"))
	if err == nil {
		err = st.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	s = open(t, dir)
	if r, _ := s.Last(); r.Confirm == nil || r.Confirm.Back != 7 {
		t.Errorf("the probation is lost: %+v", r)
	}
	if err := s.Confirmed(); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if r, _ := open(t, dir).Last(); r.Confirm != nil {
		t.Errorf("it is on probation again: %+v", r)
	}
}

// A record that cannot be read is told, with what to do, and not passed over.
func TestBrokenRecord(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	commit(t, s, 1, "one")
	_ = s.Close()
	path := filepath.Join(dir, "generations", "1", "record.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := generation.Open(dir); err == nil || !strings.Contains(err.Error(), "move "+filepath.Dir(path)+" away") {
		t.Errorf("%v", err)
	}
}

// An attempt that the end of the daemon cut short is closed by the next start,
// a torn last line is passed over, and the file does not grow without bound.
func TestLog(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	log, err := generation.OpenLog(dir, s)
	if err != nil {
		t.Fatal(err)
	}
	me := generation.Who{Command: "test"}
	one := log.Begin(generation.Attempt{Who: me, Generation: 1})
	log.Step(one, generation.Transition{Phase: "verify"})
	log.End(one, generation.Attempt{Who: me, Generation: 1, Outcome: "committed", Message: strings.Repeat("x", 1<<20)})
	log.Step(one, generation.Transition{Phase: "drained"})
	commit(t, s, 1, "one")
	two := log.Begin(generation.Attempt{Who: me, Generation: 2})
	log.Step(two, generation.Transition{Phase: "recorded"})
	commit(t, s, 2, "two")
	log.Begin(generation.Attempt{Who: me, Generation: 3})
	path := filepath.Join(dir, "generations", "log.jsonl")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString(`{"n":3,"end":{"outc`)
	_ = f.Close()
	log, err = generation.OpenLog(dir, s) // the first one was killed
	if err != nil {
		t.Fatal(err)
	}
	all := log.List()
	var ends []string
	for _, a := range all {
		ends = append(ends, a.Outcome)
	}
	if !slices.Equal(ends, []string{"committed", "committed", generation.Killed}) {
		t.Errorf("they ended: %v", ends)
	}
	if len(all[0].Steps) != 2 || all[0].Steps[1].Phase != "drained" || len(all[0].Message) > 4096 {
		t.Errorf("the first: %d steps, a message of %d bytes", len(all[0].Steps), len(all[0].Message))
	}
	for range 3000 {
		n := log.Begin(generation.Attempt{Who: me})
		log.Step(n, generation.Transition{Phase: "verify"})
		log.End(n, generation.Attempt{Who: me, Outcome: "invalid", Message: strings.Repeat("y", 1000)})
	}
	st, err := os.Stat(path)
	if err != nil || st.Size() > 1<<20 || len(log.List()) > 200 {
		t.Errorf("%d attempts in a file of %d bytes, %v", len(log.List()), st.Size(), err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(path); bytes.Contains(b, []byte(`"outc`+"\n")) {
		t.Error("the torn line is still there")
	}
}

// Sockets on which nobody answers are removed, those of somebody are not.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	path := func(name string) string { return filepath.Join(dir, name) }
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path("dead"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	gram, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path("gram"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	_ = gram.Close()
	live, err := net.Listen("unix", path("live"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = live.Close() }()
	if err := os.WriteFile(path("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Sockets([]string{path("live"), path("dead"), path("gram"), path("file"), path("none")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Sweep(func(_, path string) error { return os.Remove(path) }); err != nil {
		t.Fatal(err)
	}
	for name, stays := range map[string]bool{"dead": false, "gram": false, "live": true, "file": true} {
		if _, err := os.Lstat(path(name)); (err == nil) != stays {
			t.Errorf("%s: %v", name, err)
		}
	}
}
