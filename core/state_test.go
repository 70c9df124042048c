package core

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// randomCommand is one that may or may not be applicable to the state.
func randomCommand(rng *rand.Rand, s *state) command {
	keyspace := kv.KeyspaceID(rng.IntN(6))
	switch rng.IntN(12) {
	case 0:
		return &join{Address: fmt.Sprintf("n%d", rng.IntN(6)), Locality: fmt.Sprintf("zone=%d", rng.IntN(2)), Nonce: uint64(1 + rng.IntN(12))}
	case 1, 2:
		c := &createKeyspace{Name: fmt.Sprintf("k%d", rng.IntN(4)), Scheme: kv.Scheme(1 + rng.IntN(2))}
		for i := range 1 + rng.IntN(4) {
			c.Placement = append(c.Placement, []kv.NodeID{1, 2, 3}[:1+rng.IntN(3)])
			if i > 0 && c.Scheme == kv.SchemeRange {
				c.SplitAt = append(c.SplitAt, []byte{byte('a' + i*rng.IntN(5))}) // may be out of order
			}
		}
		return c
	case 3:
		return &dropKeyspace{Keyspace: keyspace}
	case 4:
		return &keyspaceReady{Keyspace: keyspace}
	case 5:
		return &forgetKeyspace{Keyspace: keyspace}
	case 6, 7:
		d, ok := s.partition(kv.PartitionID(1 + rng.IntN(12)))
		if !ok {
			return &putDescriptor{Descriptor: &kv.Descriptor{Partition: 5, Keyspace: 1, Generation: 1, NextReplica: 1}}
		}
		d = d.Clone()
		d.Generation += kv.Generation(rng.IntN(3))
		if len(d.Replicas) > 1 && rng.IntN(2) == 0 {
			d.Replicas = d.Replicas[1:]
		}
		d.Replicas = append(d.Replicas, kv.Replica{ID: d.NextReplica, Node: kv.NodeID(10 + rng.IntN(3)), Role: kv.Role(1 + rng.IntN(2))})
		d.NextReplica++
		return &putDescriptor{Descriptor: d}
	case 8:
		return &forgetNode{Node: kv.NodeID(1 + rng.IntN(12))}
	case 9:
		return &setKeyspace{Keyspace: keyspace, Retention: time.Duration(rng.IntN(5)) * 4 * time.Minute}
	}
	if rng.IntN(20) == 0 {
		return &setVoters{Voters: rng.IntN(8)}
	}
	return &extendBound{Bound: kv.Timestamp(rng.IntN(1000))}
}

// Two replicas, one of which is reloaded from its system keys after every entry, have equal
// keys; revisions are dense; what changes nothing writes nothing; ids only grow.
func TestReplicasAgree(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 5))
		a, b := New(Options{}, nil), New(Options{}, nil)
		keysA, keysB := map[string]string{}, map[string]string{}
		for i := range 120 {
			var cmds [][]byte
			for range rng.IntN(4) {
				cmds = append(cmds, encodeCommand(proposed{command: randomCommand(rng, a.state)}))
			}
			if i == 5 {
				c, err := newInitCluster(9, founders(3), 3)
				if err != nil {
					t.Fatal(err)
				}
				cmds = append(cmds, encodeCommand(proposed{command: c}))
			}
			data := PackCommands(cmds)
			revision, ids := a.Revision(), a.state.ids
			writesA, err := a.Apply(kv.LogIndex(i+1), 1, data)
			if err != nil {
				t.Fatal(err)
			}
			writesB, err := b.Apply(kv.LogIndex(i+1), 1, data)
			if err != nil {
				t.Fatal(err)
			}
			putAll(keysA, writesA)
			putAll(keysB, writesB)
			checkEntry(t, seed, i, revision, len(cmds), a, writesA)
			if now := a.state.ids; now.Node < ids.Node || now.Keyspace < ids.Keyspace || now.Partition < ids.Partition {
				t.Fatalf("seed %d, entry %d: ids went from %v to %v", seed, i, ids, now)
			}
			if !reflect.DeepEqual(writesA, writesB) || !maps.Equal(keysA, keysB) {
				t.Fatalf("seed %d, entry %d: the replicas differ:\n%v\n%v", seed, i, writesA, writesB)
			}
			b = loaded(t, Options{}, nil, keysB)
			if !maps.Equal(dump(b.state), keysA) || !maps.Equal(dump(a.state), keysA) {
				t.Fatalf("seed %d, entry %d: the state is not what the keys say", seed, i)
			}
			if !maps.Equal(a.state.names, b.state.names) || a.state.bySpan.Len() != b.state.bySpan.Len() {
				t.Fatalf("seed %d, entry %d: derived state differs after loading", seed, i)
			}
		}
		if a.Revision() < 20 {
			t.Errorf("seed %d: only %d commands changed anything", seed, a.Revision())
		}
	}
}

