package bench

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// Provenance is where and how a result was made.
type Provenance struct {
	Command    []string  `json:"command,omitempty"`
	Started    time.Time `json:"started"`
	Ended      time.Time `json:"ended"`
	Version    string    `json:"version"`
	Revision   string    `json:"git_revision,omitempty"`
	Modified   bool      `json:"git_modified,omitempty"`
	Go         string    `json:"go_version"`
	Platform   string    `json:"platform"`
	GOMAXPROCS int       `json:"gomaxprocs"`
	Hardware   Hardware  `json:"hardware"`
}

// Hardware is the machine of the harness.
type Hardware struct {
	CPUs        int    `json:"cpus"`
	CPUModel    string `json:"cpu_model,omitempty"`
	MemoryBytes uint64 `json:"memory_bytes,omitempty"`
	Kernel      string `json:"kernel,omitempty"`
}

func provenance(command []string, began time.Time) Provenance {
	p := Provenance{
		Command: command, Started: began.UTC().Round(time.Millisecond), Ended: time.Now().UTC().Round(time.Millisecond), Version: "unknown",
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, GOMAXPROCS: runtime.GOMAXPROCS(0), Hardware: hardware(),
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return p
	}
	p.Version = info.Main.Version
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			p.Revision = s.Value
		case "vcs.modified":
			p.Modified = s.Value == "true"
		}
	}
	return p
}

// hardware asks /proc; what is not there stays empty.
func hardware() Hardware {
	h := Hardware{CPUs: runtime.NumCPU()}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		h.CPUModel = fieldOf(string(b), "model name")
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		if kib, _, ok := strings.Cut(fieldOf(string(b), "MemTotal"), " "); ok {
			if n, err := strconv.ParseUint(kib, 10, 64); err == nil {
				h.MemoryBytes = n << 10
			}
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		h.Kernel = strings.TrimSpace(string(b))
	}
	return h
}

// fieldOf is the value of the first line "name : value".
func fieldOf(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
