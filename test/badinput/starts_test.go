package badinput

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/kvd-db/kvd/test/cluster"
)

// start runs kvd start, which is expected to refuse.
func start(t *testing.T, env []string, args ...string) cluster.Result {
	t.Helper()
	args = append([]string{"start", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, args...)
	return cluster.Run(t, env, cluster.Build(t).KVD, args...)
}

// TestSettings: a wrong setting is refused before anything is made on the disk.
func TestSettings(t *testing.T) {
	skipIfShort(t)
	data := filepath.Join(t.TempDir(), "data")
	config := func(text string) string {
		path := filepath.Join(t.TempDir(), "kvd.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	unknownKey := config("sideways = 1\n")
	wrongType := config("listen = 1.5\n")
	notTOML := config("listen =\n")
	for _, b := range []struct {
		env   []string
		args  []string
		words []string
	}{
		{nil, []string{"--sideways"}, []string{"--sideways", "--help"}},
		{nil, []string{"forwards"}, []string{"forwards", "--help"}},
		{nil, []string{"--data", ""}, []string{"data directory", "--data"}},
		{[]string{"KVD_SIDEWAYS=1"}, nil, []string{"KVD_SIDEWAYS", "environment", "kvd config print"}},
		{nil, []string{"--config", unknownKey}, []string{"sideways", unknownKey, "kvd config print"}},
		{nil, []string{"--config", wrongType}, []string{"listen", wrongType}},
		{nil, []string{"--config", notTOML}, []string{notTOML}},
		{nil, []string{"--config", "/no/such/file"}, []string{"/no/such/file"}},
		{nil, []string{"--listen", "here"}, []string{"--listen", `"here"`, "HOST:PORT"}},
		{nil, []string{"--join", "here"}, []string{"--join", `"here"`, "HOST:PORT"}},
		{nil, []string{"--listen", "0.0.0.0:0"}, []string{"--listen", "0.0.0.0:0", "127.0.0.1", "--insecure"}},
		{nil, []string{"--listen", "[::]:0"}, []string{"--listen", "[::]:0", "127.0.0.1", "--insecure"}},
		{nil, []string{"--listen", ":0"}, []string{"--listen", ":0", "127.0.0.1", "--insecure"}},
		{nil, []string{"--admin-listen", "0.0.0.0:0"}, []string{"--admin-listen", "0.0.0.0:0", "127.0.0.1", "--insecure"}},
		{nil, []string{"--read-mode", "fast"}, []string{"read-mode", `"fast"`, "lease", "quorum"}},
		{nil, []string{"--locality", "upstairs"}, []string{"locality", `"upstairs"`, "region="}},
		{nil, []string{"--log-format", "xml"}, []string{"log-format", `"xml"`, "json"}},
		{nil, []string{"--log-level", "loud"}, []string{"log-level", `"loud"`, "info"}},
		{nil, []string{"--cache-bytes", "some"}, []string{"cache-bytes", `"some"`, "64MiB"}},
		{nil, []string{"--requests-max", "-1"}, []string{"requests-max", `"-1"`, "positive"}},
		{nil, []string{"--dead-after", "-5s"}, []string{"dead-after", `"-5s"`, "5m"}},
		{nil, []string{"--support-duration", "soon"}, []string{"support-duration", `"soon"`, "600ms"}},
	} {
		args := append([]string{"--data", data}, b.args...)
		if err := judge(start(t, b.env, args...), exitUsage, b.words...); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("the data directory of a node with wrong settings was touched: %v", err)
	}
	if err := judge(cluster.Run(t, nil, cluster.Build(t).KVD, "begin"), exitUsage, "begin"); err != nil {
		t.Error(err)
	}
}

// TestDirectories: a data directory that is not this node's, not this program's, or not free.
func TestDirectories(t *testing.T) {
	skipIfShort(t)
	c := cluster.Start(t, 1)
	c.WaitHealthy(t)
	c.MustCLI(t, "put", "k", "v")
	n := c.Nodes[0]
	inUse := start(t, nil, "--data", n.Data)
	if err := judge(inUse, exitError, n.Data, "in use", strconv.Itoa(n.PID()), "--data"); err != nil {
		t.Error(err)
	}
	taken := start(t, nil, "--data", t.TempDir(), "--listen", n.Address)
	if err := judge(taken, exitError, n.Address, "in use", "--listen"); err != nil {
		t.Error(err)
	}
	takenAdmin := start(t, nil, "--data", t.TempDir(), "--admin-listen", n.Admin)
	if err := judge(takenAdmin, exitError, n.Admin, "in use", "--admin-listen"); err != nil {
		t.Error(err)
	}
	plain := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := judge(start(t, nil, "--data", plain), exitUsage, plain, "--data"); err != nil {
		t.Error(err)
	}
	if got := c.MustCLI(t, "get", "k", "-o", "raw"); got != "v\n" {
		t.Errorf("the node that was disturbed answers %q", got)
	}
}

// TestOtherCluster: a node with the data of one cluster is told to join another one.
func TestOtherCluster(t *testing.T) {
	skipIfShort(t)
	c, other := cluster.Start(t, 1), cluster.Start(t, 1)
	c.WaitHealthy(t)
	c.MustCLI(t, "put", "k", "v")
	n := c.Nodes[0]
	if code := n.Stop(t); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, n.LogTail())
	}
	r := start(t, nil, "--data", n.Data, "--listen", n.Address, "--join", n.Address+","+other.Nodes[0].Address)
	if err := judge(r, exitDenied, n.Data, other.Nodes[0].Address, "cluster", "--join", "--data"); err != nil {
		t.Error(err)
	}
	n.Restart(t)
	if got := c.MustCLI(t, "get", "k", "-o", "raw"); got != "v\n" {
		t.Errorf("after the mistake the value is %q", got)
	}
}

// TestNewerFormats: every kind of file says its format, and a newer one is left alone.
func TestNewerFormats(t *testing.T) {
	skipIfShort(t)
	c := cluster.Start(t, 1)
	c.WaitHealthy(t)
	c.MustCLI(t, "put", "k", "v")
	n := c.Nodes[0]
	if code := n.Stop(t); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, n.LogTail())
	}
	log := newestSegment(t, n)
	for _, b := range []struct {
		path  string
		newer func([]byte)
		code  int
		words []string
	}{
		{n.File("store"), newerStore, exitDenied, []string{n.File("store"), "format 3", "up to 2", "newer kvd"}},
		{log, newerLog, exitDenied, []string{log, "format 2", "up to 1", "upgrade"}},
		{n.File("state", "KVD-FORMAT"), newerState, exitDenied, []string{n.File("state"), "version 3", "up to 2", "newer"}},
	} {
		good, err := os.ReadFile(b.path)
		if err != nil {
			t.Fatal(err)
		}
		bad := append([]byte{}, good...)
		b.newer(bad)
		write(t, b.path, bad)
		r := start(t, nil, "--data", n.Data, "--listen", n.Address)
		if err := judge(r, b.code, b.words...); err != nil {
			t.Error(err)
		}
		if now, err := os.ReadFile(b.path); err != nil || string(now) != string(bad) {
			t.Errorf("%s of a newer format was changed: %v", b.path, err)
		}
		write(t, b.path, good)
	}
	n.Restart(t)
	if got := c.MustCLI(t, "get", "k", "-o", "raw"); got != "v\n" {
		t.Errorf("with the good files back the value is %q", got)
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// newerStore makes the store file one of format 3: magic 8, format 4, ..., CRC32C of all before.
func newerStore(b []byte) {
	binary.BigEndian.PutUint32(b[8:], 3)
	end := len(b) - 4
	binary.BigEndian.PutUint32(b[end:], crc32.Checksum(b[:end], castagnoli))
}

// newerLog makes a segment one of format 2: magic 8, format 4, ..., CRC32C at 40.
func newerLog(b []byte) {
	binary.BigEndian.PutUint32(b[8:], 2)
	binary.BigEndian.PutUint32(b[40:], crc32.Checksum(b[:40], castagnoli))
}

// newerState makes the engine's format page one of format 3.
func newerState(b []byte) {
	binary.BigEndian.PutUint32(b[8:], 3)
	binary.BigEndian.PutUint32(b[12:], crc32.Checksum(b[:12], castagnoli))
}

// TestLostFiles: half a data directory is worse than none; the remedy is in the sentence.
func TestLostFiles(t *testing.T) {
	skipIfShort(t)
	c := cluster.Start(t, 1)
	c.WaitHealthy(t)
	n := c.Nodes[0]
	n.Kill(t)
	for _, b := range []struct {
		name   string
		spoil  func(path string) error
		words  []string
		repair func(from, to string) error
	}{
		{"store", os.Remove, []string{n.Data, "store", "empty directory", "new one"}, os.Rename},
		{"store", func(p string) error { return os.WriteFile(p, []byte("KVDSTORE and then nonsense"), 0o600) }, []string{"store", "damaged", "empty directory", "new node"}, os.Rename},
		{"log", os.RemoveAll, []string{n.Data, "log", "empty directory", "new node"}, os.Rename},
	} {
		path, aside := n.File(b.name), filepath.Join(c.Dir, "aside")
		if err := os.CopyFS(aside, os.DirFS(n.Data)); err != nil {
			t.Fatal(err)
		}
		if err := b.spoil(path); err != nil {
			t.Fatal(err)
		}
		if err := judge(start(t, nil, "--data", n.Data, "--listen", n.Address), exitError, b.words...); err != nil {
			t.Error(err)
		}
		n.Wipe(t)
		if err := b.repair(aside, n.Data); err != nil {
			t.Fatal(err)
		}
	}
	n.Restart(t)
	c.WaitHealthy(t)
}

// newestSegment is the segment of a log that was written to last.
func newestSegment(t *testing.T, n *cluster.Node) string {
	t.Helper()
	const header = 4096
	list, err := filepath.Glob(n.File("log", "0*.log"))
	if err != nil {
		t.Fatal(err)
	}
	newest := ""
	for _, path := range list { // sorted
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > header && strings.Trim(string(b[header:]), "\x00") != "" {
			newest = path
		}
	}
	if newest == "" {
		t.Fatalf("no segment with anything in it: %q", list)
	}
	return newest
}
