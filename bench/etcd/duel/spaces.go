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
	switch space {
	case spaceHash8:
		return client.ByHash(8), nil
	case spaceHash1:
		return client.ByHash(1), nil
	case spaceHash16:
		return client.ByHash(16), nil
	case spaceRange8:
		return client.ByRange(evenSplits(8, keys)...), nil
	}
	return client.Scheme{}, fmt.Errorf("there is no key space %q", space)
}

// evenSplits cuts the harness' keys into n ranges of the same size.
func evenSplits(n, keys int) [][]byte {
	var at [][]byte
	for i := 1; i < n; i++ {
		at = append(at, ycsb.AppendKey(nil, uint64(i*keys/n), ycsb.Ordered))
	}
	return at
}
