package main

import (
	"bytes"
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/kvd-db/kvd/bench"
	"github.com/kvd-db/kvd/bench/ycsb"
	"github.com/kvd-db/kvd/kv"
)

// The table of points can be measured: workloads and key spaces exist, verdicts compare what
// is there, and limits are on the right side of each other.
func TestPoints(t *testing.T) {
	for _, p := range points {
		if !slices.Contains(bench.Workloads(), p.workload) || p.workers < 1 || len(p.verdicts) == 0 {
			t.Errorf("%s: workload %q with %d workers and %d verdicts", p.name, p.workload, p.workers, len(p.verdicts))
		}
		for _, c := range p.contenders {
			if c.side == "kvd" {
				if _, err := schemeOf(c.space, 1000); err != nil {
					t.Errorf("%s, %s: %v", p.name, c.label, err)
				}
			}
		}
		for _, c := range p.contenders {
			o := bench.Options{Workload: p.workload, Workers: p.workers, Tx: p.txOptions(c)}.WithDefaults()
			if err := o.Validate(); err != nil {
				t.Errorf("%s, %s: %v", p.name, c.label, err)
			}
		}
		for _, v := range p.verdicts {
			if v.of == v.to || v.of >= len(p.contenders) || v.to >= len(p.contenders) || v.goal != 0 && (v.goal < v.floor) != v.atMost {
				t.Errorf("%s: verdict %+v", p.name, v)
			}
		}
	}
}

func TestChoose(t *testing.T) {
	both := []string{"etcd", "kvd"}
	speed, err := choose("", both)
	if err != nil || len(speed) != len(speedPoints) || speed[0].name != "put64" {
		t.Errorf("%d points, %v; want the %d of speed", len(speed), err, len(speedPoints))
	}
	second, err := choose("transactions", both)
	if err != nil || len(second) != 13 || second[0].name != "tx2one" || second[12].name != "ycsb-f" {
		t.Errorf("%v, %v; want the thirteen points of transactions", second, err)
	}
	if all, err := choose("transactions,speed", both); err != nil || len(all) != len(points) {
		t.Errorf("%d points, %v; want all %d", len(all), err, len(points))
	}
	if mixed, err := choose("transactions,put64", both); err != nil || len(mixed) != 14 || mixed[0].name != "put64" {
		t.Errorf("%v, %v; want a point and a group", mixed, err)
	}
	two, err := choose("scan100,put1", both)
	if err != nil || len(two) != 2 || two[0].name != "put1" || two[1].name != "scan100" {
		t.Errorf("%v, %v; want put1 and scan100 in the order of the table", two, err)
	}
	if _, err := choose("put64,put65", both); err == nil || !strings.Contains(err.Error(), "put65") {
		t.Errorf("%v; want an error that names put65", err)
	}
}

// Without etcd the points that compare kvd with itself keep their verdicts, with the indexes
// of the contenders that are left.
func TestOnly(t *testing.T) {
	left, err := choose("put64,put1scan", []string{"kvd"})
	if err != nil || len(left) != 2 {
		t.Fatalf("%v, %v", left, err)
	}
	if len(left[0].contenders) != 1 || len(left[0].verdicts) != 0 {
		t.Errorf("put64 without etcd: %+v", left[0])
	}
	if v := left[1].verdicts; len(left[1].contenders) != 2 || len(v) != 1 || v[0].of != 1 || v[0].to != 0 {
		t.Errorf("put1scan without etcd: %+v", left[1])
	}
	if points[4].verdicts[0].of != 3 {
		t.Error("the table itself was changed")
	}
	if left, err = choose("partitions", []string{"etcd"}); err != nil || len(left) != 0 {
		t.Errorf("partitions without kvd: %v, %v", left, err)
	}
}

func TestJudge(t *testing.T) {
	more, less := verdict{floor: 2.5, goal: 5}, verdict{floor: 0.85, goal: 0.6, atMost: true}
	atMostFloor, atLeastFloor := verdict{floor: 1.2, atMost: true}, verdict{floor: 0.5}
	for _, c := range []struct {
		v    verdict
		x    float64
		want string
	}{
		{more, 2.4, "BELOW THE FLOOR"},
		{more, 2.5, "floor reached"},
		{more, 5, "goal reached"},
		{less, 0.9, "BELOW THE FLOOR"},
		{less, 0.85, "floor reached"},
		{less, 0.6, "goal reached"},
		{less, math.NaN(), "not measured"},
		{atMostFloor, 0.5, "floor reached"},
		{atMostFloor, 1.3, "BELOW THE FLOOR"},
		{atLeastFloor, 9, "floor reached"},
		{atLeastFloor, 0.4, "BELOW THE FLOOR"},
		{verdict{}, 7, "reported"},
		{verdict{}, math.NaN(), "not measured"},
	} {
		if got := c.v.judge(c.x); got != c.want {
			t.Errorf("%v of floor %v, goal %v: %q, want %q", c.x, c.v.floor, c.v.goal, got, c.want)
		}
	}
}

