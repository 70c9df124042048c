package core

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/kvd-db/kvd/kv"
)

// TestStories runs the scripts in testdata/stories: each is one situation, and prints what the
// machine asked of its surroundings.
//
//	found nodes=N replicas=N [zones=N] [dead=DUR]   a new cluster, its core led in term 1, nothing committed
//	run ms=N [quiet]       time passes: nodes report, orders are done, proposals are committed
//	tick ms=N [wall=MS]    time passes and nothing else; wall: how far the wall clock moves, default ms
//	commit                 what is proposed is applied
//	elect                  another term begins; what is not committed is lost
//	kill / revive / drain node=N; damage node=N p=N; join address=A nonce=N [zone=Z]
//	create name=S [buckets=N | split=(a,b)]; drop name=S; change p=N [add=N] [remove=N]; cancel id=N
//	draw from=N seq=N count=N; status; topology [name=S]; keys; reload
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		s := &story{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return s.do(t, d) })
	})
}

type story struct{ f *fakeCluster }

func (s *story) do(t *testing.T, d *datadriven.TestData) string {
	if d.Cmd == "found" {
		s.found(t, d)
		return s.said()
	}
	f := s.f
	f.t = t
	switch d.Cmd {
	case "run":
		f.run(time.Duration(intArg(t, d, "ms", 0)) * time.Millisecond)
		if d.HasArg("quiet") {
			f.trace = nil
		}
	case "tick":
		ms := intArg(t, d, "ms", 0)
		f.now += kv.Instant(ms) * kv.Instant(time.Millisecond)
		f.wall += int64(intArg(t, d, "wall", ms))
		f.m.Tick(f.now, f.wall)
	case "commit":
		f.commit()
	case "elect":
		f.elect()
	case "kill", "revive":
		f.nodes[kv.NodeID(intArg(t, d, "node", 0))].alive = d.Cmd == "revive"
	case "drain":
		f.nodes[kv.NodeID(intArg(t, d, "node", 0))].draining = true
	case "damage":
		n, p := kv.NodeID(intArg(t, d, "node", 0)), kv.PartitionID(intArg(t, d, "p", 0))
		r, _ := f.parts[p].desc.ReplicaOn(n)
		f.nodes[n].damaged[ReplicaRef{p, r.ID}] = true
	case "draw":
		f.m.Draw(kv.NodeID(intArg(t, d, "from", 1)), Draw{Seq: uint64(intArg(t, d, "seq", 0)), Count: uint32(intArg(t, d, "count", 1))})
	case "cancel":
		f.m.Cancel(RequestID(intArg(t, d, "id", 0)))
	case "keys":
		return s.keys()
	case "reload":
		return s.reload(t)
	default:
		return s.admin(t, d)
	}
	return s.said()
}

func (s *story) found(t *testing.T, d *datadriven.TestData) {
	opts := Options{Self: 1, DeadAfter: time.Duration(intArg(t, d, "dead", 10)) * time.Second}
	s.f = newFakeCluster(t, opts)
	zones := intArg(t, d, "zones", 1)
	s.f.found(intArg(t, d, "nodes", 3), intArg(t, d, "replicas", 3), func(i int) string {
		if zones == 1 {
			return ""
		}
		return fmt.Sprintf("zone=%c", 'a'+(i-1)%zones)
	})
}

func (s *story) admin(t *testing.T, d *datadriven.TestData) string {
	req := &kv.AdminRequest{}
	switch d.Cmd {
	case "create":
		c := &kv.CreateKeyspace{Name: textArg(t, d, "name"), Scheme: kv.SchemeRange, Partitions: intArg(t, d, "buckets", 0)}
		if c.Partitions != 0 {
			c.Scheme = kv.SchemeHash
		}
		for _, a := range d.CmdArgs {
			if a.Key == "split" {
				for _, v := range a.Vals {
					c.SplitAt = append(c.SplitAt, []byte(v))
				}
			}
		}
		req.CreateKeyspace = c
	case "drop":
		req.DropKeyspace = &kv.DropKeyspace{Name: textArg(t, d, "name")}
	case "join":
		req.Join = &kv.JoinCluster{Address: textArg(t, d, "address"), Locality: textArg(t, d, "zone"), Nonce: uint64(intArg(t, d, "nonce", 0))}
	case "change":
		req.ChangeReplicas = &kv.ChangeReplicas{
			Partition: kv.PartitionID(intArg(t, d, "p", 0)), Add: kv.NodeID(intArg(t, d, "add", 0)), Remove: kv.NodeID(intArg(t, d, "remove", 0)),
		}
	case "status":
		req.Status = &kv.StatusQuery{}
	case "topology":
		req.Topology = &kv.TopologyQuery{Keyspace: textArg(t, d, "name"), Local: d.HasArg("local")}
	default:
		t.Fatalf("%s: what is %q?", d.Pos, d.Cmd)
	}
	id := s.f.admin(req)
	if d.Cmd == "join" {
		s.f.commit()
		if r := s.f.replies[id]; r.err == nil && r.resp != nil && s.f.nodes[r.resp.Join.Node] == nil {
			s.f.addNode(r.resp.Join.Node)
		}
	}
	return s.said()
}

func (s *story) said() string {
	if len(s.f.trace) == 0 {
		return "ok"
	}
	out := strings.Join(s.f.trace, "\n")
	s.f.trace = nil
	return out
}

func (s *story) keys() string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(s.f.keys)) {
		fmt.Fprintf(&b, "%s = %q\n", k, s.f.keys[k])
	}
	return b.String()
}

// reload replaces the machine by one that is loaded from the system keys, not leading.
func (s *story) reload(t *testing.T) string {
	s.f.m = loaded(t, s.f.opts, s.f, s.f.keys)
	return fmt.Sprintf("revision %d", s.f.m.Revision())
}

func intArg(t *testing.T, d *datadriven.TestData, key string, value int) int {
	d.MaybeScanArgs(t, key, &value)
	return value
}

func textArg(t *testing.T, d *datadriven.TestData, key string) (value string) {
	d.MaybeScanArgs(t, key, &value)
	return value
}
