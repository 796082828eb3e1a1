package catalog

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner/executable"
)

const (
	settle     = 200 * time.Millisecond // between two looks at a file that has just been written
	settled    = time.Second            // a file that old is not being written any more
	settleMost = 2 * time.Second        // that a scan waits for files to settle
	retry      = time.Minute            // before an executable that failed is asked again
	maxReason  = 700                    // bytes
	maxFiles   = 10_000                 // in the plugin directory
)

// Scan reads the directory once and returns when every stable candidate has
// its state. A file that was just written is given a moment. An error means
// that the directory cannot be used at all.
func (c *Catalog) Scan(ctx context.Context) error {
	_, err := c.scan(ctx)
	return err
}

// scan also reports whether something is still pending.
func (c *Catalog) scan(ctx context.Context) (pending bool, err error) {
	c.scanning.Lock()
	defer c.scanning.Unlock()
	for end := time.Now().Add(settleMost); ; {
		pending, err = c.look(ctx)
		if err != nil || !pending || time.Now().After(end) {
			return pending, err
		}
		select {
		case <-time.After(settle):
		case <-ctx.Done():
			return pending, context.Cause(ctx)
		}
	}
}

// look takes one look at the directory.
func (c *Catalog) look(ctx context.Context) (pending bool, err error) {
	paths, err := c.list()
	if err != nil {
		return false, err
	}
	c.refuse = func(string) string { return "" }
	if c.o.Lock != nil {
		c.refuse = c.o.Lock()
	}
	seen := map[string]bool{}
	var fresh []*file // to be described, holding their descriptor in c.held
	for _, path := range paths {
		seen[path] = true
		if f := c.check(path); f != nil {
			fresh = append(fresh, f)
		}
	}
	for path := range c.files {
		if !seen[path] {
			delete(c.files, path)
		}
	}
	c.publish(c.collect()) // what waits for an answer shows as pending meanwhile
	c.describeAll(ctx, fresh)
	s := c.collect()
	c.publish(s)
	return slices.ContainsFunc(s.Entries, func(e Entry) bool { return e.State == Pending }), ctx.Err()
}

