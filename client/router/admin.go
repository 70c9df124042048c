package router

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// Keyspace is the keyspace of a name. An unknown one is asked for.
func (r *Router) Keyspace(ctx context.Context, name string) (kv.Keyspace, *kv.Error) {
	r.mu.Lock()
	k, ok := r.session.Map.Keyspace(name)
	r.mu.Unlock()
	if ok {
		return k, nil
	}
	if name == "" {
		return kv.Keyspace{}, kv.Errorf(kv.Invalid, "a keyspace must have a name")
	}
	err := r.Refresh(ctx, name)
	r.mu.Lock()
	k, ok = r.session.Map.Keyspace(name)
	r.mu.Unlock()
	switch {
	case ok:
		return k, nil
	case err != nil:
		return kv.Keyspace{}, err
	}
	return kv.Keyspace{}, kv.Errorf(kv.NotFound, "keyspace %q does not exist: create it first; kvcli keyspace list shows those that do", name)
}

// Refresh asks for the map of a keyspace ("" = all) until a node answers or ctx ends.
func (r *Router) Refresh(ctx context.Context, keyspace string) *kv.Error {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	var last *kv.Error
	for failures := 0; ; failures++ {
		f := r.startRefresh(keyspace)
		select {
		case <-f.done:
		case <-ctx.Done():
			return contextError(ctx, last)
		}
		if last = f.err; last == nil || last.Kind != kv.Unavailable {
			return last
		}
		if !r.pause(ctx, failures) {
			return contextError(ctx, last)
		}
	}
}

// withDeadline gives a context a deadline if it has none.
func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, kv.RequestTimeoutDefault)
}

// pause waits before a retry; false if the context or the router ends first.
func (r *Router) pause(ctx context.Context, failures int) bool {
	return r.Wait(ctx, r.Jitter(failures))
}

// Jitter is how long to wait after so many failures in a row, from 0.
func (r *Router) Jitter(failures int) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.session.Jitter(failures)
}

// Wait lets a time pass; false if the context or the router ends first.
func (r *Router) Wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-r.stop.Done():
	}
	return false
}

// contextError is the error of a call that ran out of time; last is the newest answer.
func contextError(ctx context.Context, last *kv.Error) *kv.Error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return kv.Errorf(kv.Canceled, "the context was canceled")
	case ctx.Err() == nil:
		return errClosed()
	case last != nil && last.Kind == kv.Timeout:
		return kv.Errorf(kv.Unavailable, "no node could answer before the deadline: most of the nodes that hold the cluster's core are down, or electing its leader")
	case last != nil:
		return kv.Errorf(kv.Unavailable, "no answer before the deadline; the newest error was: %s", last.Error())
	}
	return kv.Errorf(kv.Timeout, "no answer before the deadline")
}

// Admin asks the cluster, or the node at an address if one is given, until it has an
// answer. What is not safe to do twice is not tried again once its answer was lost.
func (r *Router) Admin(ctx context.Context, address string, q *kv.AdminRequest) (*kv.AdminResponse, *kv.Error) {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	maybeDone := false
	next := address
	for failures := 0; ; failures++ {
		at := next
		if at == "" {
			all := r.addresses()
			if len(all) == 0 {
				return nil, errNobody()
			}
			at = all[failures%len(all)]
		}
		a, err := r.adminAt(ctx, at, q)
		if err == nil {
			return a, nil
		}
		next = address
		if p := partitionOf(q); p != 0 && address == "" && err.Kind == kv.WrongPartition {
			if next, err = r.holder(ctx, p, failures, err); err.Kind == kv.NotFound {
				return nil, err
			}
		}
		switch err.Kind {
		case kv.Unavailable, kv.WrongPartition:
		case kv.NotLeader:
			if address == "" {
				next = r.address(err.Leader)
			}
		case kv.Closed, kv.Timeout, kv.Canceled, kv.Ambiguous:
			maybeDone = true
		default:
			if maybeDone && r.doneBefore(ctx, q, err.Kind) {
				return &kv.AdminResponse{}, nil
			}
			return nil, err
		}
		if maybeDone && !repeatable(q) {
			return nil, &kv.Error{Kind: kv.Ambiguous, Message: "it may or may not have been done, look before you try again: " + err.Message}
		}
		if ctx.Err() != nil || !r.pause(ctx, failures) {
			return nil, contextError(ctx, err)
		}
	}
}