func checkEntry(t *testing.T, seed uint64, i int, before kv.Revision, cmds int, m *Machine, writes []Write) {
	t.Helper()
	if (m.Revision() == before) != (len(writes) == 0) || int(m.Revision()-before) > cmds {
		t.Fatalf("seed %d, entry %d: %d commands, revision %d to %d, %d writes", seed, i, cmds, before, m.Revision(), len(writes))
	}
}

// dump is what the state would write if it were written now.
func dump(s *state) map[string]string {
	keys := map[string]string{}
	if s.cluster == nil {
		return keys
	}
	keys[keyCluster] = string(appendCluster(nil, s.cluster))
	keys[keyIDs] = string(appendIDs(nil, s.ids))
	keys[keyRevision] = string(appendNumber(nil, uint64(s.revision)))
	if s.bound != 0 {
		keys[keyBound] = string(appendNumber(nil, uint64(s.bound)))
	}
	s.nodes.Ascend(func(n kv.NodeInfo) bool {
		keys[nodeKey(n.ID)] = string(kv.AppendNodeInfo(nil, n))
		return true
	})
	for n, at := range s.replaced {
		keys[replacedKey(n)] = string(appendNumber(nil, uint64(at)))
	}
	s.keyspaces.Ascend(func(k keyspaceRecord) bool {
		keys[keyspaceKey(k.ID)] = string(appendKeyspaceRecord(nil, k))
		return true
	})
	s.partitions.Ascend(func(d *kv.Descriptor) bool {
		keys[partitionKey(d.Partition)] = string(kv.AppendDescriptor(nil, d))
		return true
	})
	return keys
}

// The partitions of a keyspace cover it without gaps, and every user key is in the right one.
func TestSpansCover(t *testing.T) {
	rangeKeyspace := kv.Keyspace{ID: 3, Scheme: kv.SchemeRange, Partitions: 3}
	hashKeyspace := kv.Keyspace{ID: 4, Scheme: kv.SchemeHash, Partitions: 300}
	for _, k := range []kv.Keyspace{rangeKeyspace, hashKeyspace} {
		all := spans(k, [][]byte{[]byte("g"), []byte("p")})
		if !bytes.Equal(all[0].Start, k.Span().Start) || !bytes.Equal(all[len(all)-1].End, k.Span().End) {
			t.Errorf("%v: the ends are %q and %q", k, all[0].Start, all[len(all)-1].End)
		}
		for i := 1; i < len(all); i++ {
			if !bytes.Equal(all[i-1].End, all[i].Start) || all[i].IsEmpty() {
				t.Errorf("%v: partition %d begins at %q, the one before ends at %q", k, i, all[i].Start, all[i-1].End)
			}
		}
		for i := range 1000 {
			user := []byte(fmt.Sprintf("%c%d", 'a'+i%26, i))
			want := int(kv.Bucket(user, k.Partitions))
			if k.Scheme == kv.SchemeRange {
				want = map[bool]int{true: 0, false: 1}[user[0] < 'g']
				if user[0] >= 'p' {
					want = 2
				}
			}
			if !all[want].Contains(k.FullKey(user)) {
				t.Fatalf("%v: %q is not in partition %d", k, user, want)
			}
		}
	}
}

