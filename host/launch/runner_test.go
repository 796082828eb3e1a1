package launch

import (
	"slices"
	"strings"
	"testing"
)

// A plugin that names another's socket is not believed.
func TestOnlyItsOwnSocketIsBelieved(t *testing.T) {
	r := &processRunner{process: &Process{dir: "/run/host-1.2/3"}}
	if _, _, err := r.PluginToHost("unix", "/run/host-1.2/3/plugin1"); err != nil {
		t.Error(err)
	}
	for _, address := range [][2]string{
		{"unix", "/run/host-1.2/4/plugin1"}, {"unix", "/run/host-1.2/3/../4/plugin1"}, {"unix", "/run/host-1.2/3/sub/plugin1"},
		{"unix", "plugin1"}, {"tcp", "127.0.0.1:1234"}, {"unix", "@abstract"}, {"unix", ""},
	} {
		if _, _, err := r.PluginToHost(address[0], address[1]); err == nil || !strings.Contains(err.Error(), "outside its own directory") {
			t.Errorf("%v: %v", address, err)
		}
	}
}

// What is configured cannot take the place of what the start needs.
func TestEnvironment(t *testing.T) {
	got := environment(map[string]string{"A": "1", "HOME": "/h", "PLUGIN_UNIX_SOCKET_DIR": "/evil", "HOST_PLUGIN": "x"},
		"/d", []string{"HOST_PLUGIN=cookie", "PLUGIN_UNIX_SOCKET_DIR=/manager"})
	slices.Sort(got)
	want := []string{"A=1", "HOME=/h", "HOST_PLUGIN=cookie", "LANG=C.UTF-8",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PLUGIN_UNIX_SOCKET_DIR=/d", "TMPDIR=/d", "TZ=UTC"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
