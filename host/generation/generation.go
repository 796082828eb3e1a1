// Package generation keeps what was committed: one directory for each
// generation, with the files and variables that it was made of, and a log of
// everybody who tried to make one. The directory of a generation appears whole,
// by one rename, and that is the commit. It decides nothing: host/apply does,
// and asks it after a restart.
package generation

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Keep is how many generations are kept.
const Keep = 20

// Source is what a configuration was made of.
type Source struct {
	Files   []File            // by name
	Vars    map[string]string // values of variables that came as text
	Secrets []string          // variables that came as text and are not kept

	print string // fingerprint, where Printed has made it
}

// File is one file of a configuration.
type File struct {
	Name string // config/NAME, or vars/NUMBER-NAME for one that a flag named
	Data []byte
}

// Text returns the file of the configuration that has a path, or nil.
func (s Source) Text(path string) []byte {
	for _, f := range s.Files {
		if f.Name == "config/"+filepath.Base(path) {
			return f.Data
		}
	}
	return nil
}

// Printed returns the source with its fingerprint made, which takes as long as
// the files are large. Nothing of it is changed after that.
func (s Source) Printed() Source {
	s.print = s.Fingerprint()
	return s
}

// Fingerprint is equal for equal files and variables, hex.
func (s Source) Fingerprint() string {
	if s.print != "" {
		return s.print
	}
	h := sha256.New()
	for _, f := range s.Files {
		_, _ = fmt.Fprintf(h, "file %q %d\n", f.Name, len(f.Data))
		_, _ = h.Write(f.Data)
		_, _ = h.Write([]byte{'\n'})
	}
	for _, k := range slices.Sorted(maps.Keys(s.Vars)) {
		_, _ = fmt.Fprintf(h, "var %q %q\n", k, s.Vars[k])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Record says what a generation is and how it came to be.
type Record struct {
	Generation uint64            `json:"generation"`
	Time       time.Time         `json:"time"`
	Who        Who               `json:"who"`
	Summary    string            `json:"summary"`
	From       uint64            `json:"from,omitempty"`    // whose configuration this is, when it was a return
	Config     string            `json:"config"`            // fingerprint of the source
	Disk       string            `json:"disk,omitempty"`    // fingerprint of what was on disk and left aside by a return
	Plugins    map[string]string `json:"plugins,omitempty"` // name → digest of the executable
	Vars       map[string]string `json:"vars,omitempty"`
	Secrets    []string          `json:"secrets,omitempty"`
	Confirm    *Confirm          `json:"confirm,omitempty"` // waited for
}

// Confirm says that a generation is on probation.
type Confirm struct {
	Until time.Time `json:"until"`
	Back  uint64    `json:"back"` // where to return when nobody confirms
}

// lockWait is how long a lock that another holds is waited for.
const lockWait = time.Second

// Store is the directory of the generations.
type Store struct {
	dir  string
	lock *os.File // held as long as the store is open

	mu      sync.Mutex
	records []Record // oldest first
	sockets []string // paths, as written down
}

// Open reads what there is and removes what an end in between left behind. One
// process at a time has the store open; the kernel lets go of it when that
// ends, however it ends.
func Open(stateDir string) (*Store, error) {
	s := &Store{dir: filepath.Join(stateDir, "generations")}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w; host { state_dir } or --state-dir names another", err)
	}
	if err := s.own(); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// own locks the directory.
func (s *Store) own() error {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	// A process that was just ended by force can have left a child between fork
	// and exec, which holds the lock for a moment more.
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for end := time.Now().Add(lockWait); err != nil && time.Now().Before(end); {
		time.Sleep(lockWait / 100)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		pid, _ := io.ReadAll(io.LimitReader(f, 32))
		_ = f.Close()
		return fmt.Errorf("another daemon (pid %s) uses this state directory, %s: stop it, or choose another --state-dir",
			bytes.TrimSpace(pid), filepath.Dir(s.dir))
	}
	s.lock = f
	// For people only; the lock is what counts.
	_ = f.Truncate(0)
	_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	return nil
}

// Close lets another process open the store.
func (s *Store) Close() error { return s.lock.Close() }

func (s *Store) load() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("generations: %w", err)
	}
	for _, e := range entries {
		n, err := strconv.ParseUint(e.Name(), 10, 64)
		switch {
		case strings.HasPrefix(e.Name(), "."): // staged and never committed, or half removed
			_ = os.RemoveAll(filepath.Join(s.dir, e.Name()))
		case err == nil && e.IsDir():
			r, err := s.read(n)
			if err != nil {
				return err
			}
			s.records = append(s.records, r)
		}
	}
	slices.SortFunc(s.records, func(a, b Record) int {
		if a.Generation < b.Generation {
			return -1
		}
		return 1
	})
	return nil
}

func (s *Store) path(n uint64) string { return filepath.Join(s.dir, strconv.FormatUint(n, 10)) }

func (s *Store) read(n uint64) (Record, error) {
	var r Record
	path := filepath.Join(s.path(n), "record.json")
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err == nil && r.Generation != n {
		err = fmt.Errorf("it is that of generation %d", r.Generation)
	}
	if err != nil {
		return r, fmt.Errorf("record of generation %d: %w; move %s away to go on without it", n, err, s.path(n))
	}
	return r, nil
}

// Last returns the generation that was committed last.
func (s *Store) Last() (Record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.records) == 0 {
		return Record{}, false
	}
	return s.records[len(s.records)-1], true
}

