package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/api/v3/version"
	"go.etcd.io/etcd/server/v3/embed"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "etcdnode:", err)
		os.Exit(1)
	}
}

// member is what tells one member from another; all else is etcd's default.
type member struct {
	name, data, client, peer, cluster string
}

func run(args []string) error {
	var m member
	f := flag.NewFlagSet("etcdnode", flag.ContinueOnError)
	f.StringVar(&m.name, "name", "", "name of the member in -cluster")
	f.StringVar(&m.data, "data", "", "its directory")
	f.StringVar(&m.client, "client", "", "HOST:PORT for clients")
	f.StringVar(&m.peer, "peer", "", "HOST:PORT for the other members")
	f.StringVar(&m.cluster, "cluster", "", "NAME=http://HOST:PORT of every member's peer port, with commas between")
	if err := f.Parse(args); err != nil {
		return err
	}
	if m.name == "" || m.data == "" || m.client == "" || m.peer == "" || m.cluster == "" {
		return errors.New("all of -name, -data, -client, -peer and -cluster are needed")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return m.serve(ctx)
}

// serve runs the member until ctx ends.
func (m member) serve(ctx context.Context) error {
	e, err := embed.StartEtcd(m.config())
	if err != nil {
		return err
	}
	defer e.Close()
	select {
	case <-e.Server.ReadyNotify():
		fmt.Fprintf(os.Stderr, "ready client=%s version=%s\n", m.client, version.Version)
	case err := <-e.Err():
		return err
	case <-ctx.Done():
		return nil
	}
	select {
	case err := <-e.Err():
		return err
	case <-ctx.Done():
		return nil
	}
}

// config leaves everything at its default that decides about speed: fsync is on, heartbeats
// come every 100 ms, an election after 1 s.
func (m member) config() *embed.Config {
	c := embed.NewConfig()
	c.Name, c.Dir, c.InitialCluster = m.name, m.data, m.cluster
	client, peer := url.URL{Scheme: "http", Host: m.client}, url.URL{Scheme: "http", Host: m.peer}
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	c.LogLevel = "warn"
	return c
}
