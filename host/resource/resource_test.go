package resource_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pluginhost/host/host/resource"
)

// A lease passes from owner to owner as one socket, and ends with the last.
func TestLeasePasses(t *testing.T) {
	table := resource.NewTable(serve(t))
	url := fmt.Sprintf("tcp://127.0.0.1:%d", free(t))
	first := acquire(t, table, "p.a@1", url)
	second := acquire(t, table, "p.b@2", url+"?backlog=7")
	if first != second {
		t.Errorf("%+v, then %+v", first, second)
	}
	table.Release("p.a@1")
	table.Release("p.a@1")
	if l := table.List(); len(l) != 1 || l[0] != second {
		t.Errorf("after the first has left: %+v", l)
	}
	if c, err := net.Dial("tcp", second.Address[len("tcp://"):]); err != nil {
		t.Error(err)
	} else {
		_ = c.Close()
	}
	table.Release("p.b@2")
	if l := table.List(); len(l) != 0 {
		t.Errorf("after both have left: %+v", l)
	}
	if _, err := net.Dial("tcp", second.Address[len("tcp://"):]); err == nil {
		t.Error("it still listens")
	}
}

// What is reserved is nobody else's, and shows nothing before it is set.
func TestReservedShowsNothing(t *testing.T) {
	table := resource.NewTable(serve(t))
	at := fmt.Sprintf("127.0.0.1:%d", free(t))
	if _, err := table.Acquire(t.Context(), "p.a@1", listener("tcp://"+at)); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", at); err == nil {
		t.Error("a reserved port accepts connections")
	}
	if l, err := net.Listen("tcp", at); err == nil { // Go sets SO_REUSEADDR
		t.Error("a reserved port was taken by somebody else")
		_ = l.Close()
	}
	if err := table.Set(t.Context(), "p.a@1", listener("tcp://"+at)); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", at); err != nil {
		t.Errorf("after Set: %v", err)
	} else {
		_ = c.Close()
	}
	if err := table.Set(t.Context(), "p.b@1", listener("tcp://"+at)); err == nil {
		t.Error("one who does not hold the lease has set it")
	}
}

// :0 keeps its port for its owner, from life to life, and is another's for
// others.
func TestAnyPort(t *testing.T) {
	for _, network := range []string{"tcp", "udp"} {
		table := resource.NewTable(serve(t))
		first := acquire(t, table, "p.a@1", network+"://127.0.0.1:0")
		other := acquire(t, table, "p.b@1", network+"://127.0.0.1:0")
		next := acquire(t, table, "p.a@2", network+"://127.0.0.1:0")
		table.Release("p.a@1")
		last := acquire(t, table, "p.a@3", network+"://127.0.0.1:0")
		if first != next || next != last || first.Address == other.Address || strings.HasSuffix(first.Address, ":0") {
			t.Errorf("%s: %+v, %+v, %+v; another %+v", network, first, next, last, other)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	for _, network := range []string{"unix", "unixgram"} {
		t.Run(network, func(t *testing.T) {
			table := resource.NewTable(serve(t))
			path := filepath.Join(short(t), "s")
			url := network + "://" + path
			// One that was left behind is replaced.
			stale, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			_ = stale.Close()
			acquire(t, table, "p.a@1", url+"?mode=0640")
			if st, err := os.Lstat(path); err != nil || st.Mode().Perm() != 0o640 {
				t.Errorf("%v, %v; want 0640", st, err)
			}
			// One that serves is not.
			var busy *resource.BusyError
			if _, err := resource.NewTable(serve(t)).Acquire(t.Context(), "p.b@1", listener(url)); !errors.As(err, &busy) {
				t.Errorf("a path that somebody answers on: %v", err)
			}
			// Mode and owner change in place.
			before := inodeOf(t, path)
			acquire(t, table, "p.a@2", url+"?mode=0600")
			table.Release("p.a@1")
			if st, err := os.Lstat(path); err != nil || st.Mode().Perm() != 0o600 || inodeOf(t, path) != before {
				t.Errorf("%v, %v; want 0600 and the same inode", st, err)
			}
			if os.Getuid() == 0 {
				acquire(t, table, "p.a@2", url+"?owner=nobody:1")
				if uid, gid := ownerOf(t, path); uid != 65534 || gid != 1 {
					t.Errorf("owner %d:%d, want 65534:1", uid, gid)
				}
			}
			// The path goes with the lease, unless it is somebody else's by then.
			table.Release("p.a@2")
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("after the lease: %v", err)
			}
			acquire(t, table, "p.a@3", url)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			table.Release("p.a@3")
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("another's file was removed: %v", err)
			}
			if _, err := table.Acquire(t.Context(), "p.a@4", listener(url)); err == nil || !strings.Contains(err.Error(), path+" is there already and is no socket") {
				t.Errorf("a path that is a file: %v", err)
			}
		})
	}
}