// List returns the generations that are kept, oldest first.
func (s *Store) List() []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.records)
}

// ErrUnknown says that a generation is not kept.
var ErrUnknown = errors.New("that generation is not kept; host generations lists those that are")

// Get returns a generation.
func (s *Store) Get(n uint64) (Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.records {
		if r.Generation == n {
			return r, nil
		}
	}
	return Record{}, fmt.Errorf("generation %d: %w", n, ErrUnknown)
}

// Before returns the generation before one.
func (s *Store) Before(n uint64) (Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.records) - 1; i >= 0; i-- {
		if s.records[i].Generation < n {
			return s.records[i], nil
		}
	}
	return Record{}, fmt.Errorf("there is no generation before %d; host generations lists those that are kept", n)
}

// ConfigDir is where the configuration files of a generation are.
func (s *Store) ConfigDir(n uint64) string { return filepath.Join(s.path(n), "config") }

// VarFiles returns the files of values that flags named, in their order.
func (s *Store) VarFiles(n uint64) []string {
	paths, _ := filepath.Glob(filepath.Join(s.path(n), "vars", "*")) // sorted by number
	return paths
}

// Staged is a generation that is on disk but for its commit.
type Staged struct {
	s      *Store
	record Record
	dir    string
}

// Stage writes a generation next to the others, on disk when it returns. A file
// that the last generation has with the same content is shared with it.
func (s *Store) Stage(r Record, src Source) (*Staged, error) {
	st := &Staged{s: s, record: r, dir: filepath.Join(s.dir, fmt.Sprintf(".%d", r.Generation))}
	if err := st.write(src); err != nil {
		st.Drop()
		return nil, fmt.Errorf("record generation %d: %w", r.Generation, err)
	}
	return st, nil
}

func (st *Staged) write(src Source) error {
	if err := os.RemoveAll(st.dir); err != nil {
		return err
	}
	dirs := []string{st.dir, filepath.Join(st.dir, "config")}
	if slices.ContainsFunc(src.Files, func(f File) bool { return strings.HasPrefix(f.Name, "vars/") }) {
		dirs = append(dirs, filepath.Join(st.dir, "vars"))
	}
	for _, d := range dirs {
		if err := os.Mkdir(d, 0o700); err != nil {
			return err
		}
	}
	b, err := json.MarshalIndent(st.record, "", "  ")
	if err != nil {
		return err
	}
	last, known := st.s.Last()
	var sync []*os.File
	defer func() {
		for _, f := range sync {
			_ = f.Close()
		}
	}()
	for _, f := range slices.Concat(src.Files, []File{{"record.json", append(b, 10)}}) {
		to := filepath.Join(st.dir, filepath.FromSlash(f.Name))
		if known {
			old := filepath.Join(st.s.path(last.Generation), filepath.FromSlash(f.Name))
			if same(old, f.Data) && os.Link(old, to) == nil {
				continue
			}
		}
		w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		sync = append(sync, w)
		if _, err := w.Write(f.Data); err != nil {
			return err
		}
	}
	for _, d := range dirs {
		f, err := os.Open(d)
		if err != nil {
			return err
		}
		sync = append(sync, f)
	}
	// All at once: the file system makes one write of what comes together.
	var g errgroup.Group
	for _, f := range sync {
		g.Go(f.Sync)
	}
	return g.Wait()
}

// same reports whether a file holds this and no more.
func same(path string, data []byte) bool {
	st, err := os.Stat(path)
	if err != nil || st.Size() != int64(len(data)) {
		return false
	}
	b, err := os.ReadFile(path)
	return err == nil && bytes.Equal(b, data)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Drop removes what was staged.
func (st *Staged) Drop() { _ = os.RemoveAll(st.dir) }

// Commit makes the generation the last one: before it returns nil, a restart
// finds the generation before; after that, this one.
func (st *Staged) Commit() error {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	to := s.path(st.record.Generation)
	err := os.Rename(st.dir, to)
	if err == nil {
		if err = syncDir(s.dir); err != nil && os.Rename(to, st.dir) != nil {
			err = nil // it is seen, if not yet on disk, and cannot be taken back
		}
	}
	if err != nil {
		return fmt.Errorf("record generation %d: %w", st.record.Generation, err)
	}
	s.records = append(s.records, st.record)
	return nil
}

// Confirmed ends the probation of the last generation.
func (s *Store) Confirmed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.records) == 0 {
		return ErrUnknown
	}
	r := &s.records[len(s.records)-1]
	was := r.Confirm
	r.Confirm = nil
	b, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = renameio.WriteFile(filepath.Join(s.path(r.Generation), "record.json"), append(b, '\n'), 0o600)
	}
	if err == nil {
		err = syncDir(s.path(r.Generation))
	}
	if err != nil {
		r.Confirm = was
		return fmt.Errorf("confirm generation %d: %w", r.Generation, err)
	}
	return nil
}

// Prune removes the oldest generations beyond Keep, but not those in spare.
func (s *Store) Prune(spare ...uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := len(s.records) - Keep
	var err error
	s.records = slices.DeleteFunc(s.records, func(r Record) bool {
		if over <= 0 || slices.Contains(spare, r.Generation) {
			return false
		}
		over--
		// First out of sight, whole, then file by file.
		gone := filepath.Join(s.dir, fmt.Sprintf(".gone-%d", r.Generation))
		if e := os.Rename(s.path(r.Generation), gone); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
			return false
		}
		err = errors.Join(err, os.RemoveAll(gone))
		return true
	})
	return err
}
