package partition

import (
	"bytes"
	"testing"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/txn"
)

// TestAtHand: what is at hand is found without the engine, unless the task is about more than newest versions.
func TestAtHand(t *testing.T) {
	w := ledWorld(t, Options{})
	b := w.engine.NewBatch()
	w.must(b.Put(kv.Key("k"), 5, testID(1), []byte("v")))
	w.must(b.Commit())
	w.execute(&ReadTask{Partition: testPartition, At: txn.Strong, Read: &kv.Read{Keys: []kv.Key{kv.Key("k")}}})
	at := func(task ReadTask) (*ReadResult, bool) {
		task.Partition, task.At = testPartition, txn.Strong
		return task.ExecuteAtHand(w.engine.Newest())
	}
	k, absent := kv.Key("k"), kv.Key("other")
	if res, ok := at(ReadTask{Read: &kv.Read{Keys: []kv.Key{k}}}); !ok || len(res.Response.Rows) != 1 || string(res.Response.Rows[0].Value) != "v" {
		t.Errorf("a read is %+v, %t", res, ok)
	}
	marks := []kv.ReadMark{{Key: k}}
	if res, ok := at(ReadTask{Evaluation: &Evaluation{Start: 1, Keys: marks}}); !ok || !bytes.Equal(res.Conflict, k) {
		t.Errorf("an evaluation is %+v, %t", res, ok)
	}
	if res, ok := at(ReadTask{Evaluation: &Evaluation{Newest: []kv.Key{k}}}); !ok || len(res.Versions) != 1 || !res.Versions[0].present() {
		t.Errorf("the newest version is %+v, %t", res, ok)
	}
	many := make([]kv.Key, atHandKeysMax+1)
	for i := range many {
		many[i] = k
	}
	for name, task := range map[string]ReadTask{
		"a key that is not there": {Read: &kv.Read{Keys: []kv.Key{k, absent}}},
		"many keys":               {Read: &kv.Read{Keys: many}},
		"a scan":                  {Scan: &kv.Scan{}},
		"a span":                  {Evaluation: &Evaluation{Keys: marks, Spans: []kv.Span{{}}}},
		"a lookup":                {Lookup: &Lookup{Anchor: k}},
		"a lock":                  {Read: &kv.Read{Keys: []kv.Key{k}}, Candidates: []Candidate{{Key: k}}},
		"a follower":              {Read: &kv.Read{Keys: []kv.Key{k}}, follow: &follow{}},
		"a traced read":           {Read: &kv.Read{Keys: []kv.Key{k}}, timer: &timer{}},
	} {
		if res, ok := at(task); ok {
			t.Errorf("%s is answered from what is at hand: %+v", name, res)
		}
	}
}
