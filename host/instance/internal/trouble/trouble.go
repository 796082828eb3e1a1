// Package trouble knows what a plugin was refused of late, for its status.
package trouble

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// What a plugin is kept from is known from two sides: what the kernel counts of
// its process, and what the plugin itself says, in the errors of its handlers
// and on standard error. Of what is denied (Landlock, seccomp, permissions, a
// quota) the kernel tells nobody but the plugin.

// refusals are the words of the system, and what to do about them.
var refusals = [...]struct{ words, what string }{
	{"permission denied", "was denied something that it has no rights to: files that are not its own, or sockets of the network without the capability network"},
	{"operation not permitted", "was denied something that it has no rights to: files that are not its own, or system calls that the sandbox keeps from it"},
	{"no space left on device", "has no space left to write; make room, or give its directory more"},
	{"disk quota exceeded", "has used up its disk quota; make room, or give it more"},
	{"file too large", "wrote a file to its limit (process { file_size })"},
	{"too many open files", "reached its limit of open descriptors (process { open_files })"},
	{"resource temporarily unavailable", "was refused more processes or threads (process { processes })"},
	{"cannot allocate memory", "was refused more memory (process { memory })"},
}

// Recent is how long what happened is part of the status.
const Recent = time.Minute

// Log has what a plugin says of late that it was refused. Its zero value is ready.
type Log struct {
	mu   sync.Mutex
	last [len(refusals)]trouble
}

type trouble struct {
	times   int
	time    time.Time // of the last
	message string
}

// refusal is the index of what a text says was refused, or -1. Of a long text
// only the beginning is read.
func refusal(text string) int {
	text = strings.ToLower(text[:min(len(text), 4<<10)])
	for n, r := range refusals {
		if strings.Contains(text, r.words) {
			return n
		}
	}
	return -1
}

// Refused returns those of the lines that say that something was refused.
func Refused(lines []string) []string {
	return slices.DeleteFunc(lines, func(line string) bool { return refusal(line) < 0 })
}

// Hear notes the message of an error that a handler returned. hide takes secrets
// out of it, before it is cut: half of one would not be found any more.
func (t *Log) Hear(message string, hide func(string) string) {
	n := refusal(message)
	if n < 0 {
		return
	}
	message = hide(message)
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.last[n].time) > Recent {
		t.last[n].times = 0
	}
	t.last[n] = trouble{times: t.last[n].times + 1, time: time.Now(), message: shorten(message)}
}

// Notes are what is wrong, each for people, at most one of a kind: what handlers
// returned in the last minute, what more is Refused of the lines that it wrote, and whether dir, where it keeps its state, is full.
func (t *Log) Notes(refused []string, dir string) (notes []string) {
	said := map[int]bool{}
	t.mu.Lock()
	for n, r := range t.last {
		if r.times > 0 && time.Since(r.time) <= Recent {
			said[n] = true
			often := "once"
			if r.times > 1 {
				often = fmt.Sprintf("%d times, the last", r.times)
			}
			notes = append(notes, fmt.Sprintf("it says that it %s; of late %s: %s", refusals[n].what, often, r.message))
		}
	}
	t.mu.Unlock()
	for _, line := range refused {
		if n := refusal(line); !said[n] {
			said[n] = true
			notes = append(notes, fmt.Sprintf("it says that it %s; it wrote: %s", refusals[n].what, shorten(line)))
		}
	}
	var fs unix.Statfs_t
	_ = unix.Statfs(dir, &fs) // it may not have been made yet
	if text := full(dir, &fs); text != "" {
		notes = append(notes, text)
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
