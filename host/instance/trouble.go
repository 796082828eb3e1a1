package instance

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/launch"
)

// What a plugin is kept from is known from two sides: what the kernel counts of
// its process, and what the plugin itself says, in the errors of its handlers
// and on standard error. Of what is denied (Landlock, seccomp, permissions, a
// quota) the kernel tells nobody but the plugin.

// refusals are the words of the system, and what to do about them.
var refusals = []struct{ words, what string }{
	{"permission denied", "was denied something that it has no rights to: files that are not its own, or sockets of the network without the capability network"},
	{"operation not permitted", "was denied something that it has no rights to: files that are not its own, or system calls that the sandbox keeps from it"},
	{"no space left on device", "has no space left to write; make room, or give its directory more"},
	{"disk quota exceeded", "has used up its disk quota; make room, or give it more"},
	{"file too large", "wrote a file to its limit (process { file_size })"},
	{"too many open files", "reached its limit of open descriptors (process { open_files })"},
	{"resource temporarily unavailable", "was refused more processes or threads (process { processes })"},
	{"cannot allocate memory", "was refused more memory (process { memory })"},
}

// recent is how long what happened is part of the status.
const recent = time.Minute

// troubles are what a plugin says of late that it was refused.
type troubles struct {
	mu   sync.Mutex
	last [8]trouble // as in refusals
}

type trouble struct {
	times   int
	time    time.Time // of the last
	message string
}

// refusal is the index of what a text says was refused, or -1.
func refusal(text string) int {
	text = strings.ToLower(text)
	for n, r := range refusals {
		if strings.Contains(text, r.words) {
			return n
		}
	}
	return -1
}

// hear notes the message of an error that a handler returned.
func (t *troubles) hear(message string) {
	n := refusal(message)
	if n < 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.last[n].time) > recent {
		t.last[n].times = 0
	}
	t.last[n] = trouble{times: t.last[n].times + 1, time: time.Now(), message: shorten(message)}
}

// notes are what is wrong with an instance that serves, each for people.
func (t *troubles) notes(p *launch.Process, stateDir string) (notes []string) {
	said := map[int]bool{}
	t.mu.Lock()
	for n, r := range t.last {
		if r.times > 0 && time.Since(r.time) <= recent {
			said[n] = true
			notes = append(notes, fmt.Sprintf("it says that it %s; %d times within %s, the last: %s", refusals[n].what, r.times, recent, r.message))
		}
	}
	t.mu.Unlock()
	if p == nil {
		return notes
	}
	for _, line := range p.Stderr() {
		if n := refusal(line); n >= 0 && !said[n] {
			said[n] = true
			notes = append(notes, fmt.Sprintf("it says that it %s; it wrote: %s", refusals[n].what, shorten(line)))
		}
	}
	for _, n := range p.Notes() {
		notes = append(notes, "it "+n)
	}
	var fs unix.Statfs_t
	_ = unix.Statfs(stateDir, &fs) // it may not have been made yet
	if full := full(stateDir, &fs); full != "" {
		notes = append(notes, full)
	}
	return notes
}

// full says that nothing can be written to a directory's file system.
func full(dir string, fs *unix.Statfs_t) string {
	size := int64(fs.Blocks) * fs.Bsize >> 20 //nolint:unconvert // the types differ by machine
	switch {
	case fs.Blocks > 0 && fs.Bavail == 0:
		return fmt.Sprintf("no space is left on the file system of its directory %s (%d MiB); make room", dir, size)
	case fs.Files > 0 && fs.Ffree == 0:
		return fmt.Sprintf("no file can be made on the file system of its directory %s (%d are there); remove some", dir, fs.Files)
	}
	return ""
}

func shorten(s string) string {
	const most = 160
	if s = strings.ReplaceAll(s, "\n", " | "); len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