func sampleCommands() []command {
	init, err := newInitCluster(7, founders(3), 3)
	if err != nil {
		panic(err)
	}
	return []command{
		init,
		&join{Address: "host:7000", Locality: "region=x,zone=y", Nonce: 1 << 60},
		&createKeyspace{Name: "a", Scheme: kv.SchemeRange, SplitAt: [][]byte{[]byte("m")}, Placement: [][]kv.NodeID{{1, 2, 3}, {3, 1, 2}}, Retention: 10 * time.Minute},
		&dropKeyspace{Keyspace: 300}, &keyspaceReady{Keyspace: 1}, &forgetKeyspace{Keyspace: 2},
		&putDescriptor{Descriptor: SystemDescriptor(founders(3))},
		&extendBound{Bound: kv.MakeTimestamp(1_700_000_000_000, 0)},
		&forgetNode{Node: 300}, &setVoters{Voters: 5}, &setKeyspace{Keyspace: 300, Retention: 10 * time.Minute},
	}
}

func TestCommandCodec(t *testing.T) {
	for i, c := range sampleCommands() {
		b := encodeCommand(proposed{number: uint64(i * 100), command: c})
		got, err := decodeCommand(b)
		if err != nil {
			t.Fatalf("%T: %v", c, err)
		}
		if got.number != uint64(i*100) || !reflect.DeepEqual(got.command, c) {
			t.Errorf("%T: %+v became %+v", c, c, got.command)
		}
		for n := range len(b) {
			if _, err := decodeCommand(b[:n]); kv.KindOf(err) != kv.Corruption {
				t.Errorf("%T: the first %d of %d bytes: %v, want corruption", c, n, len(b), err)
			}
		}
	}
}

// The bytes are durable: a change of them needs a new format number.
func TestCommandGolden(t *testing.T) {
	want := []string{
		"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x07\x03\x03\x01\x01\x02n1\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01\x02\x02n2\x00\x00\x00\x00\x00\x00\x00\x00\x02\x01\x01\x03\x02n3\x00\x00\x00\x00\x00\x00\x00\x00\x03\x01\x01\x01\x00\x04\x00\x00\x00\x00\x04\x00\x00\x00\x01\x01\x04\x03\x01\x01\x01\x02\x02\x01\x03\x03\x01\adefault\x01\x00\x01\x03\x01\x02\x03\x00",
		"\x02\x01\thost:7000\x0fregion=x,zone=y\x10\x00\x00\x00\x00\x00\x00\x00",
		"\x03\x02\x01a\x01\x01\x01m\x02\x03\x01\x02\x03\x03\x03\x01\x02\x80ॖ\xbb\x11",
		"\x04\x03\xac\x02", "\x05\x04\x01", "\x06\x05\x02",
		"\a\x06\x01\x01\x00\x04\x00\x00\x00\x00\x04\x00\x00\x00\x01\x01\x04\x03\x01\x01\x01\x02\x02\x01\x03\x03\x01",
		"\b\a\x80\x80\x80\x80\xda\xf2ϗ\x06", "\n\b\xac\x02", "\v\t\x05", "\f\n\xac\x02\x80ॖ\xbb\x11",
	}
	for i, c := range sampleCommands() {
		if got := encodeCommand(proposed{number: uint64(i), command: c}); string(got) != want[i] {
			t.Errorf("%T: %q, want %q", c, got, want[i])
		}
	}
	if got := PackCommands([][]byte{[]byte("ab"), []byte("c")}); string(got) != "\x01\x02ab\x01c" {
		t.Errorf("entry: %q", got)
	}
}

