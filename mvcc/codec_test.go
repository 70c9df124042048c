package mvcc

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

func sampleState() ReplicaState {
	return ReplicaState{
		Replica: 4, Applied: 1 << 40, AppliedTerm: 9, ConfState: []byte{1, 2, 3}, GC: 77, Horizon: 78, Counters: Counters{Keys: 5, Bytes: -1},
		Descriptor: kv.Descriptor{
			Partition: 12, Keyspace: 3, Span: kv.Span{Start: kv.Key("a\x00"), End: kv.Key("b")}, Generation: 8, NextReplica: 6,
			Replicas: []kv.Replica{{ID: 4, Node: 1, Role: kv.RoleVoter}, {ID: 5, Node: 2, Role: kv.RoleLearner}},
		},
	}
}

func sampleAttempt() kv.Attempt {
	return kv.Attempt{ID: kv.TxID{1, 2}, Term: 4, AsOf: 5, Age: kv.Age{15: 7}, Partition: 3, Anchor: kv.Key("anchor")}
}

func sampleLock() Lock {
	return Lock{Key: kv.Key("k\x00"), Strength: Exclusive, Attempt: sampleAttempt(), End: kv.Key("l"), Write: kv.WritePut, Value: []byte("value"), Staged: 44}
}

func sampleRecord() Record {
	return Record{
		Attempt: sampleAttempt(), State: RecordCommitted, Timestamp: 99,
		Participants: []Participant{{Partition: 3, Span: kv.Span{Start: kv.Key("a"), End: kv.Key("b")}}, {Partition: 5, Term: 6}},
	}
}

func stored(id kv.TxID, value []byte, tombstone bool) []byte {
	b := make([]byte, storedLen(id, value))
	putStored(b, id, value, tombstone)
	return b
}

func FuzzStoredValue(f *testing.F) {
	f.Add(stored(kv.TxID{}, []byte("value"), false))
	f.Add(stored(kv.TxID{1}, nil, false))
	f.Add(stored(kv.TxID{1}, nil, true))
	f.Add(stored(kv.TxID{}, nil, true))
	f.Add([]byte{flagID, 1, 2})
	f.Add([]byte{0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := splitStored(b)
		if err != nil {
			if kv.KindOf(err) != kv.Corruption {
				t.Fatal(err)
			}
			return
		}
		if v.Tombstone && len(b) > tombstoneBytesMax {
			t.Fatalf("a tombstone of %d bytes", len(b))
		}
		if again := stored(v.ID, v.Value, v.Tombstone); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", b, v, again)
		}
	})
}

func FuzzReplicaState(f *testing.F) {
	s := sampleState()
	f.Add(appendStateRecord(nil, &s))
	f.Add(appendStateRecord(nil, &ReplicaState{}))
	f.Add([]byte{stateFormat})
	f.Fuzz(func(t *testing.T, b []byte) {
		var s ReplicaState
		if err := decodeStateRecord(b, &s); err != nil {
			if kv.KindOf(err) != kv.Corruption {
				t.Fatal(err)
			}
			return
		}
		if again := appendStateRecord(nil, &s); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", b, s, again)
		}
	})
}

func FuzzLock(f *testing.F) {
	l := sampleLock()
	f.Add(appendLock(nil, &l))
	f.Add(appendLock(nil, &Lock{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var l Lock
		if decodeLock(b, &l) == nil && !bytes.Equal(appendLock(nil, &l), b) {
			t.Fatalf("%x decodes to %+v", b, l)
		}
	})
}

func FuzzRecord(f *testing.F) {
	r := sampleRecord()
	f.Add(appendRecord(nil, &r))
	f.Add(appendRecord(nil, &Record{State: RecordStaging}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Record
		if decodeRecord(b, &r) == nil && !bytes.Equal(appendRecord(nil, &r), b) {
			t.Fatalf("%x decodes to %+v", b, r)
		}
	})
}

func FuzzFormat(f *testing.F) {
	f.Add(encodeFormat(FormatVersion))
	f.Add(encodeFormat(1 << 31))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := decodeFormat(b); err == nil && !bytes.Equal(encodeFormat(v), b) {
			t.Fatalf("%x decodes to %d", b, v)
		}
	})
}

