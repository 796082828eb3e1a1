package resource_test

import (
	"os"
	"syscall"
	"testing"
)

func stat(t *testing.T, path string) *syscall.Stat_t {
	t.Helper()
	st, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Sys().(*syscall.Stat_t)
}

func inodeOf(t *testing.T, path string) uint64 { return stat(t, path).Ino }

func ownerOf(t *testing.T, path string) (uid, gid uint32) {
	s := stat(t, path)
	return s.Uid, s.Gid
}
