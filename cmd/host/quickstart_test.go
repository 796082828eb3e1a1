package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What the quickstart promises, over real HTTP, by the real binaries.
func TestQuickstart(t *testing.T) {
	s, url := quickstart(t)
	status, answer, id := s.post("POST", url+"/orders", `{"id":"o-1","total":12}`)
	if status != http.StatusOK || answer["id"] != "o-1" || answer["net"] != 12.0 || answer["tax"] != 2.28 || answer["total"] != 14.28 {
		t.Errorf("%d %v", status, answer)
	}
	if tail := s.host(0, "events", "tail", "--follow=false", "--id", id); !strings.Contains(tail, "http.orders.request  resolved") || !strings.Contains(tail, "subject=o-1") {
		t.Errorf("the tail does not say that it was resolved:\n%s", tail)
	}
	strange := `a"b\c` + "\n" + `{"id":"x","cents":1} ü \n $(id)`
	order, _ := json.Marshal(map[string]any{"id": strange, "total": 12})
	if status, answer, _ := s.post("POST", url+"/orders", string(order)); status != http.StatusOK || answer["id"] != strange || answer["total"] != 14.28 {
		t.Errorf("a strange id: %d %v", status, answer)
	}
	for _, tt := range []struct {
		method, path, body string
		status             int
		code, text         string
		settled            string
	}{
		{"POST", "/orders", `hello`, 400, "invalid_argument", "not JSON", "http.orders.refused  rejected"},
		{"POST", "/orders", `{"id":"o-2"}`, 400, "invalid_argument", "the total of order o-2 is not a positive amount", "http.orders.request  rejected"},
		{"POST", "/orders", `{"id":"o-2","total":0}`, 400, "invalid_argument", "the total of order o-2 is not a positive amount", "http.orders.request  rejected"},
		{"POST", "/orders", `{"id":"o-2","total":1e300}`, 400, "invalid_argument", "too large", "http.orders.request  rejected"},
		{"POST", "/orders", `{"id":{"x":1},"total":12}`, 400, "invalid_argument", "an order needs an id", "http.orders.request  rejected"},
		{"POST", "/orders", `{"id":"` + strings.Repeat("a", 500_000) + `","total":12}`, 400, "invalid_argument", "longer than 100 characters", "http.orders.request  rejected"},
		{"POST", "/orders", `[]`, 400, "invalid_argument", "an order needs an id", "http.orders.request  rejected"},
		{"POST", "/other", `{"id":"o-1","total":12}`, 404, "not_found", "/other", "http.orders.refused  rejected"},
		{"GET", "/orders", ``, 405, "unimplemented", "GET", "http.orders.refused  rejected"},
		{"POST", "/orders", `{"id":"fail","total":1}`, 500, "unknown", "the price list is missing", "http.orders.request  rejected"},
		{"POST", "/orders", `{"id":"hang","total":1}`, 504, "deadline_exceeded", "price.sh", "http.orders.request  rejected"},
	} {
		status, answer, id := s.post(tt.method, url+tt.path, tt.body)
		e, _ := answer["error"].(map[string]any)
		if status != tt.status || e["code"] != tt.code || !strings.Contains(e["message"].(string), tt.text) || e["event"] != id || id == "" {
			t.Errorf("%s %s %s: %d %v", tt.method, tt.path, tt.body, status, answer)
		}
		s.until("the tail says how "+tt.path+" "+tt.body+" settled", func() bool { // a refusal is answered first
			return strings.Contains(s.host(0, "events", "tail", "--follow=false", "--id", id), tt.settled)
		})
	}
	s.until("the line is in the file", func() bool {
		b, _ := os.ReadFile(filepath.Join(s.config, "orders.log"))
		return strings.Contains(string(b), " o-1 12\n")
	})
	s.until("the clock has ticked", func() bool { return strings.Contains(s.out.String(), `"type":"cron.clock.tick"`) })
	if out := s.host(0, "emit", "http.orders.request", "-d", `{"id":"o-2","total":3}`); !strings.Contains(out, `resolved: {"id":"o-2","net":3.00,"tax":0.57,"total":3.57}`) {
		t.Errorf("by hand: %s", out)
	}
}

// Processes have the names of their plugins, and not of how they were executed.
func TestQuickstartProcessNames(t *testing.T) {
	s, _ := quickstart(t)
	for address, pid := range s.pids() {
		plugin, _, _ := strings.Cut(address, ".")
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if name := strings.TrimSpace(string(b)); name != plugin || err != nil {
			t.Errorf("%s runs as %q, %v", address, name, err)
		}
	}
}

// A port that is taken is told with the name of who has it.
func TestQuickstartPortTaken(t *testing.T) {
	s, _ := quickstart(t)
	cmd := exec.Command(filepath.Join(bin(t), "host"), "run", "-c", s.config, "--state-dir", filepath.Join(s.dir, "other"))
	cmd.Env = s.env()
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != exitRolledBack || !strings.Contains(string(out), "in use by host-spawner (pid ") || !strings.Contains(string(out), "host.hcl:") {
		t.Errorf("%v\n%s", err, out)
	}
}

// Whoever reads the daemon's output may go away, as tee does: that ends
// nothing, and it is said where somebody may still read.
func TestNobodyReadsTheOutput(t *testing.T) {
	s, url := copied(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.stdout = w
	s.start()
	_ = w.Close()
	_ = r.Close()
	before := s.pids()
	for range 3 {
		s.host(0, "emit", "cron.clock.tick", "-d", "{}") // log writes it
	}
	s.until("it is said", func() bool { return strings.Contains(s.out.String(), "standard output cannot be written") })
	if status, answer, _ := s.post("POST", url+"/orders", `{"id":"o-1","total":12}`); status != http.StatusOK {
		t.Errorf("%d %v", status, answer)
	}
	if after := s.pids(); !maps.Equal(before, after) {
		t.Errorf("processes: %v, then %v", before, after)
	}
	if n := strings.Count(s.out.String(), "standard output cannot be written"); n != 1 {
		t.Errorf("said %d times", n)
	}
}
