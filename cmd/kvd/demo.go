package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvd-db/kvd/kv"
)

const demoLong = `demo starts a cluster of real processes in a temporary directory, imports the source tree of
the Go toolchain into it (every file is one key), kills the node that leads most partitions with
SIGKILL in the middle of that, restarts it, and then reads every key back and compares every
byte. It stays up for you to play with until Ctrl-C, unless --once is given.`

// demoOptions are the flags of kvd demo.
type demoOptions struct {
	nodes  int
	once   bool
	source string
}

func newDemo() *cobra.Command {
	var o demoOptions
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show a cluster that loses a node in the middle of its work",
		Long:  demoLong,
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.nodes < 3 || o.nodes > 9 {
				return kv.Errorf(kv.Invalid, "--nodes %d: a demo that survives the loss of one node takes 3 to 9", o.nodes)
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return runDemo(ctx, o, c.OutOrStdout())
		},
	}
	c.Flags().IntVar(&o.nodes, "nodes", 3, "`N`: nodes of the cluster")
	c.Flags().BoolVar(&o.once, "once", false, "stop when everything was shown")
	c.Flags().StringVar(&o.source, "from-dir", "", "`DIR`: import this tree instead of Go's own sources")
	c.SetContext(context.Background())
	return c
}

// demo is one run of kvd demo.
type demo struct {
	demoOptions
	out     io.Writer
	dir     string
	tools   demoTools
	cluster *demoCluster
	files   int // in the source tree
	begun   time.Time
}

// demoTools are the programs that the demo runs.
type demoTools struct{ kvd, kvcli string }

// runDemo shows everything. The directory is removed unless something went wrong.
func runDemo(ctx context.Context, o demoOptions, out io.Writer) error {
	d := &demo{demoOptions: o, out: out, begun: time.Now()}
	var err error
	if d.tools, err = findTools(); err != nil {
		return err
	}
	if d.source == "" {
		if d.source, err = goSources(ctx); err != nil {
			return err
		}
	}
	if d.dir, err = os.MkdirTemp("", "kvd-demo-"); err != nil {
		return err
	}
	d.cluster = &demoCluster{kvd: d.tools.kvd, dir: d.dir}
	err = d.show(ctx)
	d.cluster.stop()
	if ctx.Err() != nil {
		err = nil // Ctrl-C is how one leaves
	}
	if err != nil {
		return kv.Errorf(kv.KindOf(err), "%s; logs and data are in %s", sentence(err), d.dir)
	}
	return os.RemoveAll(d.dir)
}

// show runs the steps of the demo.
func (d *demo) show(ctx context.Context) error {
	for _, step := range []func(context.Context) error{d.start, d.keyspaces, d.importUnderFire, d.compare, d.check} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	d.say("done in %s", time.Since(d.begun).Round(100*time.Millisecond))
	if d.once {
		return nil
	}
	d.invite()
	<-ctx.Done()
	d.say("stopping")
	return nil
}

// say prints one line of the story.
func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "%6.1fs  %s\n", time.Since(d.begun).Seconds(), fmt.Sprintf(format, args...))
}

func (d *demo) start(ctx context.Context) error {
	if err := d.cluster.start(ctx, d.nodes); err != nil {
		return err
	}
	for _, n := range d.cluster.nodes {
		d.say("node %d is process %d, at %s", n.id, n.pid(), n.address)
	}
	return nil
}

func (d *demo) keyspaces(ctx context.Context) error {
	if _, err := d.kvcli(ctx, "keyspace", "create", "files", "--scheme", "hash", "--partitions", "8"); err != nil {
		return err
	}
	if _, err := d.kvcli(ctx, "keyspace", "create", "names", "--scheme", "range", "--split-at", "g,n,t"); err != nil {
		return err
	}
	d.say("made keyspace files (8 hash partitions) and keyspace names (4 ranges), each partition on 3 nodes")
	return nil
}

// kvcli runs one command against the cluster and returns what it prints.
func (d *demo) kvcli(ctx context.Context, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, d.tools.kvcli, append([]string{"--target", d.cluster.targets(), "-o", "json"}, args...)...)
	var talk strings.Builder
	c.Stderr = &talk
	out, err := c.Output()
	if err != nil {
		return out, kv.Errorf(kv.Internal, "kvcli %s: %v: %s", strings.Join(args, " "), err, strings.TrimSpace(talk.String()))
	}
	for line := range strings.Lines(talk.String()) {
		d.say("  %s", strings.TrimSpace(line)) // files that were skipped
	}
	return out, nil
}

// invite says what to try next.
func (d *demo) invite() {
	fmt.Fprintf(d.out, `
The cluster stays up until Ctrl-C. In another terminal:

  export KVD_TARGET=%s
  %[2]s                                      # a prompt
  %[2]s status
  %[2]s partitions
  %[2]s --keyspace files get net/http/server.go -o raw | head
  %[2]s --keyspace files scan net/http/ --keys-only --limit 10
  %[2]s put hello world
  %[2]s bench run --workload ycsb-a --workers 16 --duration 10s

Or kill a node, and look what happens: kill -9 %[3]d
Logs and data: %[4]s
`, d.cluster.targets(), d.tools.kvcli, d.cluster.nodes[0].pid(), d.dir)
}

// findTools finds kvd and, beside it, kvcli.
func findTools() (demoTools, error) {
	self, err := os.Executable()
	if err != nil {
		return demoTools{}, err
	}
	beside := filepath.Join(filepath.Dir(self), "kvcli")
	if _, err := os.Stat(beside); err == nil {
		return demoTools{kvd: self, kvcli: beside}, nil
	}
	inPath, err := exec.LookPath("kvcli")
	if err != nil {
		return demoTools{}, kv.Errorf(kv.NotFound, "there is no kvcli beside %s nor in PATH: build both with make build", self)
	}
	return demoTools{kvd: self, kvcli: inPath}, nil
}

// goSources is where the Go toolchain keeps its own sources.
func goSources(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", kv.Errorf(kv.NotFound, "go env GOROOT: %v: install Go, or name a tree with --from-dir", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "src"), nil
}

// countFiles is the number of keys that an import of the tree makes.
func countFiles(dir string) (n int, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			n++
		}
		return err
	})
	if err == nil && n == 0 {
		err = errors.New("it holds no file")
	}
	if err != nil {
		return 0, kv.Errorf(kv.Invalid, "the tree %s: %v", dir, err)
	}
	return n, nil
}
