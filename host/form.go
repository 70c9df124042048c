package host

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/peerpb"
)

// Times of a first start.
const (
	askTimeout   = time.Second
	askEvery     = 150 * time.Millisecond
	formSayEvery = 5 * time.Second
	joinTimeout  = 5 * time.Second
)

// former finds out, at a first start, which cluster this node belongs to.
//
//	everybody listed in --join is asked: who are you?
//	  one is a member already ──► this node asks to join, and comes as a new one
//	  all have answered, and all are empty:
//	     the one with the smallest address founds the cluster: draws its id, numbers the
//	     nodes by address, writes that down, tells the others until each has acknowledged,
//	     and only then is a member itself
//	     the others wait to be told, and accept it if the founders are those that they know
//
// The founder's notes survive its crash, so the same cluster is founded in the end. Every step is
// idempotent by the nonces of the stores.
type former struct {
	dir      *directory
	join     []string
	address  string
	locality string
	dial     func(address string) (formConn, error)
	admin    AdminCall
	log      hclog.Logger

	mu    sync.Mutex
	heard map[string]uint64 // by address in --join: the nonce of who answered last
	said  time.Time
}

// introduction is what a node says of itself.
type introduction = peerpb.Introduction

// formConn is a connection for the calls of a first start.
type formConn interface {
	Hello(context.Context, *peerpb.HelloRequest) (*peerpb.HelloReply, error)
	Form(context.Context, *peerpb.FormRequest) (*peerpb.FormReply, error)
	Close() error
}

// run returns once the store belongs to a cluster.
func (f *former) run(ctx context.Context) error {
	for {
		if s := f.dir.current(); s.isMember() {
			return nil
		}
		if err := f.step(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return kv.Errorf(kv.Canceled, "stopped before the cluster was formed")
		case <-time.After(askEvery):
		}
	}
}

// step asks everybody and does what the answers allow.
func (f *former) step(ctx context.Context) error {
	answers, missing := f.ask(ctx)
	s := f.dir.current()
	if s.isMember() {
		return nil
	}
	for _, a := range answers {
		if a.GetSupportNanos() != int64(s.Support) {
			return kv.Errorf(kv.Denied, "the node at %s has a support duration of %s, this one has %s: it is a constant of the cluster, configure the same on all nodes",
				a.GetAddress(), time.Duration(a.GetSupportNanos()), s.Support)
		}
		if a.GetProtocol() != PeerProtocol {
			return kv.Errorf(kv.Invalid, "the node at %s speaks version %d of the protocol between nodes, this one speaks %d: run the same version of kvd on both", a.GetAddress(), a.GetProtocol(), PeerProtocol)
		}
	}
	if s.forming() {
		return f.tellFounders(ctx, s)
	}
	if m := member(answers); m != nil {
		if m.GetState() == peerpb.StoreState_STORE_UNSPECIFIED {
			f.say("a cluster that this node helps to found is being formed: waiting to be told")
			return nil
		}
		return f.joinThrough(ctx, m.GetAddress())
	}
	if len(missing) > 0 {
		f.say("waiting for all nodes of --join to answer; missing: " + strings.Join(missing, ", "))
		return nil
	}
	return f.found(answers)
}

// ask asks all nodes of --join at once. answers has each node once.
func (f *former) ask(ctx context.Context) (answers []*introduction, missing []string) {
	heard := f.hello(ctx)
	seen := map[uint64]bool{}
	for i, a := range f.join {
		switch in := heard[i]; {
		case in == nil:
			missing = append(missing, a)
		case !seen[in.GetNonce()]:
			seen[in.GetNonce()] = true
			answers = append(answers, in)
		}
	}
	return answers, missing
}

// hello asks who is at each address of --join; nil where nobody answers.
func (f *former) hello(ctx context.Context) []*introduction {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	out := make([]*introduction, len(f.join))
	var group sync.WaitGroup
	for i, a := range f.join {
		group.Go(func() {
			_ = f.with(a, func(c formConn) error {
				r, err := c.Hello(ctx, &peerpb.HelloRequest{From: f.introduce(nil)})
				if err == nil {
					out[i] = r.GetFrom()
				}
				return err
			})
		})
	}
	group.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard = map[string]uint64{}
	for i, a := range f.join {
		if out[i] != nil {
			f.heard[a] = out[i].GetNonce()
		}
	}
	return out
}

func (f *former) with(address string, call func(formConn) error) error {
	c, err := f.dial(address)
	if err != nil {
		return err
	}
	defer c.Close()
	return call(c)
}

// member is one of those that belong to a cluster, nil if there is none.
func member(answers []*introduction) *introduction {
	var m *introduction
	for _, a := range answers {
		if a.GetClusterId() != 0 && (m == nil || a.GetState() == peerpb.StoreState_STORE_UNSPECIFIED) {
			m = a
		}
	}
	return m
}

