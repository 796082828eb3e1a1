package generation

import (
	"fmt"
	"time"
)

// Start is what a start of the daemon serves.
type Start struct {
	From    *Record  // whose configuration; nil for what is on disk
	Return  bool     // that ends a probation
	Confirm *Confirm // the probation that goes on
	Why     string   // for people, empty where nothing is to be said
}

// Start decides it by the record:
//
//   - one generation, when pick names it;
//   - the last one, while it waits for a confirmation, and the one before when
//     that time is over;
//   - the last one, when that was a return to an earlier one and the files on
//     disk, whose fingerprint disk returns, are still those that were left by it;
//   - else what is on disk. That it differs from the last generation is said.
func (s *Store) Start(pick uint64, disk func() string) (Start, error) {
	last, ok := s.Last()
	from := func(n uint64, start Start) (Start, error) {
		r, err := s.Get(n)
		start.From = &r
		return start, err
	}
	const later = "host reload applies the files on disk."
	switch c := last.Confirm; {
	case pick != 0:
		return from(pick, Start{Return: pick != last.Generation || c == nil, Confirm: c,
			Why: fmt.Sprintf("The configuration of generation %d, as asked for. %s", pick, later)})
	case !ok:
		return Start{}, nil
	case c != nil && !c.Until.After(time.Now()):
		return from(c.Back, Start{Return: true, Why: fmt.Sprintf("Generation %d was to be confirmed until %s and was not: the configuration of generation %d. %s",
			last.Generation, c.Until.Local().Format(time.DateTime), c.Back, later)})
	case c != nil:
		return Start{From: &last, Confirm: c, Why: fmt.Sprintf("Generation %d, which waits for host confirm until %s.",
			last.Generation, c.Until.Local().Format(time.DateTime))}, nil
	}
	now := disk()
	switch {
	case last.Disk != "" && last.Disk == now && last.Config != now:
		return Start{From: &last, Why: fmt.Sprintf("Generation %d, a return to generation %d: the files on disk are still those that were left by it. %s",
			last.Generation, last.From, later)}, nil
	case last.Config != now:
		return Start{Why: fmt.Sprintf("The files on disk, which differ from generation %d that was served last.", last.Generation)}, nil
	}
	return Start{}, nil
}
