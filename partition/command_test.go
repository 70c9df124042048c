package partition

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
)

func testCommands() []Command {
	return []Command{
		{kind: commandWrite, Attempt: kv.Attempt{ID: testID(1), AsOf: 5}, Timestamp: 10, Versions: []Version{
			{Key: kv.Key("k"), Value: []byte("v")}, {Key: kv.Key("gone"), Tombstone: true}, {Key: kv.Key("empty"), Value: []byte{}},
		}},
		{kind: commandGC, Timestamp: 1 << 40},
		{kind: commandHorizon, Timestamp: 7},
		{kind: commandDigest, Digest: 99},
		{kind: commandDescriptor, Generation: 3, Descriptor: &kv.Descriptor{
			Partition: 7, Keyspace: 300, Span: kv.Span{Start: kv.Key("a"), End: kv.Key("z")}, Generation: 4, NextReplica: 9,
			Replicas: []kv.Replica{{ID: 1, Node: 2, Role: kv.RoleVoter}, {ID: 8, Node: 3, Role: kv.RoleLearner}},
		}},
		{kind: commandPrepare, Attempt: testAttempt(), Locks: []mvcc.Lock{
			{Attempt: testAttempt(), Key: kv.Key("k"), Strength: mvcc.Exclusive, Write: kv.WritePut, Value: []byte("v")},
			{Attempt: testAttempt(), Key: kv.Key("l"), Strength: mvcc.Exclusive, Write: kv.WriteDelete},
			{Attempt: testAttempt(), Key: kv.Key("m"), Strength: mvcc.Shared},
			{Attempt: testAttempt(), Key: kv.Key("n"), Strength: mvcc.Shared, End: kv.Key("o")},
		}},
		{
			kind: commandRecord, Attempt: testAttempt(), Timestamp: 11, Versions: []Version{{Key: kv.Key("a"), Value: []byte("v")}},
			Participants: []mvcc.Participant{{Partition: 9, Span: kv.Span{Start: kv.Key("x"), End: kv.Key("y")}}},
		},
		{kind: commandResolve, Attempt: kv.Attempt{ID: testID(2)}, Timestamp: 12, Locks: []mvcc.Lock{
			{Key: kv.Key("k"), Strength: mvcc.Exclusive}, {Key: kv.Key("n"), Strength: mvcc.Shared},
		}},
		{kind: commandResolve, Attempt: kv.Attempt{ID: testID(2)}, Timestamp: 12, First: true, Locks: []mvcc.Lock{{Key: kv.Key("k"), Strength: mvcc.Exclusive}}},
		{
			kind: commandStage, Attempt: testAttempt(), Timestamp: 12, Locks: []mvcc.Lock{
				{Attempt: testAttempt(), Key: kv.Key("k"), Strength: mvcc.Exclusive, Write: kv.WritePut, Value: []byte("v"), Staged: 12},
				{Attempt: testAttempt(), Key: kv.Key("n"), Strength: mvcc.Shared, End: kv.Key("o"), Staged: 12},
			},
			Participants: []mvcc.Participant{{Partition: 9, Term: 300, Span: kv.Span{Start: kv.Key("x"), End: kv.Key("y")}}},
		},
		{kind: commandStage, Attempt: testAttempt(), Timestamp: 12, Locks: []mvcc.Lock{{Attempt: testAttempt(), Key: kv.Key("m"), Strength: mvcc.Shared, Staged: 12}}},
		{kind: commandDecide, Attempt: testAttempt(), Timestamp: 12, Locks: []mvcc.Lock{
			{Key: kv.Key("k"), Strength: mvcc.Exclusive}, {Key: kv.Key("n"), Strength: mvcc.Shared},
		}, Participants: []mvcc.Participant{{Partition: 9, Span: kv.Span{Start: kv.Key("x"), End: kv.Key("y")}}}},
		{kind: commandDecide, Attempt: testAttempt(), Locks: []mvcc.Lock{{Key: kv.Key("k"), Strength: mvcc.Exclusive}}},
		{kind: commandForget, Attempt: kv.Attempt{ID: testID(2), Anchor: kv.Key("a")}},
		{kind: commandBarrier},
	}
}

