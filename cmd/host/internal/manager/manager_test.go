package manager

import (
	"os"
	"strings"
	"testing"
)

func TestUser(t *testing.T) {
	t.Setenv("SUDO_UID", "")
	t.Setenv("HOST_USER", "somebody")
	dir := t.TempDir()
	if _, _, err := User("no such user", dir); err == nil || !strings.Contains(err.Error(), "no such user") {
		t.Errorf("a user who does not exist: %v", err)
	}
	if os.Geteuid() != 0 {
		if u, lacks, err := User("", dir); err != nil || int(u.UID) != os.Getuid() || len(lacks) > 0 || DefaultUser() != "" {
			t.Errorf("%+v, %v, %v, %q", u, lacks, err, DefaultUser())
		}
		return
	}
	if DefaultUser() != "somebody" {
		t.Errorf("the default is %q", DefaultUser())
	}
	// Root's own directory says nothing, unless there is a user host.
	if u, lacks, err := User("", dir); err != nil || u.UID == 0 && len(lacks) != 1 || u.UID != 0 && u.Name != "host" {
		t.Errorf("%+v, %v, %v", u, lacks, err)
	}
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if u, lacks, err := User("", dir); err != nil || u.UID != 65534 && u.Name != "host" || len(lacks) > 0 {
		t.Errorf("the owner of the configuration: %+v, %v, %v", u, lacks, err)
	}
}
