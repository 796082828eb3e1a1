package apply

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"github.com/pluginhost/host/host/plan"
)

// record is what the state directory says of the generation that was committed
// last. Its writing is the commit.
type record struct {
	Generation uint64    `json:"generation"`
	Time       time.Time `json:"time"`
	Summary    string    `json:"summary"`
}

func recordPath(stateDir string) string { return filepath.Join(stateDir, "generation.json") }

// readRecord returns the zero record when there is none.
func readRecord(stateDir string) (record, error) {
	var r record
	b, err := os.ReadFile(recordPath(stateDir))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return r, fmt.Errorf("read the last generation: %w; remove %s to count from 1 again", err, recordPath(stateDir))
	}
	return r, nil
}

// record writes the generation, on disk when it returns.
func (a *Applier) record(generation uint64, p *plan.Plan) error {
	b, err := json.Marshal(record{Generation: generation, Time: time.Now().UTC(), Summary: summary(p)})
	if err == nil {
		err = renameio.WriteFile(recordPath(a.o.StateDir), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("record generation %d: %w", generation, err)
	}
	return nil
}