func outcomeOf(name string, rounds ...[]figures) outcome {
	p, _ := choose(name, []string{"etcd", "kvd"})
	o := outcome{point: p[0], rounds: rounds, errors: make([]int64, len(rounds))}
	for _, r := range rounds {
		o.medians = append(o.medians, medians(r))
	}
	return o
}

// Transactions across partitions are compared with etcd, and in CPU with kvd's own in one.
func TestCrossingPoint(t *testing.T) {
	o := outcomeOf("tx2cross",
		[]figures{{opsPerSecond: 1000, serverCPUMicros: 900}},
		[]figures{{opsPerSecond: 1500, serverCPUMicros: 700, attemptsPerTx: 1.25}},
		[]figures{{opsPerSecond: 4000, serverCPUMicros: 400}})
	rows := verdictTable([]outcome{o}).rows
	if len(rows) != 2 || rows[0][1] != "etcd" || rows[0][6] != "floor reached" || rows[1][1] != "kvd, one partition" || rows[1][2] != "1.75" || rows[1][6] != "floor reached" {
		t.Errorf("%q", rows)
	}
	if p := o.point; p.txOptions(p.contenders[1]).Cross != 1 || p.txOptions(p.contenders[2]).Cross != 0 {
		t.Errorf("%+v", p.contenders)
	}
	var text bytes.Buffer
	writeText(&text, o)
	if !strings.Contains(text.String(), "1.25") {
		t.Errorf("attempts are not shown:\n%s", &text)
	}
}

