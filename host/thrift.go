package host

import (
	"context"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"time"
)

const (
	thriftEvery = 5 * time.Second
	// thriftQuietBytes is how much a process may allocate between two looks and still count as idle.
	thriftQuietBytes = 16 << 20
	// thriftBusyBytes is how much it must have allocated before, to be worth a collection.
	thriftBusyBytes = 128 << 20
)

// thrift gives the memory of a busy time back once it is over. The runtime alone would wait two
// minutes, and keep twice what is needed even then: with 10,000 idle
// partitions, what was left over from making them was half of the process.
func thrift(ctx context.Context) {
	sample := []runtimemetrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	allocated := func() uint64 {
		runtimemetrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	tick := time.NewTicker(thriftEvery)
	defer tick.Stop()
	for last, collected := uint64(0), uint64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := allocated()
		if now-last < thriftQuietBytes && now-collected > thriftBusyBytes {
			debug.FreeOSMemory()
			collected = allocated()
		}
		last = now
	}
}
