package partition

import "github.com/kvd-db/kvd/kv"

// Caller brings a partition's questions to others; it is a part of Sink.
type Caller interface {
	// Call asks the leader of another partition; the answer comes later as Answered(token, resp,
	// err), at most once; it may never come. The request must not be changed afterwards.
	Call(p *Partition, token uint64, to kv.PartitionID, req *kv.Request)
}

// Answered brings the answer to a call.
func (p *Partition) Answered(token uint64, resp *kv.Response, err *kv.Error) {}