// A path that is a link to the same directory is the same socket.
func TestPathsAreCanonical(t *testing.T) {
	table := resource.NewTable(serve(t))
	dir := short(t)
	if err := os.Symlink(dir, dir+"-link"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir + "-link") })
	a := acquire(t, table, "p.a@1", "unix://"+dir+"/s")
	b := acquire(t, table, "p.a@2", "unix://"+dir+"-link/./s")
	if a.ID != b.ID {
		t.Errorf("two leases for one path: %+v, %+v", a, b)
	}
	f, ferr := table.Acquire(t.Context(), "p.a@1", file(dir+"/f", "append"))
	g, gerr := table.Acquire(t.Context(), "p.a@2", file(dir+"-link/f", "append"))
	h, herr := table.Acquire(t.Context(), "p.a@2", file(dir+"-link/f", "read"))
	if ferr != nil || gerr != nil || herr != nil || f.ID != g.ID || g.ID == h.ID {
		t.Errorf("%+v %+v %+v: %v %v %v", f, g, h, ferr, gerr, herr)
	}
	d, err := table.Acquire(t.Context(), "p.a@2", file(dir, "directory"))
	if err != nil || d.ID == f.ID {
		t.Errorf("a directory: %+v, %v", d, err)
	}
}

// What cannot be had is told before anything changes, with what to do.
func TestRefusals(t *testing.T) {
	sp := serve(t)
	table := resource.NewTable(sp)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	u, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = u.Close() }()
	me := fmt.Sprintf("resource.test (pid %d)", os.Getpid())
	dir := short(t)
	for _, tt := range []struct {
		want resource.Want
		text string
	}{
		{listener("tcp://" + l.Addr().String()), me},
		{listener("tcp://:" + l.Addr().String()[len("127.0.0.1:"):]), me},
		{listener("udp://" + u.LocalAddr().String()), me},
		{listener("tcp://192.0.2.7:80"), "ip address lists"},
		{listener("tcp://127.0.0.1:0?device=none0"), "no network device none0"},
		{listener("tcp://[fe80::1%none0]:80"), "no network device none0"},
		{listener("unix://" + dir + "/no/s"), "a directory on the way does not exist"},
		{listener("unix://" + dir + "/s?owner=nosuchuser"), `no user "nosuchuser"`},
		{listener("unix://" + dir + "/s?owner=:nosuchgroup"), `no group "nosuchgroup"`},
		{listener("unix://s"), "absolute"},
		{file(dir+"/f", "read"), "does not exist"},
		{file(dir+"/no/f", "append"), "a directory on the way"},
		{file("/dev/null", "directory"), "not a directory"},
		{file("f", "read"), "not absolute"},
		{resource.Want{Attribute: "x", Kind: "string"}, "neither"},
	} {
		_, err := table.Acquire(t.Context(), "p.a@1", tt.want)
		if err == nil || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v; want something on %q", tt.want.Value, err, tt.text)
		}
	}
	if l := table.List(); len(l) != 0 {
		t.Errorf("something is held: %+v", l)
	}
}

