package source

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.hcl", "a.hcl", ".hidden.hcl", "notes"} {
		put(t, filepath.Join(dir, name), "")
	}
	if err := os.Mkdir(filepath.Join(dir, "sub.hcl"), 0o700); err != nil {
		t.Fatal(err)
	}
	notes := filepath.Join(dir, "notes")
	files, err := Files([]string{notes, dir})
	if want := []string{notes, filepath.Join(dir, "a.hcl"), filepath.Join(dir, "b.hcl")}; err != nil || !slices.Equal(files, want) {
		t.Errorf("%v, %v; want %v", files, err, want)
	}
	if _, err := Files([]string{filepath.Join(dir, "sub.hcl")}); err == nil || !strings.Contains(err.Error(), "holds no *.hcl file") {
		t.Errorf("an empty directory: %v", err)
	}
}

func TestFormat(t *testing.T) {
	dir := t.TempDir()
	good, ugly, broken := filepath.Join(dir, "good"), filepath.Join(dir, "ugly"), filepath.Join(dir, "broken")
	put(t, good, "a = 1\n")
	put(t, ugly, "a=1\n")
	put(t, broken, "a = \n")
	for _, write := range []bool{false, true} {
		changed, diags, err := Format([]string{good, broken, ugly}, write)
		if err != nil || !slices.Equal(changed, []string{ugly}) || !diags.HasErrors() || diags[0].File != broken {
			t.Errorf("write %t: %v, %v, %v", write, changed, diags, err)
		}
		want := map[bool]string{false: "a=1\n", true: "a = 1\n"}[write]
		if b, err := os.ReadFile(ugly); err != nil || string(b) != want {
			t.Errorf("write %t: %q, %v", write, b, err)
		}
	}
	if b, err := os.ReadFile(broken); err != nil || string(b) != "a = \n" {
		t.Errorf("the broken file is %q, %v", b, err)
	}
	if _, _, err := Format([]string{dir}, true); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory is formatted: %v", err)
	}
}
