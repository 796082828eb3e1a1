// Package source finds and rewrites the *.hcl files of a configuration. What
// their canonical form is, package config knows.
package source

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/pluginhost/host/cmd/host/internal/input"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/config/syntax"
)

// Files puts the *.hcl files of a directory in its place. Hidden files are no
// part of a configuration.
func Files(names []string) ([]string, error) {
	var files []string
	for _, name := range names {
		st, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		if !st.IsDir() {
			files = append(files, name)
			continue
		}
		inside, err := os.ReadDir(name)
		if err != nil {
			return nil, err
		}
		before := len(files)
		for _, e := range inside {
			if filepath.Ext(e.Name()) == ".hcl" && !strings.HasPrefix(e.Name(), ".") && !e.IsDir() {
				files = append(files, filepath.Join(name, e.Name()))
			}
		}
		if len(files) == before {
			return nil, fmt.Errorf("%s holds no *.hcl file; -c names the directory that does", name)
		}
	}
	return files, nil
}

// Format returns which files are not in the canonical form, and writes them anew
// if write is set. A file that cannot be parsed stays as it is: see diags.
func Format(files []string, write bool) (changed []string, diags config.Diagnostics, err error) {
	changed, diags = []string{}, config.Diagnostics{}
	for _, name := range files {
		src, err := input.File(name, syntax.MaxFile)
		if err != nil {
			return changed, diags, err
		}
		out, broken := config.Format(src, name)
		diags = append(diags, broken...)
		if broken.HasErrors() || bytes.Equal(out, src) {
			continue
		}
		changed = append(changed, name)
		if !write {
			continue
		}
		if err := replace(name, out); err != nil {
			return changed, diags, err
		}
	}
	return changed, diags, nil
}

// replace writes a file whole, keeps its mode, and follows a symbolic link.
func replace(name string, text []byte) error {
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	return renameio.WriteFile(target, text, 0o644, renameio.WithExistingPermissions())
}
