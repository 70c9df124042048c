package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kvd-db/kvd/bench"
	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// openMax bounds the first connection to a cluster.
const openMax = 30 * time.Second

// kvdSide is three kvd processes and a client of them.
type kvdSide struct {
	cluster cluster
	members []kvdMember
	client  *client.Client
}

// kvdMember is what one process said when it was ready.
type kvdMember struct {
	address, admin string
	node           kv.NodeID
}

// startKvd forms a cluster in a directory.
func startKvd(ctx context.Context, binary, dir string) (*kvdSide, error) {
	ports, err := freePorts(nodes)
	if err != nil {
		return nil, err
	}
	s := &kvdSide{cluster: cluster{side: "kvd"}, members: make([]kvdMember, nodes)}
	for i, address := range ports {
		name := fmt.Sprint("kvd", i+1)
		s.cluster.processes = append(s.cluster.processes, &process{
			name: name, path: binary, logPath: filepath.Join(dir, name+".log"),
			args: []string{
				"start", "--data", filepath.Join(dir, name), "--listen", address,
				"--admin-listen", "127.0.0.1:0", "--join", strings.Join(ports, ","), "--log-level", "warn",
			},
		})
	}
	if err := s.connect(ctx, ports); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *kvdSide) connect(ctx context.Context, ports []string) error {
	lines, err := s.cluster.start(ctx)
	if err != nil {
		return err
	}
	for i, line := range lines {
		if s.members[i], err = parseReady(line); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, openMax)
	defer cancel()
	s.client, err = client.Open(ctx, strings.Join(ports, ","), client.WithLogger(slog.New(slog.DiscardHandler)))
	return err
}

// parseReady reads the line by which kvd says that it serves.
func parseReady(line string) (kvdMember, error) {
	var m kvdMember
	if _, err := fmt.Sscanf(line, "ready listen=%s admin=%s node=%d", &m.address, &m.admin, &m.node); err != nil {
		return m, fmt.Errorf("kvd is ready with %q, which cannot be read: %w", line, err)
	}
	return m, nil
}

func (s *kvdSide) processes() *cluster { return &s.cluster }

func (s *kvdSide) target(space string) bench.Target {
	t := &kvdTarget{client: s.client.In(space)}
	if n := bucketsOf(space); n > 0 {
		return &kvdHashTarget{kvdTarget: t, buckets: n}
	}
	return t
}

// pinned needs nothing more: the client asks the leader, and a space with one partition has one.
func (s *kvdSide) pinned(_ context.Context, space string) (bench.Target, error) {
	return s.target(space), nil
}

func (s *kvdSide) makeSpace(ctx context.Context, space string, keys int) error {
	scheme, err := schemeOf(space, keys)
	if err != nil {
		return err
	}
	return s.client.Admin().CreateKeyspace(ctx, space, scheme)
}

func (s *kvdSide) leaders(ctx context.Context, space string) string {
	ctx, cancel := context.WithTimeout(ctx, settleOpMax)
	defer cancel()
	count, err := s.leaderCounts(ctx, space)
	if err != nil {
		return fmt.Sprintf("unknown (%v)", err)
	}
	parts := make([]string, len(s.members))
	for i, m := range s.members {
		parts[i] = fmt.Sprint(count[m.node])
	}
	return strings.Join(parts, "/")
}

// leaderCounts is how many partitions of a space each node leads.
func (s *kvdSide) leaderCounts(ctx context.Context, space string) (map[kv.NodeID]int, error) {
	partitions, err := s.client.In(space).Admin().Partitions(ctx)
	if err != nil {
		return nil, err
	}
	count := map[kv.NodeID]int{}
	for _, p := range partitions {
		count[p.Leader]++
	}
	return count, nil
}

// memberOf is the index of a node.
func (s *kvdSide) memberOf(node kv.NodeID) int {
	return slices.IndexFunc(s.members, func(m kvdMember) bool { return m.node == node })
}

func (s *kvdSide) stop() {
	if s.client != nil {
		_ = s.client.Close()
	}
	s.cluster.stop()
}