// Whatever the bytes, Apply either refuses them with Kind Corruption and changes nothing, or
// they are the one encoding of their commands.
func FuzzApply(f *testing.F) {
	var cmds [][]byte
	for i, c := range sampleCommands() {
		b := encodeCommand(proposed{number: uint64(i), command: c})
		cmds = append(cmds, b)
		f.Add(PackCommands([][]byte{b}))
	}
	f.Add(PackCommands(cmds))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := New(Options{}, nil)
		init := encodeCommand(proposed{command: sampleCommands()[0]})
		if _, err := m.Apply(1, 1, PackCommands([][]byte{init})); err != nil {
			t.Fatal(err)
		}
		before := dump(m.state)
		writes, err := m.Apply(2, 1, data)
		if err != nil {
			if kv.KindOf(err) != kv.Corruption || len(writes) != 0 || !maps.Equal(before, dump(m.state)) {
				t.Fatalf("refused with %v, %d writes", err, len(writes))
			}
			return
		}
		all, _ := unpackCommands(data)
		var again [][]byte
		for _, p := range all {
			again = append(again, encodeCommand(p))
		}
		if !bytes.Equal(PackCommands(again), data) {
			t.Fatalf("%x is not the encoding of its commands", data)
		}
		putAll(before, writes)
		if !maps.Equal(before, dump(m.state)) {
			t.Fatal("the writes are not the change of the state")
		}
		loaded(t, Options{}, nil, before)
	})
}

func FuzzLoad(f *testing.F) {
	f.Add(keyCluster, appendCluster(nil, &clusterRecord{ID: 1, Replicas: 3, Voters: 3}))
	f.Add(keyIDs, appendIDs(nil, idsRecord{Node: 2, Keyspace: 2, Partition: 3}))
	f.Add(keyBound, appendNumber(nil, 5))
	f.Add(nodeKey(1), kv.AppendNodeInfo(nil, founders(1)[0]))
	f.Add(keyspaceKey(1), appendKeyspaceRecord(nil, keyspaceRecord{Keyspace: kv.Keyspace{ID: 1, Name: "a", Scheme: 1, Partitions: 1}, Phase: phaseReady}))
	f.Add(partitionKey(1), kv.AppendDescriptor(nil, SystemDescriptor(founders(3))))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		m := New(Options{}, nil)
		err := m.Load(func(yield func(string, []byte) bool) { yield(key, value) })
		if err != nil && kv.KindOf(err) != kv.Corruption {
			t.Fatalf("%v is not corruption", err)
		}
	})
}

func TestLoadRefuses(t *testing.T) {
	good := map[string]string{}
	m := New(Options{}, nil)
	init := encodeCommand(proposed{command: sampleCommands()[0]})
	writes, err := m.Apply(1, 1, PackCommands([][]byte{init}))
	if err != nil {
		t.Fatal(err)
	}
	putAll(good, writes)
	bad := map[string]Write{
		"unknown key":             {Key: "weather", Value: []byte{1}},
		"unknown id key":          {Key: "weather/00000000000000000001", Value: []byte{1}},
		"short id":                {Key: "node/1", Value: []byte{1}},
		"id of another":           {Key: nodeKey(2), Value: kv.AppendNodeInfo(nil, founders(1)[0])},
		"keyspace of a partition": {Key: keyspaceKey(1)},
		"node above the next id":  {Key: nodeKey(9), Value: kv.AppendNodeInfo(nil, kv.NodeInfo{ID: 9})},
		"ids too low":             {Key: keyIDs, Value: appendIDs(nil, idsRecord{Node: 9, Keyspace: 9, Partition: 2})},
		"cut short":               {Key: keyCluster, Value: []byte{1, 2}},
		"format":                  {Key: keyBound, Value: []byte{2, 2}},
		"no cluster":              {Key: keyCluster},
	}
	for name, w := range bad {
		keys := maps.Clone(good)
		putAll(keys, []Write{w})
		err := New(Options{}, nil).Load(func(yield func(string, []byte) bool) {
			for k, v := range keys {
				if !yield(k, []byte(v)) {
					return
				}
			}
		})
		if kv.KindOf(err) != kv.Corruption {
			t.Errorf("%s: %v, want corruption", name, err)
		}
	}
}
