package instance

import (
	"slices"
	"sync/atomic"
)

// seats finds who sits at a handle. It is asked for each event and takes no
// lock; taking a seat costs the same beside few and beside thousands. Handles
// count up and are never given out again, so that a late answer finds nobody.
type seats struct {
	pages atomic.Pointer[[]*page] // replaced when a page comes or goes
}

const pageSize = 256

type page struct {
	taken int // changed under the lock of the life
	seat  [pageSize]atomic.Pointer[seat]
}

// at returns the seat of a handle, or nil.
func (t *seats) at(handle uint32) *seat {
	pages := t.pages.Load()
	if n := handle / pageSize; pages != nil && int(n) < len(*pages) {
		if p := (*pages)[n]; p != nil {
			return p.seat[handle%pageSize].Load()
		}
	}
	return nil
}

// take gives a seat its place. One caller at a time takes or leaves.
func (t *seats) take(s *seat) {
	var pages []*page
	if old := t.pages.Load(); old != nil {
		pages = *old
	}
	n := int(s.handle / pageSize)
	if n >= len(pages) || pages[n] == nil {
		pages = slices.Clone(pages)
		for len(pages) <= n {
			pages = append(pages, nil)
		}
		pages[n] = &page{}
		t.pages.Store(&pages)
	}
	pages[n].taken++
	pages[n].seat[s.handle%pageSize].Store(s)
}

// leave empties a place; a seat may leave twice.
func (t *seats) leave(s *seat) {
	if t.at(s.handle) != s {
		return
	}
	pages := *t.pages.Load()
	n := s.handle / pageSize
	pages[n].seat[s.handle%pageSize].Store(nil)
	if pages[n].taken--; pages[n].taken == 0 {
		pages = slices.Clone(pages)
		pages[n] = nil
		t.pages.Store(&pages)
	}
}
