package main

import (
	"fmt"

	"github.com/kvd-db/kvd/bench/ycsb"
	"github.com/kvd-db/kvd/client"
)

// The key spaces: keyspaces of kvd. In etcd all of them are its one space of keys.
const (
	spaceHash8  = "hash8"
	spaceHash1  = "hash1"
	spaceHash16 = "hash16"
	spaceRange8 = "range8"
)

// schemeOf is how kvd cuts a key space that holds the harness' keys 0..keys-1.
func schemeOf(space string, keys int) (client.Scheme, error) {
	if n := bucketsOf(space); n > 0 {
		return client.ByHash(n), nil
	}
	if space == spaceRange8 {
		return client.ByRange(evenSplits(8, keys)...), nil
	}
	return client.Scheme{}, fmt.Errorf("there is no key space %q", space)
}

// bucketsOf is how many hash partitions a key space has; 0: it is no such one.
func bucketsOf(space string) int {
	return map[string]int{spaceHash1: 1, spaceHash8: 8, spaceHash16: 16}[space]
}

// evenSplits cuts the harness' keys into n ranges of the same size.
func evenSplits(n, keys int) [][]byte {
	var at [][]byte
	for i := 1; i < n; i++ {
		at = append(at, ycsb.AppendKey(nil, uint64(i*keys/n), ycsb.Ordered))
	}
	return at
}
