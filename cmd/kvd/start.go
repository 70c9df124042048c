package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/kvd-db/kvd/host"
	"github.com/kvd-db/kvd/host/door"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/server"
)

const startLong = `start runs one node until it is told to stop by SIGTERM or SIGINT: then it hands over what it
leads and stops. A second signal stops it at once.

At the first start of a whole list (--join A,B,C on all of them) the nodes form a cluster, once
all have answered and all are empty. A node that finds a cluster joins it. The same list can be
given at every start. Without --join the node is a cluster of its own.

Settings come from flags, over KVD_* variables (KVD_ADMIN_LISTEN for --admin-listen), over the
file of --config, over the defaults.`

func newStart() *cobra.Command {
	c := &cobra.Command{
		Use:   "start",
		Short: "Run one node",
		Long:  startLong,
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := loadLayers(c.Flags(), os.Environ())
			if err != nil {
				return err
			}
			cfg, err := l.build()
			if err != nil {
				return err
			}
			return start(cfg, c.ErrOrStderr())
		},
	}
	addSettings(c.Flags())
	return c
}

// start runs a node until a signal.
func start(cfg *config, stderr io.Writer) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)
	tuneMemory(cfg)
	log := newLogger(cfg, stderr)
	var doors *server.Server
	cfg.host.Log, cfg.host.Admin = log, askAdmin
	cfg.host.Doors = func(r grpc.ServiceRegistrar, h *host.Host) door.Plain {
		doors = server.Register(r, backend{h}, server.Options{Log: newSlog(log.Named("doors")), Dev: cfg.dev})
		return doors.Plain()
	}
	h, err := host.Open(cfg.host)
	if err != nil {
		return err
	}
	n := &process{host: h, signals: signals, stderr: stderr, closeDoors: func() {
		if doors != nil {
			_ = doors.Close() // it never fails
		}
	}}
	return n.run()
}

// tuneMemory sets the collector. The variables of the Go runtime, if set, win.
func tuneMemory(cfg *config) {
	if os.Getenv("GOGC") == "" && cfg.gcPercent > 0 {
		debug.SetGCPercent(cfg.gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" && cfg.memoryLimit > 0 {
		debug.SetMemoryLimit(cfg.memoryLimit)
	}
}

// process is the life of a node in this process.
type process struct {
	host       *host.Host
	signals    <-chan os.Signal
	stderr     io.Writer
	closeDoors func()
}

func (p *process) run() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	started := make(chan error, 1)
	go func() {
		err := p.host.Start(ctx)
		if err == nil {
			p.awaitCluster(ctx)
		}
		started <- err
	}()
	select {
	case err := <-started:
		if err != nil {
			_ = p.close() // what kept it from starting is the news
			return err
		}
		fmt.Fprintf(p.stderr, "ready listen=%s admin=%s node=%d\n", p.host.Address(), p.host.AdminAddress(), p.host.Info().ID)
		return p.serve()
	case <-p.host.Failed():
		return p.die()
	case <-p.signals:
		cancel()
		p.stopAtSignal()
		<-started
		_ = p.close()
		return kv.Errorf(kv.Canceled, "stopped before the node was ready")
	}
}

// clusterPatience is how long a started node waits for the cluster before it says that it is
// ready all the same: it can be asked what is wrong.
const clusterPatience = 10 * time.Second

// awaitCluster waits until the oracle has answered this node: then the cluster is formed and
// takes commands.
func (p *process) awaitCluster(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, clusterPatience)
	defer cancel()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for !p.host.Answered() {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// serve waits for the end.
func (p *process) serve() error {
	select {
	case <-p.host.Failed():
		return p.die()
	case <-p.signals:
	}
	p.stopAtSignal()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		p.host.Drain(context.Background())
	}()
	select {
	case <-drained:
		return p.close()
	case <-p.host.Failed():
		return p.die()
	}
}

func (p *process) close() error {
	p.closeDoors()
	err := p.host.Close()
	select {
	case <-p.host.Failed():
		return p.host.Failure()
	default:
		return err
	}
}

// stopAtSignal lets a second signal end the process at once.
func (p *process) stopAtSignal() {
	go func() {
		<-p.signals
		fmt.Fprintln(p.stderr, "kvd: stopped at once by a second signal")
		os.Exit(exitInterrupted)
	}()
}

// die ends the process: after a failed sync nothing may touch the disk any more.
func (p *process) die() error {
	fmt.Fprintln(p.stderr, "kvd:", sentence(p.host.Failure()))
	os.Exit(exitError)
	return nil
}
