package main

import (
	"fmt"
	"time"

	"github.com/kvd-db/kvd/bench"
)

// staleReads is how old the state is that gets at any replica read.
const staleReads = 5 * time.Second

// transactionPoints are those of the second table. etcd's transactions are what its users write: a
// read, then a put of all keys under the condition that none of them has changed, from the start
// again if one has. All of etcd is one partition.
func transactionPoints() []point {
	all := []point{
		{
			name: "tx2one", title: "transactions that read and write 2 keys of one partition, 16 workers", workload: "tx", workers: 16,
			contenders: []contender{etcdAll, kvdHash},
			verdicts:   []verdict{{text: "2-key transactions/s in one partition, 16 workers", metric: opsPerSecond, of: 1, floor: 2.5, goal: 4}},
		},
		{
			name: "tx2cross", title: "transactions that read and write 2 keys of two partitions, 16 workers (rounds four times as long)", workload: "tx", workers: 16, longer: 4,
			contenders: []contender{
				etcdAll,
				{label: "kvd, two partitions", side: "kvd", space: spaceHash8, across: true},
				{label: "kvd, one partition", side: "kvd", space: spaceHash8},
			},
			verdicts: []verdict{
				{text: "2-key transactions/s across two partitions, 16 workers", metric: opsPerSecond, of: 1, floor: 1.3, goal: 2.5},
				{
					text: "server CPU of a 2-key transaction, two partitions against one", metric: serverCPUMicros,
					of: 1, to: 2, floor: 2, goal: 1.6, atMost: true,
				},
			},
		},
		{
			name: "view10", title: "read-only transactions of 10 keys over 8 partitions, 64 workers", workload: "tx", workers: 64,
			tx:         bench.TxOptions{Keys: 10, Reads: 1},
			contenders: []contender{etcdAll, {label: "kvd", side: "kvd", space: spaceHash8, across: true}},
			verdicts:   []verdict{{text: "read-only transactions/s of 10 keys, 64 workers", metric: opsPerSecond, of: 1, floor: 1.5, goal: 3}},
		},
		{
			name: "follower64", title: "gets at any replica, 64 workers: kvd's state 5 s ago, etcd's serializable gets", workload: "get", workers: 64,
			contenders: []contender{
				{label: "etcd, serializable", side: "etcd", stale: staleReads},
				{label: "kvd, stale by 5 s", side: "kvd", space: spaceHash8, stale: staleReads},
			},
			verdicts: []verdict{{text: "gets/s at any replica, stale by 5 s, 64 workers", metric: opsPerSecond, of: 1, floor: 2.5, goal: 4.5}},
		},
		{
			name: "bank100", title: "bank: transfers between 100 accounts, 64 workers, audits beside; PostgreSQL: one node, serializable", workload: workloadBank, workers: 64,
			contenders: []contender{postgres, kvdHash},
			verdicts: []verdict{
				{text: "bank of 100 accounts, commits/s, 64 workers", metric: opsPerSecond, of: 1, floor: 0.5},
				{text: "bank of 100 accounts, p99 of a commit, 64 workers", metric: p99MS, of: 1, atMost: true},
			},
		},
		besideSnapshots("putsbesidescan", "puts, 64 workers", 0),
		besideSnapshots("ratedbesidescan", fmt.Sprintf("%d puts a second", besideRate), besideRate),
	}
	for _, letter := range "abcdef" {
		// Scans are where keys in order count.
		kvd := kvdHash
		if letter == 'e' {
			kvd.space = spaceRange8
		}
		all = append(all, point{
			name: fmt.Sprintf("ycsb-%c", letter), title: fmt.Sprintf("YCSB %c, 64 workers, 100 B, keys in order", letter-'a'+'A'),
			workload: fmt.Sprintf("ycsb-%c", letter), workers: 64,
			contenders: []contender{etcdAll, kvd},
			verdicts:   []verdict{{text: fmt.Sprintf("YCSB %c, operations/s, 64 workers", letter-'a'+'A'), metric: opsPerSecond, of: 1, floor: 2.5, goal: 4}},
		})
	}
	for i := range all {
		all[i].group = groupTransactions
	}
	return all
}

// besideRate is a load of writes that leaves a part of two cores free.
const besideRate = 10_000

// besideSnapshots is about what reads of everything cost the writes beside them.
func besideSnapshots(name, what string, rate float64) point {
	return point{
		name: name, title: what + ", 100 B, 8 hash partitions, beside snapshots of the whole key space (rounds six times as long)",
		workload: "put", workers: 64, longer: 6, rate: rate,
		contenders: []contender{
			{label: "kvd, alone", side: "kvd", space: spaceHash8},
			{label: "kvd, with snapshots", side: "kvd", space: spaceHash8, snapshots: 1},
		},
		verdicts: []verdict{{text: "p99 of " + what + " beside snapshots of the whole key space, against alone", metric: p99MS, of: 1, floor: 1.2, atMost: true}},
	}
}

// txOptions are the dials of a contender.
func (p point) txOptions(c contender) bench.TxOptions {
	o := p.tx
	if c.across {
		o.Cross = 1
	}
	return o
}
