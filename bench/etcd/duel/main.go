package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kvd-db/kvd/bench"
	"github.com/kvd-db/kvd/kv"
)

func main() {
	// Servers are started by this thread, which lives as long as the process: see childAttr.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "duel:", err)
		os.Exit(1)
	}
}

// parse reads the flags.
func parse(args []string) (settings, error) {
	var s settings
	var sides string
	f := flag.NewFlagSet("duel", flag.ContinueOnError)
	f.StringVar(&s.kvd, "kvd", "../../bin/kvd", "the kvd binary")
	f.StringVar(&s.etcdnode, "etcdnode", "", "the etcdnode binary (default: built by go build)")
	f.StringVar(&s.postgres, "postgres", "postgres", "the postgres binary, of PostgreSQL 15 or newer; without one that side is left out")
	f.StringVar(&s.dir, "dir", os.TempDir(), "where the data of all servers is put, in a directory of its own that is removed at the end")
	f.StringVar(&s.points, "points", "", "points or groups of them to measure, with commas between: "+groupSpeed+" (the default) is "+
		strings.Join(namesOf(groupSpeed), ",")+"; "+groupTransactions+" is "+strings.Join(namesOf(groupTransactions), ","))
	f.StringVar(&sides, "sides", "etcd,kvd,postgres", "sides that take part, as far as points need them")
	f.IntVar(&s.rounds, "rounds", 3, "rounds of each contender")
	f.Float64Var(&s.seconds, "seconds", 0, "measured part of a round, 10 by default; a quarter of it, 3 at most, is warm-up before it. With -idle: how long is looked on, 30 by default")
	f.IntVar(&s.keys, "keys", 100_000, "keys that are loaded")
	f.DurationVar(&s.rest, "rest", time.Second, "pause after a side was resumed")
	f.StringVar(&s.markdown, "markdown", "", "write the tables to `FILE`")
	f.BoolVar(&s.keep, "keep", false, "keep the directory with data and logs")
	f.IntVar(&s.failovers, "failover", 0, "instead: kill -9 of the node that leads, so many times, on each side")
	f.IntVar(&s.partitions, "partitions", 300, "with -failover: hash partitions of kvd")
	f.IntVar(&s.idle, "idle", 0, "instead: the cost of so many idle partitions")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	s.sides = splitList(sides)
	if s.seconds == 0 {
		s.seconds = 10
		if s.idle > 0 {
			s.seconds = 30
		}
	}
	return s, s.validate(f.Args())
}

func (s settings) validate(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("what is %q? there are only flags", rest[0])
	case s.rounds < 1 || s.rounds > bench.RoundsMax:
		return fmt.Errorf("-rounds is %d, it must lie in 1..%d", s.rounds, bench.RoundsMax)
	case s.seconds < 0.1:
		return fmt.Errorf("-seconds is %v, it must be 0.1 or more", s.seconds)
	case s.keys < 100:
		return fmt.Errorf("-keys is %d, it must be 100 or more", s.keys)
	case s.partitions < 1 || s.partitions > kv.HashPartitionsMax:
		return fmt.Errorf("-partitions is %d, it must lie in 1..%d", s.partitions, kv.HashPartitionsMax)
	case s.failovers > 0 && s.idle > 0:
		return errors.New("-failover and -idle are modes of their own: give one of them")
	case s.failovers < 0 || s.idle < 0:
		return errors.New("-failover and -idle must not be negative")
	}
	for _, side := range s.sides {
		if side != "etcd" && side != "kvd" && side != "postgres" {
			return fmt.Errorf("-sides: there is no side %q, only etcd, kvd and postgres", side)
		}
	}
	if len(s.sides) == 0 {
		return errors.New("-sides names no side: it is some of etcd, kvd and postgres")
	}
	return nil
}

