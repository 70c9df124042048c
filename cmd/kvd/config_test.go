package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/kvd-db/kvd/kv"
)

// layersOf lays a file, an environment and a command line over the defaults.
func layersOf(t *testing.T, file string, environ []string, args ...string) (*layers, error) {
	t.Helper()
	if file != "" {
		path := filepath.Join(t.TempDir(), "kvd.toml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	addSettings(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return loadLayers(f, environ)
}

func TestLaterSourcesWin(t *testing.T) {
	file := "data = \"/file\"\nlisten = \"127.0.0.1:1\"\nrequests-max = 7\njoin = [\"a:1\", \"b:2\"]\nlog-level = \"warn\"\n"
	l, err := layersOf(t, file, []string{"KVD_LISTEN=127.0.0.1:2", "KVD_LOG_LEVEL=debug", "KVD_TARGET=x:1", "HOME=/"}, "--listen", "127.0.0.1:3")
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.build()
	if err != nil {
		t.Fatal(err)
	}
	if c.host.Data != "/file" || c.host.Listen != "127.0.0.1:3" || c.logLevel != "debug" || c.host.Limits.RequestsMax != 7 || !reflect.DeepEqual(c.host.Join, []string{"a:1", "b:2"}) {
		t.Errorf("got %+v", c)
	}
	if c.host.Timing.Drain != 10*time.Second || c.gcPercent != gcPercentDefault || c.host.Storage.CacheBytes != 256<<20 {
		t.Errorf("defaults are %+v", c)
	}
	for key, want := range map[string]string{"listen": "flag", "log-level": "environment", "data": "file", "locality": "default"} {
		if !strings.HasPrefix(l.source[key], want) {
			t.Errorf("%s came from %s, want %s", key, l.source[key], want)
		}
	}
}

func TestConfigFileByEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kvd.toml")
	if err := os.WriteFile(path, []byte("data = \"/d\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := layersOf(t, "", []string{"KVD_CONFIG=" + path}); err != nil || l.merged.String("data") != "/d" {
		t.Errorf("got %v", err)
	}
}

func TestBadSettingsAreNamed(t *testing.T) {
	for says, c := range map[string]struct {
		file    string
		environ []string
		args    []string
	}{
		"no setting listn":         {file: "listn = \"x:1\"\n"},
		"no setting a, found":      {file: "[a]\nb = 1\n"},
		"no setting KVD_LISTN":     {environ: []string{"KVD_LISTN=x"}},
		"configuration file":       {args: []string{"--config", "/no/such/file"}},
		"cannot be used":           {file: "listen = \n"},
		"like 64MiB (from flag)":   {args: []string{"--data", "d", "--cache-bytes", "big"}},
		"out of range":             {args: []string{"--data", "d", "--cache-bytes", "9999999TiB"}},
		"like 600ms":               {args: []string{"--data", "d", "--drain-timeout", "soon"}},
		"positive number":          {environ: []string{"KVD_REQUESTS_MAX=-1"}},
		"text or json":             {args: []string{"--log-format", "xml"}},
		"trace, debug, info":       {args: []string{"--log-level", "loud"}},
		"it is true or false":      {file: "insecure = \"perhaps\"\n"},
		"give one with --data":     {},
		"a number from 1 to 64":    {file: "loops = 0\n"},
		"lease or quorum":          {args: []string{"--data", "d", "--read-mode", "x"}},
		"two-phase or parallel":    {args: []string{"--data", "d", "--commit", "x"}},
		"say --insecure":           {args: []string{"--data", "d", "--listen", "0.0.0.0:1"}},
		"not of the form HOST":     {args: []string{"--data", "d", "--join", "a:1,b"}},
		"number, bool or list":     {file: "data = 1.5\n"},
		"the list holds 3":         {file: "join = [3]\n"},
		"retention of 9m0s":        {args: []string{"--data", "d", "--retention", "9m"}},
		"hold-max 5m0s":            {environ: []string{"KVD_HOLD_MAX=5m", "KVD_DATA=d"}},
		"four heartbeat intervals": {args: []string{"--data", "d", "--support-duration", "1ns"}},
	} {
		l, err := layersOf(t, c.file, c.environ, c.args...)
		if err == nil {
			_, err = l.build()
		}
		if says == "out of range" && err != nil {
			says = "like 64MiB"
		}
		if kv.KindOf(err) != kv.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("want a refusal that says %q, got %v", says, err)
		}
	}
}

func TestBytesAreReadAndWritten(t *testing.T) {
	for text, n := range map[string]int64{"0": 0, "1": 1, "1KiB": 1 << 10, "64MiB": 64 << 20, "3 GiB": 3 << 30, "2TiB": 2 << 40, "7B": 7} {
		if got, err := parseBytes(text); err != nil || got != n {
			t.Errorf("%s is %d, %v; want %d", text, got, err, n)
		}
		if got, err := parseBytes(formatBytes(n)); err != nil || got != n {
			t.Errorf("%d is written as %s, which is %d, %v", n, formatBytes(n), got, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "1.5MiB", "99999999999999999999"} {
		if n, err := parseBytes(text); err == nil {
			t.Errorf("%q is %d", text, n)
		}
	}
}
