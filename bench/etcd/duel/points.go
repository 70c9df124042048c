package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kvd-db/kvd/bench"
)

// point is one line of a table: contenders that are measured in turns.
type point struct {
	name     string
	group    string // of the table that it belongs to
	title    string
	workload string // of package bench
	workers  int
	oneKey   bool // all operations on one key
	// longer is how many times as long as others a round takes, 0 is 1: where contenders share servers,
	// what one has written is flushed and compacted in the other's turn if turns are short.
	longer     int
	rate       float64         // operations a second, each timed from its planned start; 0: as many as there can be
	tx         bench.TxOptions // of the workload tx
	contenders []contender
	verdicts   []verdict
}

// contender is one side in one way of using it. The first of a point is what the ratios of its
// table refer to.
type contender struct {
	label     string
	side      string
	space     string
	pinned    bool          // all to the node that leads
	scanners  int           // workers that scan scanRows rows meanwhile
	snapshots int           // workers that read the whole key space at one time meanwhile
	across    bool          // transactions are spread over all partitions
	stale     time.Duration // how old the state is that gets read; 0: the newest
}

// place names the key space on its side.
func (c contender) place() string { return strings.Trim(c.side+"/"+c.space, "/") }

// verdict compares a figure of two contenders of a point with what is demanded.
type verdict struct {
	text   string
	metric metric
	of, to int     // indexes of the contenders
	floor  float64 // 0: there is none, the ratio is only reported
	goal   float64 // 0: there is none beyond the floor
	atMost bool    // a smaller ratio is the better one
}

// workloadBank is the one of package bench that brings its own records.
const workloadBank = "bank"

// scanRows is the length of the scans beside the puts.
const scanRows = 10_000

var (
	etcdAll  = contender{label: "etcd", side: "etcd"}
	postgres = contender{label: "postgres", side: "postgres"}
	kvdHash  = contender{label: "kvd", side: "kvd", space: spaceHash8}
)

// The groups of points: those of a run that names none are of speed.
const (
	groupSpeed        = "speed"
	groupTransactions = "transactions"
)

// points are all of them, in the order of the tables.
var points = append(slices.Clone(speedPoints), transactionPoints()...)

