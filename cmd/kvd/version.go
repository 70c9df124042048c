package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/kvd-db/kvd/host"
	"github.com/kvd-db/kvd/kv"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version = "devel"

// versionInfo is what `kvd version` prints.
type versionInfo struct {
	Version       string `json:"version"`
	Commit        string `json:"commit"`
	Go            string `json:"go"`
	Platform      string `json:"platform"`
	StorageFormat int    `json:"storage_format"`
	Protocol      int    `json:"protocol"`
}

func currentVersion() versionInfo {
	v := versionInfo{
		Version: version, Commit: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		StorageFormat: host.StoreFormat, Protocol: host.PeerProtocol,
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				v.Commit = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				v.Commit += "+changes"
			}
		}
	}
	return v
}

func newVersion() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version of the program, of its storage format and of its protocol",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			v := currentVersion()
			switch format {
			case "json":
				return json.NewEncoder(c.OutOrStdout()).Encode(v)
			case "table":
				_, err := fmt.Fprintf(c.OutOrStdout(), "kvd %s (commit %s, %s, %s)\nstorage format %d, protocol %d\n", v.Version, v.Commit, v.Go, v.Platform, v.StorageFormat, v.Protocol)
				return err
			}
			return unknownFormat(format)
		},
	}
	c.Flags().StringVarP(&format, "output", "o", "table", "`FORMAT`: table or json")
	return c
}

func unknownFormat(format string) error {
	return kv.Errorf(kv.Invalid, "output format %q: it is table or json", format)
}
