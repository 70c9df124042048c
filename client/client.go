package client

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/kvd-db/kvd/client/router"
	"github.com/kvd-db/kvd/kv"
)

// Client is the way into one keyspace of a cluster. It may be used by any number of
// goroutines.
type Client struct {
	keyspace string
	*shared
}

// shared is what all clients of one Open have in common.
type shared struct {
	router    *router.Router
	hooks     Hooks
	unsettled unsettled
	settled   settled
	hot       hot
	closing   sync.Once
	closed    atomic.Bool
}

// Open connects to the cluster that one of the target's nodes belongs to. A target is
// "h1:7400,h2:7400" or "kvd://h1:7400,h2:7400/keyspace?tls=system"; without a name the
// keyspace is "default". It is no error if that keyspace does not exist yet.
func Open(ctx context.Context, target string, opts ...Option) (*Client, error) {
	t, err := parseTarget(target)
	if err != nil {
		return nil, typed(err)
	}
	s := settings{tls: t.tls}
	for _, o := range opts {
		o(&s)
	}
	config := router.Config{Seeds: t.seeds, TLS: s.tls, Log: s.log, Locality: s.locality}
	s.hooks.configure(&config)
	c := &Client{keyspace: t.keyspace, shared: &shared{router: router.New(config), hooks: s.hooks}}
	if err := c.router.Refresh(ctx, t.keyspace); err != nil && err.Kind != kv.NotFound {
		c.close()
		return nil, typed(err)
	}
	return c, nil
}

// In is the same client looking at another keyspace. It is cheap; connections and the map
// are shared, and Close closes both.
func (c *Client) In(keyspace string) *Client { return &Client{keyspace: keyspace, shared: c.shared} }

// Keyspace is the name of the keyspace that the client looks at.
func (c *Client) Keyspace() string { return c.keyspace }

// Close ends all calls under way and closes all connections. It may be called twice.
func (c *Client) Close() error {
	c.close()
	return nil
}

func (c *Client) close() {
	// A router's Close has no error: what cannot be closed is closed already.
	c.closed.Store(true)
	c.closing.Do(func() { _ = c.router.Close() })
}

// changed reports whether the keyspace of a call that was answered with NotFound has since
// been dropped and made again: then the call may be made once more.
func (c *Client) changed(ctx context.Context, was kv.Keyspace, err *kv.Error) bool {
	if err == nil || err.Kind != kv.NotFound || c.router.Refresh(ctx, c.keyspace) != nil {
		return false
	}
	now, bad := c.router.Keyspace(ctx, c.keyspace)
	return bad == nil && now.ID != was.ID
}

// checkKey refuses what no node would take.
func checkKey(key []byte) *kv.Error {
	switch {
	case len(key) == 0:
		return kv.Errorf(kv.Invalid, "a key must have at least one byte")
	case len(key) > kv.KeyBytesMax:
		return kv.LimitError("key bytes", kv.KeyBytesMax, int64(len(key)), "use a shorter key")
	}
	return nil
}
