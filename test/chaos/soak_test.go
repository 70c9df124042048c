package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kvd-db/kvd/test/cluster"
)

const (
	// soakVariable says for how long the soaks run.
	soakVariable = "KVD_SOAK"
	// seedVariable has a soak make the same choices again. Processes and the clock do not repeat
	// themselves, so that much the same happens, not the same.
	seedVariable = "KVD_SOAK_SEED"
	// soakShort is for how long the soak of transactions runs if nobody says.
	soakShort = 25 * time.Second
)

// soakTime is what soakVariable says; 0: nothing.
func soakTime(t *testing.T) time.Duration {
	text := os.Getenv(soakVariable)
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", soakVariable, err)
	}
	return d
}

func soakSeed(t *testing.T) uint64 {
	text := os.Getenv(seedVariable)
	if text == "" {
		return rand.Uint64()
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", seedVariable, err)
	}
	return seed
}

// soakNodes is a cluster behind proxies. A node counts as dead soon, so that wiped ones are replaced.
func soakNodes(t *testing.T) *cluster.Cluster {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	c := cluster.NewBehindProxies(t, 3, "--dead-after", "6s")
	c.Restart(t)
	return c
}

func newSoak(t *testing.T, c *cluster.Cluster, seed uint64, load work) *soak {
	s := &soak{t: t, cluster: c, load: load, rng: rand.New(rand.NewPCG(seed, 0)), began: time.Now(), counts: map[string]int{}}
	t.Logf("%s=%d", seedVariable, seed)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("failed with %s=%d after these faults:\n%s\nthe nodes' logs are in %s", seedVariable, seed, strings.Join(s.schedule, "\n"), c.KeepLogs(t))
		}
	})
	return s
}

// TestSoak runs transactions over several partitions while nodes are killed and paused and the network
// between them is cut: their histories must be strictly serializable, and all outcomes true.
func TestSoak(t *testing.T) {
	d, seed := soakTime(t), soakSeed(t)
	if d == 0 {
		d = soakShort
	}
	c := soakNodes(t)
	load := StartTransactions(t, c, seed)
	s := newSoak(t, c, seed, load)
	load.Await(some)
	s.run(d, processFaults, networkFaults)
	load.Verify()
	t.Log("faults: " + strings.TrimPrefix(fmt.Sprint(s.counts), "map"))
}

// TestSoakWrites is the same for single writes; it runs only if a time is given.
func TestSoakWrites(t *testing.T) {
	d, seed := soakTime(t), soakSeed(t)
	if d == 0 {
		t.Skipf("it runs for as long as %s says, such as 10m", soakVariable)
	}
	c := soakNodes(t)
	load := StartLoad(t, c)
	s := newSoak(t, c, seed, load)
	load.Await(some)
	s.run(d, processFaults, networkFaults)
	load.Verify()
	t.Log("faults: " + strings.TrimPrefix(fmt.Sprint(s.counts), "map"))
}
