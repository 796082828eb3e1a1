package lock

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestThereAndBack(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir); !errors.Is(err, ErrNone) {
		t.Fatal(err)
	}
	one, two := strings.Repeat("a", 64), strings.Repeat("b", 64)
	want := []Plugin{{Name: "exec", Version: "1.0.0", Digest: one, Capabilities: []string{"programs"}}, {Name: "log", Version: "1.0.0", Digest: two}}
	if err := Write(dir, []Plugin{want[1], want[0]}); err != nil {
		t.Fatal(err)
	}
	l, err := Read(dir)
	if err != nil || !reflect.DeepEqual(l.Plugins, want) {
		t.Fatalf("%+v, %v", l, err)
	}
	if l.Refuse(one) != "" || l.Refuse(strings.Repeat("c", 64)) == "" {
		t.Error("a digest in it is refused, or one that is not is taken")
	}
}

func TestBrokenFiles(t *testing.T) {
	for name, text := range map[string]string{
		"syntax":  `plugin "a" {`,
		"missing": `plugin "a" { version = "1" }`,
		"digest":  "plugin \"a\" {\n version = \"1\"\n sha256 = \"x\"\n}",
		"unknown": "plugin \"a\" {\n version = \"1\"\n sha256 = \"" + strings.Repeat("a", 64) + "\"\n x = 1\n}",
		"deep":    "a = " + strings.Repeat("(", 100_000),
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, Name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "host plugins lock") {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, Name)); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); err == nil {
		t.Error("a link is read")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("plugin \"a\" {\n version = \"1\"\n sha256 = \"" + strings.Repeat("a", 64) + "\"\n}"))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parse(b, Name) })
}