func testAttempt() kv.Attempt {
	return kv.Attempt{ID: testID(3), Term: 4, AsOf: 5, Age: kv.Age{15: 6}, Partition: 7, Anchor: kv.Key("a")}
}

func encodeEntry(cs []Command) []byte {
	data := []byte{entryFormat}
	for i := range cs {
		b := appendCommand(nil, &cs[i])
		data = appendBytes(data, b)
	}
	return data
}

func decodeEntry(data []byte) ([]Command, *kv.Error) {
	var cs []Command
	err := eachCommand(data, func(c *Command) *kv.Error {
		x := *c
		x.Versions = append([]Version(nil), c.Versions...)
		x.Locks = append([]mvcc.Lock(nil), c.Locks...)
		x.Participants = append([]mvcc.Participant(nil), c.Participants...)
		cs = append(cs, x)
		return nil
	})
	return cs, err
}

func TestCommandsRoundTrip(t *testing.T) {
	want := testCommands()
	got, err := decodeEntry(encodeEntry(want))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

// The bytes are durable: they may be added to, never changed.
func TestCommandBytes(t *testing.T) {
	for i, want := range []string{
		"\x01" + string(make([]byte, 15)) + "\x01" + "\x00\x00\x00\x00\x00\x00\x00\x05" + "\x00\x00\x00\x00\x00\x00\x00\x0a" + "\x03" +
			"\x01\x01k\x01v" + "\x02\x04gone" + "\x01\x05empty\x00",
		"\x02\x00\x00\x01\x00\x00\x00\x00\x00",
		"\x03\x00\x00\x00\x00\x00\x00\x00\x07",
		"\x04\x00\x00\x00\x00\x00\x00\x00\x63",
		"\x05\x03\x07\xac\x02\x01a\x01z\x04\x09\x02\x01\x02\x01\x08\x03\x02",
	} {
		if got := appendCommand(nil, &testCommands()[i]); string(got) != want {
			t.Errorf("command %d is %q, not %q", i, got, want)
		}
	}
}

// Every prefix, every addition and a change of the kinds is noticed, and called corruption.
func TestDamagedCommandsAreRefused(t *testing.T) {
	for i, c := range testCommands() {
		b := appendCommand(nil, &c)
		for n := range b {
			wantCorrupt(t, i, b[:n])
		}
		wantCorrupt(t, i, append(bytes.Clone(b), 0))
		wantCorrupt(t, i, append([]byte{77}, b[1:]...))
	}
	wantCorrupt(t, 1, append([]byte{byte(commandGC)}, make([]byte, 8)...)) // no timestamp
	header := append(appendWriteHeader(nil, testID(1), 1, 2), 0)
	wantCorrupt(t, 0, header)                                     // writes nothing
	wantCorrupt(t, 0, append(header[:len(header)-1], 0x81, 0x00)) // a number longer than need be
	wantCorrupt(t, 0, append(header[:len(header)-1], 1, 9, 1, 'k'))
	for _, data := range [][]byte{nil, {}, {2}, {entryFormat, 5, 1}} {
		if _, err := decodeEntry(data); err == nil || err.Kind != kv.Corruption {
			t.Errorf("entry %x: %v", data, err)
		}
	}
}

func wantCorrupt(t *testing.T, i int, b []byte) {
	t.Helper()
	var c Command
	if err := decodeCommand(b, &c); err == nil || err.Kind != kv.Corruption {
		t.Errorf("command %d, %x: %v", i, b, err)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(encodeEntry(testCommands()))
	for _, c := range testCommands() {
		f.Add(encodeEntry([]Command{c}))
	}
	f.Add([]byte{entryFormat})
	f.Add(binary.AppendUvarint([]byte{entryFormat}, 1<<63))
	f.Add([]byte(strings.Repeat("\x01", 40)))
	f.Fuzz(func(t *testing.T, data []byte) {
		cs, err := decodeEntry(data)
		if err != nil {
			if err.Kind != kv.Corruption {
				t.Fatalf("%v", err)
			}
			return
		}
		if again := encodeEntry(cs); !bytes.Equal(again, data) {
			t.Fatalf("%x decodes to what encodes as %x", data, again)
		}
	})
}
