package wal_test

import (
	"fmt"
	"math"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/wal"
)

// Two groups write in one batch, with one sync; after a restart everything is there.
func Example() {
	disk := wal.NewMemFS() // wal.OSFS{} in the real world
	options := wal.Options{FS: disk, Dir: "/data/log", StoreID: 42, SegmentBytes: 1 << 20}
	log, _, err := wal.Create(options)
	if err != nil {
		fmt.Println(err)
		return
	}
	batch := []wal.Append{
		{Group: 1, Mark: wal.Mark{Kind: wal.MarkCreate, Replica: 11}},
		{Group: 2, Mark: wal.Mark{Kind: wal.MarkCreate, Replica: 21}},
		{
			Group:     1,
			HardState: &wal.HardState{Term: 5, Vote: 11},
			Entries:   []wal.Entry{{Index: 1, Term: 5, Data: []byte("hello")}},
		},
	}
	positions, err := log.Write(batch, true)
	if err != nil {
		fmt.Println(err)
		return
	}
	view := wal.NewView(1, wal.NewCache(1<<20)) // of group 1; the node's loop owns it
	view.Stored(&batch[0], positions[0])
	view.Stored(&batch[2], positions[2])
	fmt.Println("stored up to", view.LastIndex())

	if err = log.Close(); err != nil {
		fmt.Println(err)
		return
	}
	log, recovered, err := wal.Open(options)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, g := range recovered.Groups {
		entries, err := g.View.Entries(g.View.FirstIndex(), g.View.LastIndex()+1, math.MaxUint64, log.Read)
		fmt.Printf("group %d: replica %d, term %d, %d entries, healthy %v, %v\n",
			g.Group, g.View.ReplicaID(), g.View.HardState().Term, len(entries), g.Fault == nil, err)
	}
	fmt.Println("damage:", len(recovered.Damage))
	// Output:
	// stored up to 1
	// group 1: replica 11, term 5, 1 entries, healthy true, <nil>
	// group 2: replica 21, term 0, 0 entries, healthy true, <nil>
	// damage: 0
}

// An idle group holds back an old segment: its live records are written forward, then
// the segment is released.
func ExampleView_Checkpoint() {
	options := wal.Options{FS: wal.NewMemFS(), Dir: "/log", StoreID: 42, SegmentBytes: wal.SegmentBytesMin}
	log, _, err := wal.Create(options)
	if err != nil {
		fmt.Println(err)
		return
	}
	views := map[kv.PartitionID]*wal.View{1: wal.NewView(1, nil), 2: wal.NewView(2, nil)}
	write := func(a wal.Append) {
		positions, err := log.Write([]wal.Append{a}, true)
		if err != nil {
			fmt.Println(err)
			return
		}
		views[a.Group].Stored(&a, positions[0])
	}
	for g := range kv.PartitionID(2) {
		write(wal.Append{Group: g + 1, Mark: wal.Mark{Kind: wal.MarkCreate, Replica: 1}})
	}
	write(wal.Append{Group: 1, Entries: []wal.Entry{{Index: 1, Term: 1, Data: []byte("idle")}}})
	for i := kv.LogIndex(1); i <= 20; i++ {
		write(wal.Append{Group: 2, Entries: []wal.Entry{{Index: i, Term: 1, Data: make([]byte, 2000)}}, LowWater: i})
	}
	fmt.Println("group 1 needs segment", views[1].OldestSegment(), "- group 2 needs segment", views[2].OldestSegment())

	checkpoint, err := views[1].Checkpoint(log.Read)
	if err != nil {
		fmt.Println(err)
		return
	}
	write(*checkpoint)
	oldest := min(views[1].OldestSegment(), views[2].OldestSegment())
	fmt.Println("released before", oldest, "error", log.ReleaseBefore(oldest))
	fmt.Println("segments in use:", log.Stats().Segments)
	// Output:
	// group 1 needs segment 1 - group 2 needs segment 4
	// released before 4 error <nil>
	// segments in use: 1
}
