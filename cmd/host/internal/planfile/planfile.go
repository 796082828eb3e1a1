// Package planfile keeps a plan that the daemon holds in a file, between host
// plan --out and host reload --plan.
package planfile

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/pluginhost/host/cmd/host/internal/input"
	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/plan"
)

// limit bounds what is read, in bytes.
const limit = 64 << 20

type file struct {
	Held apply.Held `json:"held"`
	Plan *plan.Plan `json:"plan"` // for whoever reads the file
}

// Write writes the plan of a result, which is held.
func Write(path string, r apply.Result) error {
	b, err := json.MarshalIndent(file{*r.Held, r.Plan}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o600)
}

// Read returns which plan a file holds.
func Read(path string) (*apply.Held, error) {
	b, err := input.File(path, limit)
	if err != nil {
		return nil, err
	}
	var f file
	if err := json.Unmarshal(b, &f); err != nil || f.Held.ID == "" {
		return nil, fmt.Errorf("%s is not a plan of host plan --out", path)
	}
	return &f.Held, nil
}
