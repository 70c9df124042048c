package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/kvd-db/kvd/bench"
)

// etcdSide is three etcd processes and a client of them.
type etcdSide struct {
	cluster   cluster
	version   string
	endpoints []string // of the clients' ports, by member
	client    *clientv3.Client
	leader    *clientv3.Client // of the leader alone; nil until it is needed
}

// startEtcd forms a cluster in a directory.
func startEtcd(ctx context.Context, binary, dir string) (*etcdSide, error) {
	ports, err := freePorts(2 * nodes)
	if err != nil {
		return nil, err
	}
	s := &etcdSide{cluster: cluster{side: "etcd"}, endpoints: ports[:nodes]}
	var peers []string
	for i, peer := range ports[nodes:] {
		peers = append(peers, fmt.Sprintf("etcd%d=http://%s", i+1, peer))
	}
	for i := range nodes {
		name := fmt.Sprint("etcd", i+1)
		s.cluster.processes = append(s.cluster.processes, &process{
			name: name, path: binary, logPath: filepath.Join(dir, name+".log"),
			args: []string{
				"-name", name, "-data", filepath.Join(dir, name), "-client", ports[i], "-peer", ports[nodes+i],
				"-cluster", strings.Join(peers, ","),
			},
		})
	}
	if err := s.connect(ctx); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *etcdSide) connect(ctx context.Context) error {
	lines, err := s.cluster.start(ctx)
	if err != nil {
		return err
	}
	if _, after, ok := strings.Cut(lines[0], "version="); ok {
		s.version = after
	}
	s.client, err = openEtcd(s.endpoints)
	return err
}

func openEtcd(endpoints []string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
}

func (s *etcdSide) processes() *cluster { return &s.cluster }

func (s *etcdSide) target(string) bench.Target { return &etcdTarget{client: s.client} }

// pinned talks to the member that leads now.
func (s *etcdSide) pinned(ctx context.Context, _ string) (bench.Target, error) {
	ctx, cancel := context.WithTimeout(ctx, settleOpMax)
	defer cancel()
	i, err := s.leaderIndex(ctx)
	if err != nil {
		return nil, err
	}
	if s.leader == nil {
		if s.leader, err = openEtcd(s.endpoints[i : i+1]); err != nil {
			return nil, err
		}
	}
	s.leader.SetEndpoints(s.endpoints[i])
	return &etcdTarget{client: s.leader}, nil
}

func (s *etcdSide) makeSpace(context.Context, string, int) error { return nil }

func (s *etcdSide) leaders(ctx context.Context, _ string) string {
	ctx, cancel := context.WithTimeout(ctx, settleOpMax)
	defer cancel()
	i, err := s.leaderIndex(ctx)
	if err != nil {
		return fmt.Sprintf("unknown (%v)", err)
	}
	parts := []string{"0", "0", "0"}
	parts[i] = "1"
	return strings.Join(parts, "/")
}

// leaderIndex is the member that leads by its own word.
func (s *etcdSide) leaderIndex(ctx context.Context) (int, error) {
	var errs []error
	for i, e := range s.endpoints {
		r, err := s.client.Status(ctx, e)
		if err == nil && r.Leader != 0 && r.Leader == r.Header.MemberId {
			return i, nil
		}
		errs = append(errs, err)
	}
	return 0, fmt.Errorf("no member of etcd leads: %w", errors.Join(errs...))
}

func (s *etcdSide) stop() {
	for _, c := range []*clientv3.Client{s.client, s.leader} {
		if c != nil {
			_ = c.Close()
		}
	}
	s.cluster.stop()
}