// Buffers, keepalive and backlog change on the live socket.
func TestSettingsInPlace(t *testing.T) {
	table := resource.NewTable(serve(t))
	url := fmt.Sprintf("tcp://127.0.0.1:%d", free(t))
	a := acquire(t, table, "p.a@1", url+"?backlog=1")
	at := a.Address[len("tcp://"):]
	// The first connections fill the queue of 1 (the kernel allows one more).
	dial := func() error {
		c, err := net.DialTimeout("tcp", at, 300*time.Millisecond)
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
		}
		return err
	}
	full := false
	for range 5 {
		full = full || dial() != nil
	}
	if !full {
		t.Fatal("a backlog of 1 takes 5 connections")
	}
	before := inode(t, "tcp", free0(t, at))
	if err := table.Set(t.Context(), "p.a@1", listener(url+"?backlog=100&rcvbuf=70000&keepalive=42s")); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := dial(); err != nil {
			t.Fatalf("with a backlog of 100: %v", err)
		}
	}
	if now := inode(t, "tcp", free0(t, at)); now != before {
		t.Errorf("the socket changed from %s to %s", before, now)
	}
	if _, err := table.Acquire(t.Context(), "p.a@1", listener("tcp://127.0.0.1:0?rcvbuf=512MiB")); os.Getuid() != 0 && err == nil {
		t.Error("a buffer larger than this user may have")
	}
}

func free0(t *testing.T, at string) int {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	return a.Port
}

// Someone who gives up in the middle of a bind leaves nothing behind, and does
// not take those down who wait for the same.
func TestCancelled(t *testing.T) {
	sp := serve(t)
	table := resource.NewTable(sp)
	before := descriptors(t)
	for n := range 200 {
		url := fmt.Sprintf("tcp://127.0.0.%d:%d", 1+n%200, 20000+n)
		ctx, cancel := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		wait.Go(func() {
			if n%2 == 0 {
				time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
			}
			cancel()
		})
		wait.Go(func() {
			_, err := table.Acquire(ctx, "p.a@1", listener(url))
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("given up: %v", err)
			}
			table.Release("p.a@1")
		})
		wait.Go(func() {
			if _, err := table.Acquire(t.Context(), "p.b@2", listener(url)); err != nil {
				t.Errorf("the other: %v", err)
			}
			table.Release("p.b@2")
		})
		wait.Wait()
	}
	settled(t, table, before)
}

// settled waits until nothing is held and no descriptor has been left.
func settled(t *testing.T, table *resource.Table, before int) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		now, held := descriptors(t), len(table.List())
		if now <= before && held == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d leases held, %d descriptors open; there were %d", held, now, before)
		}
	}
}

// Many owners come and go at once; each that has a lease can use it.
func TestManyAtOnce(t *testing.T) {
	sp := serve(t)
	table := resource.NewTable(sp)
	dir := short(t)
	port := free(t)
	urls := []string{
		fmt.Sprintf("tcp://127.0.0.1:%d", port), fmt.Sprintf("tcp://0.0.0.0:%d", port), fmt.Sprintf("udp://127.0.0.1:%d", port),
		"tcp://127.0.0.1:0", "unix://" + dir + "/s", "unixgram://" + dir + "/d",
	}
	before := descriptors(t)
	var wait sync.WaitGroup
	for worker := range 8 {
		wait.Go(func() {
			for n := range 60 {
				owner := fmt.Sprintf("p.w%d@%d", worker, n)
				url := urls[rand.IntN(len(urls))]
				l, err := table.Acquire(t.Context(), owner, listener(url))
				if err == nil {
					err = table.Set(t.Context(), owner, listener(url))
				}
				if err != nil {
					t.Errorf("%s: %v", url, err)
				}
				if path, ok := strings.CutPrefix(l.Address, "unix://"); ok {
					if c, err := net.Dial("unix", path); err != nil {
						t.Errorf("%s is held and does not answer: %v", path, err)
					} else {
						_ = c.Close()
					}
				}
				if rand.IntN(4) == 0 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					table.Retire(ctx, owner, time.Millisecond)
					cancel()
				}
				table.Release(owner)
			}
		})
	}
	wait.Wait()
	settled(t, table, before)
}