// run does what the flags say.
func run(ctx context.Context, args []string, out io.Writer) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	chosen, err := s.partake(out)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(s.dir, "kvd-duel-")
	if err != nil {
		return err
	}
	if s.keep {
		fmt.Fprintf(out, "data and logs are kept in %s\n", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	s.dir = dir
	if err := s.binaries(ctx); err != nil {
		return err
	}
	about := s.about(ctx)
	fmt.Fprint(out, about)
	switch {
	case s.failovers > 0:
		return runFailover(ctx, s, about, out)
	case s.idle > 0:
		return runIdle(ctx, s, about, out)
	}
	return runDuel(ctx, s, about, chosen, out)
}

// partake leaves those sides that have something to do, and of them PostgreSQL only if it is there; the points
// are what they can measure.
func (s *settings) partake(out io.Writer) ([]point, error) {
	without := func(name string) []string {
		return slices.DeleteFunc(slices.Clone(s.sides), func(side string) bool { return side == name })
	}
	if s.failovers > 0 || s.idle > 0 {
		s.sides = without("postgres")
		return nil, nil
	}
	chosen, err := choose(s.points, s.sides)
	if err != nil {
		return nil, err
	}
	s.sides = s.needed(chosen)
	if !slices.Contains(s.sides, "postgres") {
		return chosen, nil
	}
	if s.postgres, err = exec.LookPath(s.postgres); err == nil {
		return chosen, nil
	}
	fmt.Fprintf(out, "postgres is left out: %v: install PostgreSQL 15 or newer, or name its server with -postgres\n", err)
	s.sides = without("postgres")
	return choose(s.points, s.sides)
}

func runDuel(ctx context.Context, s settings, about string, chosen []point, out io.Writer) error {
	d := &duel{settings: s, out: out}
	defer d.stop()
	for _, name := range s.needed(chosen) {
		started, err := startSide(ctx, s, name, out)
		if err != nil {
			return err
		}
		d.order = append(d.order, started)
	}
	all, err := d.run(ctx, chosen)
	if len(all) > 0 {
		d.writeEnd(all)
		err = errors.Join(err, writeFile(s.markdown, d.markdownText(about, all)))
	}
	return err
}

// needed are the sides that the points use.
func (s settings) needed(chosen []point) []string {
	var names []string
	for _, name := range s.sides {
		if slices.ContainsFunc(chosen, func(p point) bool {
			return slices.ContainsFunc(p.contenders, func(c contender) bool { return c.side == name })
		}) {
			names = append(names, name)
		}
	}
	return names
}

// startSide starts the processes of a side.
func startSide(ctx context.Context, s settings, name string, out io.Writer) (started side, err error) {
	defer func() {
		if err != nil {
			started, err = nil, fmt.Errorf("starting %s: %w", name, err)
		}
	}()
	switch name {
	case "kvd":
		k, err := startKvd(ctx, s.kvd, s.dir)
		if err != nil {
			return nil, err
		}
		for i, m := range k.members {
			fmt.Fprintf(out, "  node %d is process %d, listens on %s, http://%s/debug/pprof/\n", m.node, k.cluster.processes[i].pid(), m.address, m.admin)
		}
		return k, nil
	case "postgres":
		p, err := startPostgres(ctx, s.postgres, s.dir)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(out, "  postgres is process %d, listens on %s\n", p.cluster.processes[0].pid(), p.address)
		return p, nil
	}
	e, err := startEtcd(ctx, s.etcdnode, s.dir)
	if err != nil {
		return nil, err
	}
	for i, p := range e.cluster.processes {
		fmt.Fprintf(out, "  %s is process %d, listens on %s\n", p.name, p.pid(), e.endpoints[i])
	}
	return e, nil
}

// binaries checks that the servers' binaries are there, and builds etcdnode if none is named.
func (s *settings) binaries(ctx context.Context) error {
	var err error
	if slices.Contains(s.sides, "kvd") {
		if s.kvd, err = exec.LookPath(s.kvd); err != nil {
			return fmt.Errorf("the kvd binary: %w: build it with make build, or name it with -kvd", err)
		}
	}
	if !slices.Contains(s.sides, "etcd") {
		return nil
	}
	if s.etcdnode == "" {
		s.etcdnode = filepath.Join(s.dir, "etcdnode")
		c := exec.CommandContext(ctx, "go", "build", "-o", s.etcdnode, "github.com/kvd-db/kvd/bench/etcd/etcdnode")
		if talk, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("building etcdnode: %w: %s: run duel in bench/etcd, or name the binary with -etcdnode", err, strings.TrimSpace(string(talk)))
		}
	}
	if s.etcdnode, err = exec.LookPath(s.etcdnode); err != nil {
		return fmt.Errorf("the etcdnode binary: %w", err)
	}
	return nil
}

// about says what is measured, and where.
func (s settings) about(ctx context.Context) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %s; %s\n", time.Now().UTC().Format("2006-01-02 15:04 UTC"), machine(runtime.NumCPU()), runtime.Version())
	if slices.Contains(s.sides, "kvd") {
		version, err := exec.CommandContext(ctx, s.kvd, "version").Output()
		if err != nil {
			version = []byte(err.Error())
		}
		first, _, _ := strings.Cut(strings.TrimSpace(string(version)), "\n")
		fmt.Fprintf(&b, "kvd: %s\n", strings.TrimPrefix(first, "kvd "))
	}
	if slices.Contains(s.sides, "etcd") {
		fmt.Fprintf(&b, "etcd: %s\n", moduleVersions(s.etcdnode, "go.etcd.io/etcd/server/v3", "go.etcd.io/raft/v3", "go.etcd.io/bbolt", "google.golang.org/grpc"))
	}
	if slices.Contains(s.sides, "postgres") {
		version, err := exec.CommandContext(ctx, s.postgres, "--version").Output()
		if err != nil {
			version = []byte(err.Error())
		}
		fmt.Fprintf(&b, "postgres: %s\n", strings.TrimPrefix(strings.TrimSpace(string(version)), "postgres "))
	}
	return b.String()
}

// moduleVersions are those of modules that a binary was built with.
func moduleVersions(binary string, paths ...string) string {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err.Error()
	}
	var parts []string
	for _, m := range info.Deps {
		if slices.Contains(paths, m.Path) {
			parts = append(parts, m.Path+" "+m.Version)
		}
	}
	return strings.Join(parts, ", ")
}
