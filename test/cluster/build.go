package cluster

import (
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Binaries are the programs under test.
type Binaries struct {
	Dir        string // holds both, under their own names
	KVD, KVCLI string
}

// BinariesVariable names a directory with ready-made binaries, to test those.
const BinariesVariable = "KVD_TEST_BINARIES"

// Build makes the binaries from the tree that the test was built from, once a process. Test
// processes share them: a second build finds that nothing is to be done.
func Build(t testing.TB) Binaries {
	t.Helper()
	b, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func binariesIn(dir string) Binaries {
	return Binaries{Dir: dir, KVD: filepath.Join(dir, "kvd"), KVCLI: filepath.Join(dir, "kvcli")}
}

var build = sync.OnceValues(func() (Binaries, error) {
	if dir := os.Getenv(BinariesVariable); dir != "" {
		return binariesIn(dir), nil
	}
	root, err := Root()
	if err != nil {
		return Binaries{}, err
	}
	name := fmt.Sprintf("kvd-test-%d-%08x", os.Getuid(), crc32.ChecksumIEEE([]byte(root+" "+buildTags)))
	dir := filepath.Join(os.TempDir(), name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Binaries{}, err
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return Binaries{}, err
	}
	defer unlock()
	cmd := exec.Command("go", "build", "-tags", buildTags, "-o", dir+string(filepath.Separator), "./cmd/kvd", "./cmd/kvcli")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return Binaries{}, fmt.Errorf("building kvd and kvcli: %w\n%s", err, out)
	}
	return binariesIn(dir), nil
})

// Root is the folder of the module.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// Environment is this process' environment without what kvd and kvcli would take for settings.
func Environment() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "KVD_") {
			env = append(env, e)
		}
	}
	return env
}
