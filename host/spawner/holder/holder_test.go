package holder

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// Of those who have a socket open the one is named from whom the others have it.
func TestHolder(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	inode, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sleep", "600")
	child.ExtraFiles = []*os.File{f}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	ours, its := strconv.Itoa(os.Getpid()), strconv.Itoa(child.Process.Pid)
	who := &search{inodes: map[string]bool{inode: true}, end: time.Now().Add(time.Hour)}
	if got := who.find(); got != ours {
		t.Errorf("process %s, want this one, %s", got, ours)
	}
	if got := who.eldest(its); got != ours {
		t.Errorf("the eldest of %s is %s, want this process, %s", its, got, ours)
	}
	if err := errors.Join(f.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	if got := who.find(); got != its {
		t.Errorf("process %s, want %s", got, its)
	}
	if got, want := named(its), fmt.Sprintf("sleep (pid %s)", its); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	who.inodes = map[string]bool{"socket:[0]": true}
	if got := who.find(); got != "" {
		t.Errorf("process %s has a socket that there is not", got)
	}
}