// found begins the founding if that is this node's task.
func (f *former) found(answers []*introduction) error {
	slices.SortFunc(answers, func(a, b *introduction) int { return cmp.Compare(a.GetAddress(), b.GetAddress()) })
	s := f.dir.current()
	switch {
	case !slices.ContainsFunc(answers, func(a *introduction) bool { return a.GetNonce() == s.Nonce }):
		f.say("the nodes of --join are empty, and this one is not among them: waiting until they are a cluster")
		return nil
	case answers[0].GetNonce() != s.Nonce:
		f.say("all nodes have answered: waiting for the one at " + answers[0].GetAddress() + " to found the cluster")
		return nil
	}
	for i := 1; i < len(answers); i++ {
		if answers[i].GetAddress() == answers[i-1].GetAddress() {
			return kv.Errorf(kv.Invalid, "two nodes call themselves %s: give each a --listen (or --advertise) address under which the others reach it", answers[i].GetAddress())
		}
	}
	cluster := drawID()
	return f.dir.update(func(s *Store) {
		s.Cluster = cluster
		for i, a := range answers {
			s.Founders = append(s.Founders, kv.NodeInfo{
				ID: kv.NodeID(i + 1), Address: a.GetAddress(), Locality: a.GetLocality(), Nonce: a.GetNonce(), Core: i < coreVoters(len(answers)),
			})
		}
	})
}

// coreVoters is how many of n founders hold the system partition: an odd number, 5 at most.
func coreVoters(n int) int {
	const coreVotersMax = 5
	n = min(n, coreVotersMax)
	return n - (n+1)%2
}

// tellFounders tells each founder that it is one, and makes this node a member once all know.
func (f *former) tellFounders(ctx context.Context, s *Store) error {
	for _, n := range s.Founders {
		if n.Nonce == s.Nonce {
			continue
		}
		if err := f.tell(ctx, s, n.Address); err != nil {
			f.say(fmt.Sprintf("founding the cluster: the node at %s does not agree yet: %v", n.Address, err))
			return nil
		}
	}
	return f.dir.update(func(s *Store) { s.become(s.Cluster, s.Founders) })
}

// tell sends a node the founders.
func (f *former) tell(ctx context.Context, s *Store, address string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req := &peerpb.FormRequest{ClusterId: s.Cluster}
	for _, n := range s.Founders {
		req.Founders = append(req.Founders, &peerpb.Founder{NodeId: uint64(n.ID), Address: n.Address, Nonce: n.Nonce, Locality: n.Locality})
	}
	return f.with(address, func(c formConn) error {
		r, err := c.Form(ctx, req)
		if err == nil && r.GetRefused() != "" {
			err = kv.Errorf(kv.Denied, "%s", r.GetRefused())
		}
		return err
	})
}

// become makes the store that of the founder with its nonce.
func (s *Store) become(cluster uint64, founders []kv.NodeInfo) {
	for _, n := range founders {
		if n.Nonce == s.Nonce {
			s.Cluster, s.Node, s.Founders, s.Peers = cluster, n.ID, founders, founders
		}
	}
}

// joinThrough asks a member to be taken into its cluster.
func (f *former) joinThrough(ctx context.Context, address string) error {
	a, err := f.register(ctx, address)
	if err != nil {
		f.say(fmt.Sprintf("joining the cluster through %s: %v", address, err))
		return nil
	}
	if a.Node == 0 || a.ClusterID == 0 {
		return kv.Errorf(kv.Internal, "the node at %s took this node in without giving it a number: report this", address)
	}
	return f.dir.update(func(s *Store) { s.Cluster, s.Node, s.Peers = a.ClusterID, a.Node, a.Nodes })
}

// register tells the cluster, through a member, the address of this node. One that it does not
// know gets a number.
func (f *former) register(ctx context.Context, through string) (*kv.JoinAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	if f.admin == nil {
		return nil, kv.Errorf(kv.Unavailable, "this node was made without a way to call the cluster's door for administrators")
	}
	a, err := f.admin(ctx, through, &kv.AdminRequest{Join: &kv.JoinCluster{Address: f.address, Locality: f.locality, Nonce: f.dir.current().Nonce}})
	if err != nil {
		return nil, err
	}
	if a.Join == nil {
		return nil, kv.Errorf(kv.Internal, "the node at %s answers a question that was not asked", through)
	}
	return a.Join, nil
}

// say tells the operator what is waited for, but not all the time.
func (f *former) say(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.said) >= formSayEvery {
		f.said = time.Now()
		f.log.Info(what)
	}
}
