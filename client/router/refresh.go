package router

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/connectivity"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/wire"
)

// How long one node is asked for the map.
const refreshTryMax = time.Second

// refresh is one question for the map that is under way; all who need it wait for it.
type refresh struct {
	done chan struct{}
	err  *kv.Error // valid after done
}

// startRefresh asks for the topology of a keyspace ("" = all), or joins who already does.
func (r *Router) startRefresh(keyspace string) *refresh {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.refreshes[keyspace]; f != nil {
		return f
	}
	f := &refresh{done: make(chan struct{})}
	if r.closed {
		f.err = errClosed()
		close(f.done)
		return f
	}
	r.refreshes[keyspace] = f
	r.running.Go(func() {
		t, err := r.askTopology(r.stop, keyspace)
		r.mu.Lock()
		switch {
		case err == nil:
			r.note(t.Heard)
			r.session.Learn(keyspace, t)
		case err.Kind == kv.NotFound:
			r.session.Map.Forget(keyspace)
		}
		f.err = err
		delete(r.refreshes, keyspace)
		close(f.done)
		r.mu.Unlock()
		if err == nil && r.config.OnTopology != nil {
			r.config.OnTopology(Change{Kind: "map"})
		}
	})
	return f
}

// askTopology asks all known nodes in turn, until one answers: first for the core's own
// answer, then for what the node itself believes.
func (r *Router) askTopology(ctx context.Context, keyspace string) (*kv.Topology, *kv.Error) {
	last := errNobody()
	for _, local := range []bool{false, true} {
		for _, address := range r.addresses() {
			try, cancel := context.WithTimeout(ctx, refreshTryMax)
			a, err := r.adminAt(try, address, &kv.AdminRequest{Topology: &kv.TopologyQuery{Keyspace: keyspace, Local: local}})
			cancel()
			switch {
			case ctx.Err() != nil:
				return nil, errClosed()
			case err == nil:
				return a.Topology, nil
			case err.Kind == kv.NotFound && !local, err.Kind == kv.Denied:
				return nil, err
			}
			last = err
		}
	}
	return nil, kv.Errorf(kv.Unavailable, "no node tells where the keys are: %s", last.Error())
}

// addresses is every node that may answer, in an order of chance; the local one first.
func (r *Router) addresses() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	seen := map[string]bool{}
	add := func(address string) {
		if address != "" && !seen[address] {
			seen[address] = true
			all = append(all, address)
		}
	}
	for _, n := range r.session.Map.Nodes() {
		if !n.Replaced {
			add(n.Address)
		}
	}
	for _, s := range r.config.Seeds {
		add(s)
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if r.config.Local != nil {
		all = append([]string{r.config.Local.Info().Address}, all...)
	}
	return all
}

// adminAt asks one node, once. Unavailable means that nothing was done there; an answer
// that was lost is Ambiguous.
func (r *Router) adminAt(ctx context.Context, address string, q *kv.AdminRequest) (*kv.AdminResponse, *kv.Error) {
	if local := r.config.Local; local != nil && local.Info().Address == address {
		a, err := local.Admin(ctx, q)
		return a, kv.AsError(err)
	}
	l, bad := r.link(lane{address: address})
	if bad != nil {
		return nil, bad
	}
	if !l.connect(ctx) {
		return nil, notConnected(address, nil)
	}
	a, err := wire.CallAdmin(ctx, l.admin, q)
	if err == nil {
		return a, nil
	}
	e := wire.FromStatus(err)
	if e.Kind == kv.Unavailable && !wire.Answered(err) {
		e.Kind = kv.Ambiguous
	}
	return nil, e
}

// connect waits for a connection that is ready; false if there is none soon.
func (l *link) connect(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, connectMax)
	defer cancel()
	for {
		state := l.conn.GetState()
		switch state {
		case connectivity.Ready:
			return true
		case connectivity.Idle:
			l.conn.Connect()
		case connectivity.TransientFailure, connectivity.Shutdown:
			return false
		}
		if !l.conn.WaitForStateChange(ctx, state) {
			return false
		}
	}
}
