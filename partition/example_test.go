package partition_test

import (
	"fmt"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/partition"
)

// node is the least that a Partition needs around it.
type node struct {
	heard  kv.Timestamp
	p      *partition.Partition
	engine *mvcc.Engine
}

func (n *node) Draw(_ *partition.Partition, token uint64) { fmt.Println("draw", token) }
func (n *node) Hasten(*partition.Partition)               { fmt.Println("what is committed is to be applied now") }
func (n *node) Propose(*partition.Partition)              { fmt.Println("commands are queued") }
func (n *node) Closed(*partition.Partition, kv.Timestamp) {}
func (n *node) Now() kv.Instant                           { return 0 }
func (n *node) Heard() kv.Timestamp                       { return n.heard }

func (n *node) Call(*partition.Partition, uint64, kv.PartitionID, *kv.Request) {}

func (n *node) Read(t *partition.ReadTask) {
	if t.Serve {
		fmt.Println("a read that is an answer")
		return
	}
	r, err := n.engine.NewReader()
	if err != nil {
		panic(err)
	}
	defer r.Close()
	n.p.ReadDone(t, t.Execute(r)) // which locks there are, at the beginning
}

func (n *node) Reply(id partition.RequestID, resp *kv.Response, err *kv.Error) {
	if err != nil {
		fmt.Println("request", id, "failed:", err.Kind)
		return
	}
	fmt.Println("request", id, "committed at", uint64(resp.Timestamp))
}

// A put on its way: one draw, one command, one entry; answered when that is committed.
func ExamplePartition() {
	engine, err := mvcc.Open(mvcc.Options{Dir: "state", FS: mvcc.NewMemFS()})
	if err != nil {
		panic(err)
	}
	defer engine.Close()
	n := &node{heard: 100, engine: engine}
	p := partition.New(7, partition.Options{}, n)
	n.p = p
	p.Lead(3, &kv.Descriptor{Partition: 7, Span: kv.Span{Start: kv.Key("a"), End: kv.Key("z")}}, 0, 0)

	p.Request(1, &kv.Request{Commit: &kv.Commit{
		ID: kv.TxID{1}, Term: 3, AsOf: 100,
		Writes: []kv.Write{{Kind: kv.WritePut, Key: kv.Key("k"), Value: []byte("v")}},
	}})
	p.Drawn(0, 101)
	data := p.TakeProposal(1 << 20)
	fmt.Println("an entry of", len(data), "bytes")
	p.Committed(3, 12)
	p.Applied(12, 0, 0)

	p.Request(2, &kv.Request{Read: &kv.Read{Keys: []kv.Key{kv.Key("k")}}})
	// Output:
	// draw 0
	// commands are queued
	// an entry of 41 bytes
	// request 1 committed at 101
	// a read that is an answer
}
