package wire

import (
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/kvpb"
)

// TransactionsMessage is a list of transactions as a message.
func TransactionsMessage(a *kv.TransactionsAnswer) *kvpb.TransactionsResponse {
	m := &kvpb.TransactionsResponse{Partition: uint64(a.Partition), Node: uint64(a.Node), More: int64(a.More)}
	for i := range a.Transactions {
		t := &a.Transactions[i]
		x := &kvpb.TransactionStatus{
			Role: t.Role, State: t.State, Id: t.ID[:], Age: t.Age[:], Anchor: uint64(t.Anchor), AnchorKey: t.AnchorKey,
			SinceNanos: int64(t.Since), Waiters: int64(t.Waiters), MoreLocks: int64(t.MoreLocks),
		}
		for _, p := range t.Missing {
			x.Missing = append(x.Missing, uint64(p))
		}
		for _, k := range t.Locks {
			x.Locks = append(x.Locks, &kvpb.LockStatus{Start: k.Span.Start, End: k.Span.End, Exclusive: k.Exclusive, Waiters: int64(k.Waiters)})
		}
		m.Transactions = append(m.Transactions, x)
	}
	return m
}

// TransactionsOf is the inverse of TransactionsMessage.
func TransactionsOf(m *kvpb.TransactionsResponse) *kv.TransactionsAnswer {
	a := &kv.TransactionsAnswer{Partition: kv.PartitionID(m.GetPartition()), Node: kv.NodeID(m.GetNode()), More: int(m.GetMore())}
	for _, x := range m.GetTransactions() {
		t := kv.TransactionStatus{
			Role: x.GetRole(), State: x.GetState(), Anchor: kv.PartitionID(x.GetAnchor()), AnchorKey: x.GetAnchorKey(),
			Since: time.Duration(x.GetSinceNanos()), Waiters: int(x.GetWaiters()), MoreLocks: int(x.GetMoreLocks()),
		}
		copy(t.ID[:], x.GetId())
		copy(t.Age[:], x.GetAge())
		for _, p := range x.GetMissing() {
			t.Missing = append(t.Missing, kv.PartitionID(p))
		}
		for _, k := range x.GetLocks() {
			t.Locks = append(t.Locks, kv.LockStatus{Span: kv.Span{Start: k.GetStart(), End: k.GetEnd()}, Exclusive: k.GetExclusive(), Waiters: int(k.GetWaiters())})
		}
		a.Transactions = append(a.Transactions, t)
	}
	return a
}
