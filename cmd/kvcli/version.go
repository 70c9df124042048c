package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/kvd-db/kvd/cmd/kvcli/output"
)

// version is set by the linker in a release (-X main.version=...); without it, the module's
// version stands in.
var version string

func newVersion(c *call) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of kvcli",
		Args:  exactly(),
		RunE:  func(*cobra.Command, []string) error { return c.one(versionRecord(), "version") },
	}
}

func versionRecord() output.Record {
	name, commit, modified := version, "", false
	if info, ok := debug.ReadBuildInfo(); ok {
		if name == "" {
			name = info.Main.Version
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				commit = s.Value
			case "vcs.modified":
				modified = s.Value == "true"
			}
		}
	}
	return output.Record{
		{Name: "version", Value: name},
		{Name: "commit", Value: commit},
		{Name: "modified", Value: modified},
		{Name: "go", Value: runtime.Version()},
		{Name: "platform", Value: runtime.GOOS + "/" + runtime.GOARCH},
	}
}