func TestCodecsKeepEverything(t *testing.T) {
	s := sampleState()
	var s2 ReplicaState
	if err := decodeStateRecord(appendStateRecord(nil, &s), &s2); err != nil {
		t.Fatal(err)
	}
	s2.Applied, s2.AppliedTerm, s2.Counters = s.Applied, s.AppliedTerm, s.Counters // records of their own
	if !reflect.DeepEqual(s, s2) {
		t.Errorf("%+v, want %+v", s2, s)
	}
	l := sampleLock()
	l2 := Lock{Key: l.Key, Strength: l.Strength, Attempt: kv.Attempt{ID: l.ID}}
	if err := decodeLock(appendLock(nil, &l), &l2); err != nil || !reflect.DeepEqual(l, l2) {
		t.Errorf("%+v, want %+v, %v", l2, l, err)
	}
	r := sampleRecord()
	r2 := Record{Attempt: kv.Attempt{ID: r.ID, Anchor: r.Anchor}}
	if err := decodeRecord(appendRecord(nil, &r), &r2); err != nil || !reflect.DeepEqual(r, r2) {
		t.Errorf("%+v, want %+v, %v", r2, r, err)
	}
}

// TestEveryTruncationIsCorruption cuts each encoding short: what is left never decodes.
func TestEveryTruncationIsCorruption(t *testing.T) {
	s, l, r := sampleState(), sampleLock(), sampleRecord()
	for name, c := range map[string]struct {
		b      []byte
		decode func([]byte) error
	}{
		"state":    {appendStateRecord(nil, &s), func(b []byte) error { return decodeStateRecord(b, &ReplicaState{}) }},
		"lock":     {appendLock(nil, &l), func(b []byte) error { return decodeLock(b, &Lock{}) }},
		"record":   {appendRecord(nil, &r), func(b []byte) error { return decodeRecord(b, &Record{}) }},
		"applied":  {appendApplied(nil, 1, 2), func(b []byte) error { _, _, err := decodeApplied(b); return err }},
		"counters": {appendCounters(nil, Counters{}), func(b []byte) error { _, err := decodeCounters(b); return err }},
		"format":   {encodeFormat(1), func(b []byte) error { _, err := decodeFormat(b); return err }},
	} {
		if err := c.decode(c.b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for n := range c.b {
			if err := c.decode(c.b[:n]); kv.KindOf(err) != kv.Corruption {
				t.Errorf("%s cut to %d bytes: %v", name, n, err)
			}
		}
		if err := c.decode(append(c.b, 0)); kv.KindOf(err) != kv.Corruption {
			t.Errorf("%s with a byte too many: %v", name, err)
		}
	}
}

// TestFormatIsFrozen pins bytes on disk: a change here is a new format version.
func TestFormatIsFrozen(t *testing.T) {
	s, l, r := sampleState(), sampleLock(), sampleRecord()
	for name, c := range map[string]struct{ got, want []byte }{
		"data key":   {appendDataKey(nil, kv.Key("ab"), 0x0102), []byte("\x03ab\x00\xff\xff\xff\xff\xff\xff\xfe\xfd\x09")},
		"state key":  {appendStateKey(nil, 2, stateApplied), []byte("\x01\x00\x00\x00\x00\x00\x00\x00\x02\x02\x00")},
		"system key": {appendSystemKey(nil, "x"), []byte("\x02x\x00")},
		"lock key":   {appendLockKey(nil, kv.Key("k"), Shared, kv.TxID{1}), []byte("\x04k\x00\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x12")},
		"record key": {appendRecordKey(nil, kv.Key("k"), kv.TxID{1}), []byte("\x05k\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x11")},
		"value":      {stored(kv.TxID{15: 9}, []byte("v"), false), []byte("\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09v")},
		"tombstone":  {stored(kv.TxID{}, nil, true), []byte("\x02")},
		"applied":    {appendApplied(nil, 1, 2), []byte("\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02")},
		"state": {appendStateRecord(nil, &s), []byte("\x01\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x4d\x00\x00\x00\x00\x00\x00\x00\x4e\x03\x01\x02\x03" +
			"\x00\x00\x00\x00\x00\x00\x00\x0c\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x06\x02a\x00\x01b\x02" +
			"\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x02\x02")},
		"lock": {appendLock(nil, &l), []byte("\x01" + "\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x05" +
			"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x01" + "\x00\x00\x00\x00\x00\x00\x00\x2c" + "\x06anchor\x01l\x05value")},
		"record": {appendRecord(nil, &r), []byte("\x01\x01" + "\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x05" +
			"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07" +
			"\x00\x00\x00\x00\x00\x00\x00\x63\x02" +
			"\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00\x01a\x01b\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x06\x00\x00")},
	} {
		if !bytes.Equal(c.got, c.want) {
			t.Errorf("%s is\n%q, want\n%q", name, c.got, c.want)
		}
	}
}