func TestVerdictTable(t *testing.T) {
	good := outcomeOf("put64",
		[]figures{{opsPerSecond: 1000}, {opsPerSecond: 2000}, {opsPerSecond: 1100}},
		[]figures{{opsPerSecond: 5000}, {opsPerSecond: 6000}, {opsPerSecond: 5500}})
	bad := outcomeOf("put1")
	bad.failure = errors.New("broken")
	got := verdictTable([]outcome{good, bad}).rows
	want := [][]string{
		{"puts/s, 64 workers", "etcd", "5", "3 - 5", ">= 2.50", ">= 5", "goal reached"},
		{"put p50, 1 worker", "etcd", "-", "-", "<= 0.850", "<= 0.600", "FAILED"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestMarkdown(t *testing.T) {
	d := &duel{settings: settings{rounds: 1, seconds: 2, keys: 3}, errors: errorCounts{}}
	d.errors.add(errorKey{"put64", "kvd", "update", "timeout"}, 3, "it took | too\nlong")
	d.errors.add(errorKey{"put64", "kvd", "update", "timeout"}, 4, "another")
	text := d.markdownText("about\n", []outcome{outcomeOf("put64", []figures{{opsPerSecond: 1000, deviceBytes: nan}}, []figures{{opsPerSecond: 2000}})})
	for _, want := range []string{"| puts/s, 64 workers | etcd | 2 |", "| kvd | 2000 | 2 |", "BELOW THE FLOOR", "| put64 | kvd | update | timeout | 7 | it took / too long |"} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
}

func TestKeys(t *testing.T) {
	for _, n := range []int{1, 7, 300} {
		for i, k := range bucketKeys(n) {
			if b := kv.Bucket(k, n); int(b) != i {
				t.Errorf("key %d of %d lies in bucket %d", i, n, b)
			}
		}
	}
	splits := evenSplits(8, 1000)
	if len(splits) != 7 || !slices.IsSortedFunc(splits, bytes.Compare) || !bytes.Equal(splits[3], ycsb.AppendKey(nil, 500, ycsb.Ordered)) {
		t.Errorf("splits are %q", splits)
	}
}

func TestParseReady(t *testing.T) {
	m, err := parseReady("ready listen=127.0.0.1:1 admin=127.0.0.1:2 node=3")
	if err != nil || m != (kvdMember{address: "127.0.0.1:1", admin: "127.0.0.1:2", node: 3}) {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := parseReady("ready or not"); err == nil {
		t.Error("a line that says nothing was read")
	}
}

func TestParseFlags(t *testing.T) {
	s, err := parse([]string{"-rounds", "5", "-sides", "kvd"})
	if err != nil || s.rounds != 5 || s.seconds != 10 || !slices.Equal(s.sides, []string{"kvd"}) {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = parse([]string{"-idle", "100"}); err != nil || s.seconds != 30 {
		t.Errorf("-idle looks on for %v s, %v; want 30", s.seconds, err)
	}
	for _, bad := range [][]string{{"x"}, {"-rounds", "0"}, {"-sides", "redis"}, {"-sides", ""}, {"-keys", "1"}, {"-seconds", "-1"}, {"-idle", "1", "-failover", "1"}, {"-partitions", "5000"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// Only sides that have something to do take part, and PostgreSQL only if it is there.
func TestPartake(t *testing.T) {
	all := []string{"etcd", "kvd", "postgres"}
	for _, c := range []struct {
		name, points, postgres string
		failovers              int
		want                   []string
		contenders             int // of the last point
		says                   bool
	}{
		{"speed", "", "/bin/sh", 0, []string{"etcd", "kvd"}, 3, false},
		{"one", "putsbesidescan", "/bin/sh", 0, []string{"kvd"}, 2, false},
		{"bank", "bank100", "/bin/sh", 0, []string{"kvd", "postgres"}, 2, false},
		{"bank alone", "bank100", "/does/not/exist", 0, []string{"kvd"}, 1, true},
		{"none asked for", "put1", "/does/not/exist", 0, []string{"etcd", "kvd"}, 2, false},
		{"failover", "", "/does/not/exist", 3, []string{"etcd", "kvd"}, 0, false},
	} {
		var said strings.Builder
		s := settings{points: c.points, postgres: c.postgres, sides: all, modes: modes{failovers: c.failovers}}
		chosen, err := s.partake(&said)
		if err != nil || !slices.Equal(s.sides, c.want) || strings.Contains(said.String(), "left out") != c.says || strings.Count(said.String(), "\n") > 1 {
			t.Errorf("%s: %v, %v, said %q", c.name, s.sides, err, said.String())
		}
		if n := len(chosen); (n > 0) != (c.contenders > 0) || n > 0 && len(chosen[n-1].contenders) != c.contenders {
			t.Errorf("%s: %+v", c.name, chosen)
		}
	}
}

// A point of which nothing is demanded but that it is reported says so.
func TestReportedPoint(t *testing.T) {
	p, err := choose("bank100", []string{"kvd", "postgres"})
	if err != nil || len(p) != 1 {
		t.Fatalf("%v, %v", p, err)
	}
	o := outcome{point: p[0], errors: make([]int64, 2)}
	for _, f := range []figures{{opsPerSecond: 1000, p99MS: 5}, {opsPerSecond: 2000, p99MS: 20}} {
		o.rounds, o.medians = append(o.rounds, []figures{f}), append(o.medians, f)
	}
	got := verdictTable([]outcome{o}).rows
	if len(got) != 2 || !slices.Equal(got[0][1:], []string{"postgres", "2", "2 - 2", ">= 0.500", "-", "floor reached"}) ||
		!slices.Equal(got[1][1:], []string{"postgres", "4", "4 - 4", "-", "-", "reported"}) {
		t.Errorf("%q", got)
	}
}

func TestErrorKind(t *testing.T) {
	etcd, kvd := newWitness(&etcdTarget{}), newWitness(&kvdTarget{})
	for _, c := range []struct {
		of   *witness
		err  error
		want string
	}{
		{etcd, rpctypes.ErrLeaderChanged, "unavailable"},
		{etcd, context.DeadlineExceeded, "timeout"},
		{etcd, errors.New("x"), "other"},
		{kvd, kv.Errorf(kv.Unavailable, "no quorum"), "unavailable"},
		{kvd, bench.ErrNotFound, "not found"},
	} {
		if got := c.of.ErrorKind(c.err); got != c.want {
			t.Errorf("%v is %q, want %q", c.err, got, c.want)
		}
	}
	_ = kvd.ErrorKind(kv.Errorf(kv.Unavailable, "later"))
	if got := kvd.said("unavailable"); !strings.Contains(got, "no quorum") {
		t.Errorf("the first error said %q", got)
	}
}
