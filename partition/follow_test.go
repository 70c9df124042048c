package partition

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/kvd-db/kvd/kv"
)

// follower is the part of a story that a replica which does not lead would play. It reads the same engine.
type follower struct {
	task *ReadTask
}

// follow runs a read of a follower until it is answered, or waits for anchors.
func (s *story) follow(d *datadriven.TestData) {
	switch d.Cmd {
	case "follow":
		w, q := s.words(d), &kv.Request{Partition: testPartition}
		if w[0] == "scan" {
			q.Scan = &kv.Scan{Span: kv.Span{Start: kv.Key(w[1]), End: kv.Key(w[2])}, Keys: s.number(d, "keys", 0)}
		} else {
			q.Read = &kv.Read{}
			for _, k := range w[1:] {
				q.Read.Keys = append(q.Read.Keys, kv.Key(k))
			}
		}
		at, applied := s.stampArg(d, "at", 0), s.number(d, "applied", int(s.machine.State().Applied))
		s.follower.task = FollowerTask(s.request(d), q, at, s.heard, kv.ReplicaID(s.number(d, "replica", 1)), kv.LogIndex(applied))
		s.followOn()
	case "anchor":
		resp, err := s.parseAnswer(d, d.CmdArgs[1])
		if !s.follower.task.Answered(s.atoi(d.CmdArgs[0].Key), resp, err) {
			s.say("r%d: for the leader", s.follower.task.Request)
		} else if t, ok := s.follower.task.Again(); ok {
			s.follower.task = t
			s.followOn()
		}
	}
}

func (s *story) followOn() {
	t := s.follower.task
	res := s.execute(t)
	if !t.Unanswered(res) {
		s.say("r%d: %s", t.Request, answer(res.Response, res.Err))
		return
	}
	qs, ok := t.Questions(res)
	if !ok {
		s.say("r%d: for the leader", t.Request)
	}
	for i, q := range qs {
		s.say("question %d to p%d: %s", i, q.Partition, describeCall(q))
	}
}

// parseAnswer is what a story says of the answer to a call.
func (s *story) parseAnswer(d *datadriven.TestData, a datadriven.CmdArg) (resp *kv.Response, err *kv.Error) {
	resp = &kv.Response{Term: kv.Term(s.number(d, "term", 1))}
	switch a.Key {
	case "ok", "undecided":
	case "never":
		return nil, kv.Errorf(kv.Aborted, "so the story wants it")
	case "aborted":
		resp.Outcome = kv.OutcomeAborted
	case "committed":
		resp.Outcome, resp.Timestamp = kv.OutcomeCommitted, s.stamp(a.Vals[0])
	default:
		for k := kv.Kind(1); k <= kv.KindMax; k++ {
			if strings.ReplaceAll(k.String(), " ", "-") == a.Key {
				return nil, kv.Errorf(k, "so the story wants it")
			}
		}
		s.t.Fatalf("%s: unknown answer %q", d.Pos, a.Key)
	}
	return resp, nil
}

// TestFollowLocksMax: a read of a follower asks about so many locks, and leaves what meets more of them to the
// leader. It does not look for more than it needs to know that.
func TestFollowLocksMax(t *testing.T) {
	w := ledWorld(t, Options{})
	var all []kv.Key
	lock := func(id, n int) {
		t.Helper()
		q := &kv.Prepare{Attempt: kv.Attempt{ID: testID(id), Term: 1, AsOf: 1, Partition: testPartition + 1, Anchor: kv.Key("a")}}
		for range n {
			key := kv.Key(fmt.Sprintf("k%06d", len(all)))
			all = append(all, key)
			q.Writes = append(q.Writes, kv.Write{Kind: kv.WritePut, Key: key, Value: []byte("v")})
		}
		if _, err := w.ask(&kv.Request{Prepare: q}); err != nil {
			t.Fatal(err)
		}
	}
	read := func(q *kv.Request) (*ReadTask, *ReadResult) {
		q.Partition = testPartition
		task := FollowerTask(1, q, 100, w.heard, 1, w.machine.State().Applied)
		return task, w.execute(task)
	}
	scan := &kv.Request{Scan: &kv.Scan{Span: w.desc.Span}}
	lock(1, followLocksMax)
	for name, q := range map[string]*kv.Request{"scan": scan, "read": {Read: &kv.Read{Keys: slices.Clone(all)}}} {
		task, res := read(q)
		questions, ok := task.Questions(res)
		if !ok || len(questions) != 1 || len(res.met) != followLocksMax {
			t.Fatalf("%s: %d locks, %d questions, %t; %v", name, len(res.met), len(questions), ok, res.Err)
		}
		if !task.Answered(0, &kv.Response{Outcome: kv.OutcomeCommitted, Timestamp: 50}, nil) {
			t.Fatalf("%s: the answer is refused", name)
		}
		again, ok := task.Again()
		if !ok {
			t.Fatalf("%s: an answer is missing", name)
		}
		if res := w.execute(again); res.Err != nil || len(res.Response.Rows) != followLocksMax {
			t.Fatalf("%s: %v, %+v", name, res.Err, res.Response)
		}
	}
	lock(2, 2)
	for name, q := range map[string]*kv.Request{"scan": scan, "read": {Read: &kv.Read{Keys: all[1:]}}} {
		task, res := read(q)
		questions, ok := task.Questions(res)
		if ok || questions != nil || len(res.met) != followLocksMax+1 {
			t.Errorf("%s: %d locks, %d questions, %t", name, len(res.met), len(questions), ok)
		}
	}
}
