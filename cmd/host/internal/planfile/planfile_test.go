package planfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/plan"
)

func TestPlanFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plan")
	held := apply.Held{ID: "x", Base: 3, Config: "c", Expires: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
	if err := Write(path, apply.Result{Held: &held, Plan: &plan.Plan{Kept: 1}}); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("who may read it: %v, %v", st.Mode(), err)
	}
	if got, err := Read(path); err != nil || *got != held {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"", "{}", "[]", `{"held":{"id":""}}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "not a plan of host plan --out") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