var speedPoints = []point{
	{
		group: groupSpeed, name: "put64", title: "puts, 64 workers, 100 B, 8 hash partitions", workload: "put", workers: 64,
		contenders: []contender{etcdAll, kvdHash},
		verdicts:   []verdict{{text: "puts/s, 64 workers", metric: opsPerSecond, of: 1, floor: 2.5, goal: 5}},
	},
	{
		group: groupSpeed, name: "put256", title: "puts, 256 workers, 100 B, 8 hash partitions", workload: "put", workers: 256,
		contenders: []contender{etcdAll, kvdHash},
		verdicts:   []verdict{{text: "puts/s, 256 workers", metric: opsPerSecond, of: 1, floor: 3, goal: 6}},
	},
	{
		group: groupSpeed, name: "put1", title: "puts, 1 worker, 100 B, 8 hash partitions", workload: "put", workers: 1,
		contenders: []contender{etcdAll, kvdHash},
		verdicts:   []verdict{{text: "put p50, 1 worker", metric: p50MS, of: 1, floor: 0.85, goal: 0.6, atMost: true}},
	},
	{
		group: groupSpeed, name: "onekey", title: "puts to one single key, 64 workers, 100 B", workload: "put", workers: 64, oneKey: true,
		contenders: []contender{etcdAll, kvdHash},
		verdicts:   []verdict{{text: "puts/s to one single key, 64 workers", metric: opsPerSecond, of: 1, floor: 1.5, goal: 4}},
	},
	{
		group: groupSpeed, name: "put1scan", title: "puts, 1 worker, while the same node serves scans of 10,000 rows", workload: "put", workers: 1,
		contenders: []contender{
			{label: "etcd, alone", side: "etcd", pinned: true},
			{label: "etcd, with scans", side: "etcd", pinned: true, scanners: 1},
			{label: "kvd, alone", side: "kvd", space: spaceHash1, pinned: true},
			{label: "kvd, with scans", side: "kvd", space: spaceHash1, pinned: true, scanners: 1},
		},
		verdicts: []verdict{{
			text: "put p50, 1 worker, with scans of 10,000 rows on the same node, against alone", metric: p50MS,
			of: 3, to: 2, floor: 2, goal: 1.3, atMost: true,
		}},
	},
	{
		group: groupSpeed, name: "partitions", title: "puts, 256 workers, 100 B, 16 hash partitions against 1 (rounds four times as long)", workload: "put", workers: 256, longer: 4,
		contenders: []contender{
			{label: "kvd, 1 partition", side: "kvd", space: spaceHash1},
			{label: "kvd, 16 partitions", side: "kvd", space: spaceHash16},
		},
		verdicts: []verdict{{
			text: "16 partitions against 1, server CPU a put", metric: serverCPUMicros,
			of: 1, floor: 1.4, goal: 1.1, atMost: true,
		}},
	},
	{
		group: groupSpeed, name: "get64", title: "strong gets, 64 workers, 8 hash partitions", workload: "get", workers: 64,
		contenders: []contender{etcdAll, kvdHash},
		verdicts:   []verdict{{text: "strong gets/s, 64 workers", metric: opsPerSecond, of: 1, floor: 2.5, goal: 4}},
	},
	{
		group: groupSpeed, name: "scan100", title: "scans of 100 rows, 16 workers (etcd: bounded range)", workload: "scan", workers: 16,
		contenders: []contender{
			etcdAll,
			{label: "kvd, 8 ranges", side: "kvd", space: spaceRange8},
			{label: "kvd, 8 hash partitions", side: "kvd", space: spaceHash8},
		},
		verdicts: []verdict{
			{text: "scans/s of 100, 16 workers, keyspace of scheme range", metric: opsPerSecond, of: 1, floor: 2, goal: 4},
			{text: "scans/s of 100, 16 workers, merged over 8 hash partitions", metric: opsPerSecond, of: 2, floor: 2, goal: 4},
		},
	},
}

func pointNames() []string {
	var names []string
	for _, p := range points {
		names = append(names, p.name)
	}
	return names
}

// namesOf are the points of a group.
func namesOf(group string) []string {
	var names []string
	for _, p := range points {
		if p.group == group {
			names = append(names, p.name)
		}
	}
	return names
}

// choose gives the points of a list of names and groups, those of speed for an empty one, and of
// each the contenders of the sides that take part.
func choose(list string, sides []string) ([]point, error) {
	want := splitList(list)
	if len(want) == 0 {
		want = []string{groupSpeed}
	}
	for _, w := range want {
		if len(namesOf(w)) == 0 && !slices.Contains(pointNames(), w) {
			return nil, fmt.Errorf("there is no point %q: they are %s, and the groups %s and %s", w, strings.Join(pointNames(), " "), groupSpeed, groupTransactions)
		}
	}
	var chosen []point
	for _, p := range points {
		if !slices.Contains(want, p.name) && !slices.Contains(want, p.group) {
			continue
		}
		if p = p.only(sides); len(p.contenders) > 0 {
			chosen = append(chosen, p)
		}
	}
	return chosen, nil
}

// only leaves the contenders of some sides. Verdicts that compare a missing one are left out.
func (p point) only(sides []string) point {
	index := make([]int, len(p.contenders))
	var kept []contender
	for i, c := range p.contenders {
		index[i] = -1
		if slices.Contains(sides, c.side) {
			index[i] = len(kept)
			kept = append(kept, c)
		}
	}
	var verdicts []verdict
	for _, v := range p.verdicts {
		v.of, v.to = index[v.of], index[v.to]
		if v.of >= 0 && v.to >= 0 {
			verdicts = append(verdicts, v)
		}
	}
	p.contenders, p.verdicts = kept, verdicts
	return p
}

func splitList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}