// partitionOf is the partition whose leader alone can do what is asked; 0 if that is another's business.
func partitionOf(q *kv.AdminRequest) kv.PartitionID {
	switch {
	case q.MoveLeader != nil:
		return q.MoveLeader.Partition
	case q.Check != nil:
		return q.Check.Partition
	case q.ChangeReplicas != nil:
		return q.ChangeReplicas.Partition
	case q.Transactions != nil:
		return q.Transactions.Partition
	}
	return 0
}

// holder is the address of a node that has a replica of a partition, of the leader if that is known,
// after another node said that it has none. It gives err back, or NotFound if there is no such partition.
func (r *Router) holder(ctx context.Context, p kv.PartitionID, failures int, err *kv.Error) (string, *kv.Error) {
	if r.Refresh(ctx, "") != nil {
		return "", err
	}
	r.mu.Lock()
	place, ok := r.session.Map.Partition(p)
	if !ok {
		r.mu.Unlock()
		return "", kv.Errorf(kv.NotFound, "partition %d does not exist: kvcli partitions shows those that do", p)
	}
	node := place.Leader
	if replicas := place.Descriptor.Replicas; node == 0 {
		node = replicas[failures%len(replicas)].Node
	}
	r.mu.Unlock()
	return r.address(node), err
}

func errNobody() *kv.Error { return kv.Errorf(kv.Invalid, "no address of any node is known") }

// repeatable reports whether a second copy of a request does no harm.
func repeatable(q *kv.AdminRequest) bool {
	return q.ChangeReplicas == nil && (q.MoveLeader == nil || q.MoveLeader.To != 0)
}

// doneBefore reports whether a refusal comes from an earlier copy of the same request,
// whose answer was lost.
func (r *Router) doneBefore(ctx context.Context, q *kv.AdminRequest, k kv.Kind) bool {
	switch {
	case q.DropKeyspace != nil:
		return k == kv.NotFound
	case q.CreateKeyspace != nil && k == kv.Exists:
		if r.Refresh(ctx, q.CreateKeyspace.Name) != nil {
			return false
		}
		return r.asOrdered(q.CreateKeyspace)
	}
	return false
}

// asOrdered reports whether the keyspace that exists is the one that was ordered.
func (r *Router) asOrdered(q *kv.CreateKeyspace) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.session.Map.Keyspace(q.Name)
	if !ok || k.Scheme != q.Scheme || k.Retention != q.Retention {
		return false
	}
	if k.Scheme == kv.SchemeHash {
		return k.Partitions == q.Partitions
	}
	places := r.session.Map.Overlapping(k.Span())
	if len(places) != len(q.SplitAt)+1 {
		return false
	}
	for i, p := range places[1:] {
		if !bytes.Equal(p.Descriptor.Span.Start, kv.MakeKey(k.ID, q.SplitAt[i])) {
			return false
		}
	}
	return true
}

// Nodes is the registry as the map has it.
func (r *Router) Nodes() []kv.NodeInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.session.Map.Nodes())
}

// Place is where a full key lives and who is believed to lead there; it asks for the map
// if it does not know.
func (r *Router) Place(ctx context.Context, key kv.Key) (p Place, err *kv.Error) {
	if p, ok := r.find(key); ok {
		return p, nil
	}
	if err := r.Refresh(ctx, ""); err != nil {
		return Place{}, err
	}
	if p, ok := r.find(key); ok {
		return p, nil
	}
	return Place{}, kv.Errorf(kv.NotFound, "no partition is known that holds the key")
}

// Place is a copy of what the map says of one partition.
type Place struct {
	Descriptor *kv.Descriptor
	Leader     kv.NodeID
	Term       kv.Term
}

func (r *Router) find(key kv.Key) (Place, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.session.Map.Find(key, false)
	if !ok {
		return Place{}, false
	}
	return Place{Descriptor: p.Descriptor, Leader: p.Leader, Term: p.Term}, true
}