// list returns the candidates' paths, sorted.
func (c *Catalog) list() ([]string, error) {
	if err := executable.Directory(c.o.Dir, uint32(os.Geteuid())); err != nil {
		return nil, err
	}
	dir, err := os.Open(c.o.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(maxFiles)
	if err != nil && len(names) > 0 || len(names) == maxFiles {
		return nil, fmt.Errorf("the plugin directory %s holds %d files or more", c.o.Dir, maxFiles)
	}
	var paths []string
	for _, name := range names {
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") ||
			strings.HasSuffix(name, ".tmp") || strings.HasSuffix(name, ".part") {
			continue
		}
		paths = append(paths, filepath.Join(c.o.Dir, name))
	}
	slices.Sort(paths)
	return paths, nil
}

// check looks at one path and returns its file when it has to be described.
func (c *Catalog) check(path string) *file {
	old := c.files[path]
	f, id, err := lookAt(path)
	if err != nil {
		c.files[path] = rejected(path, id, reason(err))
		return nil
	}
	if f != nil {
		defer func() {
			if f != nil {
				_ = f.Close()
			}
		}()
	}
	if old != nil && old.id == id && old.entry.State != Pending && !old.again() &&
		(old.entry.Digest == "" || old.locked == c.refuse(old.entry.Digest)) {
		return nil
	}
	if why := refuse(path, id); why != "" {
		c.files[path] = rejected(path, id, why)
		return nil
	}
	// Whoever still writes the file changes it between two looks.
	if id.age() < settled && (old == nil || old.id != id) {
		c.files[path] = &file{id: id, entry: Entry{Name: filepath.Base(path), Path: path, State: Pending, Reason: "is still being written"}}
		return nil
	}
	sum, err := digest(f)
	if err == nil {
		var st unix.Stat_t
		if err = unix.Stat(fmt.Sprintf("/proc/self/fd/%d", fdOf(f)), &st); err == nil && identify(&st) != id {
			c.files[path] = &file{id: identify(&st), entry: Entry{Name: filepath.Base(path), Path: path, State: Pending, Reason: "is still being written"}}
			return nil
		}
	}
	if err != nil {
		c.files[path] = rejected(path, id, reason(err))
		return nil
	}
	if why := c.refuse(sum); why != "" {
		c.files[path] = rejected(path, id, why)
		c.files[path].locked, c.files[path].entry.Digest = why, sum
		return nil
	}
	n := &file{id: id, entry: Entry{Name: filepath.Base(path), Path: path, Digest: sum, State: Pending, Reason: "is being asked for its manifest"}}
	c.files[path] = n
	c.keep(sum, named(f, path), id)
	f = nil
	return n
}

// named gives a descriptor the name of the path at which it was found.
func named(f *os.File, path string) *os.File {
	fd, err := unix.FcntlInt(fdOf(f), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return f
	}
	_ = f.Close()
	return os.NewFile(uintptr(fd), path)
}

// fdOf returns the number of a regular file's descriptor.
func fdOf(f *os.File) uintptr { return f.Fd() }

// again reports whether a failed Describe is worth another try.
func (f *file) again() bool {
	return !f.tried.IsZero() && time.Since(f.tried) > retry
}

func rejected(path string, id identity, why string) *file {
	return &file{id: id, entry: Entry{Name: filepath.Base(path), Path: path, State: Rejected, Reason: why}}
}

// describeAll asks executables for their manifest, those with one digest once.
func (c *Catalog) describeAll(ctx context.Context, files []*file) {
	byDigest := map[string][]*file{}
	for _, f := range files {
		byDigest[f.entry.Digest] = append(byDigest[f.entry.Digest], f)
	}
	var g errgroup.Group
	g.SetLimit(2 * runtime.GOMAXPROCS(0))
	for _, same := range byDigest {
		g.Go(func() error {
			c.describe(ctx, same)
			return nil
		})
	}
	_ = g.Wait()
}

// describe finds the manifest of files with one digest, in the cache or by
// asking.
func (c *Catalog) describe(ctx context.Context, same []*file) {
	sum := same[0].entry.Digest
	m := c.cache.read(sum)
	if m == nil {
		exe, err := c.Open(sum)
		if err == nil {
			bounded, cancel := context.WithTimeout(ctx, c.o.Deadline)
			m, err = c.o.Describe(bounded, exe, same[0].entry.Path, sum)
			cancel()
			_ = exe.Close()
		}
		if err == nil {
			err = m.Validate()
		}
		if err != nil {
			if ctx.Err() != nil {
				return // nobody's fault: pending until the next look
			}
			for _, f := range same {
				f.entry.State, f.entry.Reason, f.tried = Rejected, reason(err), time.Now()
			}
			return
		}
		if err := c.cache.write(sum, m); err != nil {
			c.o.Log.Warn("the next start will ask again", "plugin", m.Name, "error", err)
		}
	}
	for _, f := range same {
		f.entry.Name, f.entry.Version, f.entry.Manifest = m.Name, m.Version, m
		f.entry.State, f.entry.Reason = Ready, ""
	}
}

// collect makes a snapshot of the files.
func (c *Catalog) collect() *Snapshot {
	var files []*file
	for _, f := range c.files {
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b *file) int { return strings.Compare(a.entry.Path, b.entry.Path) })
	elect(files)
	s := &Snapshot{}
	for _, f := range files {
		s.Entries = append(s.Entries, f.entry)
	}
	return s
}

// reason makes one clean line of an error.
func reason(err error) string {
	q := strconv.Quote(strings.Join(strings.Fields(err.Error()), " "))
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	q = strings.ReplaceAll(q, `\\`, `\`)
	if len(q) > maxReason {
		q = strings.ToValidUTF8(q[:maxReason], "") + "…"
	}
	return q
}
