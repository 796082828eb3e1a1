package instance

import (
	"slices"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/sdk/schema"
)

// Capabilities that a manifest may name. A plugin gets what it names: whoever
// installs it reads them with host plugins show.
const (
	network  = "network"  // it makes internet connections
	programs = "programs" // it runs programs that nobody knows before, so that it is not confined
)

// sandbox says what the process of an instance may use: what is configured, what
// its manifest needs, and the directories among its own attributes. Files and
// sockets come as descriptors, and need no leave.
func sandbox(c config.Instance) spawner.Start {
	p := c.Process
	s := spawner.Start{User: p.User, Digest: c.Digest, State: stateName(c), Memory: p.Memory, CPU: p.CPU,
		Procs: int64(p.Processes), Files: int64(p.OpenFiles), FileSize: p.FileSize, Core: p.CoreSize, Require: p.Require}
	if c.Manifest != nil {
		s.Network = slices.Contains(c.Manifest.Capabilities, network)
		s.Free = slices.Contains(c.Manifest.Capabilities, programs)
	}
	for _, r := range c.Resources {
		if r.Kind == schema.File && r.Access == "directory" {
			s.Write = append(s.Write, r.Value)
		}
	}
	slices.Sort(s.Write)
	return s
}

// stateName names the directory below which the instances of a plugin keep their
// state: that of its own, and of its user.
func stateName(c config.Instance) string {
	if c.Process.User == "" {
		return c.Plugin
	}
	return c.Plugin + "@" + c.Process.User
}
