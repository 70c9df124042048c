package kv

// Request is one question to one partition. Exactly one of its parts is set.
// The deadline does not travel in it: the host cancels what is late.
type Request struct {
	Partition  PartitionID
	Generation Generation // the newest descriptor that the client knows; 0 = none
	Trace      bool       // the Response is to have its Timing

	Read    *Read
	Scan    *Scan
	Commit  *Commit
	Outcome *OutcomeOf

	// From the leader of one partition to that of another; no client sends them.
	Prepare *Prepare
	Stage   *Stage
	Resolve *Resolve
}

// Read gets keys of one partition. One key without timestamp is a strong read (rule D1,
// r = infinity); several keys without one have a timestamp drawn by the leader.
type Read struct {
	Keys      []Key
	Timestamp Timestamp // 0: strong
	// Stamped: without a timestamp even one key is read at one that the leader draws, so that
	// others can be read at it later.
	Stamped bool
	// Claim is the age of a transaction that is about to write the keys; zero: none. The read waits for its
	// turn among those that claim the keys, and without a timestamp is made at one that is drawn then. The
	// writes of others wait for a while, until those of the transaction come. Each key is named once.
	Claim Age
	Stale
}

// Stale says which older states a read may be answered from, and by whom.
type Stale struct {
	// Follower: any replica whose closed timestamp covers the read's may answer (rule G5). One that
	// cannot names the leader (NotLeader). Without a timestamp it says nothing.
	Follower bool
	// NotBefore, of a read without timestamp: any replica may answer, at the newest timestamp that is
	// closed there, if that is not below this one. The answer names the timestamp.
	NotBefore Timestamp
}

// Scan reads a span of one partition at one timestamp, 0: drawn by the leader.
type Scan struct {
	Span      Span
	Timestamp Timestamp
	Reverse   bool
	KeysOnly  bool
	CountOnly bool // rows are counted, not returned
	Keys      int  // at most so many rows; 0 = ScanPageKeysMax
	Bytes     int  // at most so many bytes; 0 = ScanPageBytesMax
	Stale
}

// WriteKind is what one write does.
type WriteKind uint8

// The kinds of write. Numbers are durable.
const (
	WritePut    WriteKind = 1
	WriteDelete WriteKind = 2
	WriteAdd    WriteKind = 3 // Delta is added to a decimal integer; absent = 0
)

// Expect is a condition on the newest value of a key.
type Expect struct {
	Kind    ExpectKind
	Version Timestamp // ExpectVersion
	Value   []byte    // ExpectValue
}

// ExpectKind is the kind of a condition.
type ExpectKind uint8

// The conditions; 0 is none.
const (
	ExpectNothing ExpectKind = 0
	ExpectAbsent  ExpectKind = 1
	ExpectVersion ExpectKind = 2
	ExpectValue   ExpectKind = 3
)

// Write is one write of a Commit.
type Write struct {
	Kind   WriteKind
	Key    Key
	Value  []byte // WritePut
	Delta  int64  // WriteAdd
	Expect Expect
}

// ReadMark is one key that a transaction read. The commit is refused if the key has a version newer
// than Start.
type ReadMark struct{ Key Key }

// Commit is a transaction's end: all of it or nothing, at one timestamp, once for an ID. A plain
// put is a Commit of one Write. Writes name each key at most once; the first one is the anchor,
// which carries the outcome: which one is put first is the client's choice. With Parts it is a two-phase or a parallel commit, coordinated by the
// leader of the anchor's partition (transactions.md, H and P).
type Commit struct {
	ID    TxID
	Term  Term      // the anchor leader's term as the client believes it (rule A1)
	AsOf  Timestamp // newest timestamp the client had heard of when it first sent this (rule I6)
	Start Timestamp // the reads' timestamp s; 0 if there are none
	Reads []ReadMark
	Spans []Span // read spans: a version in one of them newer than Start is a conflict
	// Writes may be empty if there are no Parts: then only the reads are validated.
	Writes []Write
	Age    Age
	Parts  []Part // what it reads and writes in other partitions, each named once
}

// OutcomeOf asks for the outcome of a commit, and makes it final (rule I1).
type OutcomeOf struct {
	ID     TxID
	Term   Term
	AsOf   Timestamp
	Anchor Key // the first write of the commit
	// Ask says who asks; At is the timestamp of the read for AskRead, 0 for a strong one.
	Ask AskKind
	At  Timestamp
}

// Outcome is what is known of a commit.
type Outcome uint8

// The outcomes. Unknown means that it cannot be had now.
const (
	OutcomeUnknown   Outcome = 0
	OutcomeCommitted Outcome = 1
	OutcomeAborted   Outcome = 2
)

// Row is one version of one key.
type Row struct {
	Key     Key
	Value   []byte
	Version Timestamp
}

// Response answers a Request.
type Response struct {
	Rows      []Row     // Read: those found, in the order of the request's keys; Scan: in scan order
	Found     []bool    // Read: one for each key of the request
	Count     int64     // Scan with CountOnly
	Resume    Key       // Scan: where to go on, nil when the span is done. Forward: first key not returned; reverse: exclusive upper bound
	Timestamp Timestamp // Read, Scan: the r that was used (strong: the version read); Commit, Outcome: the commit timestamp
	Sums      []int64   // Commit without Parts: the results of its WriteAdds, in order
	Outcome   Outcome   // Outcome; OutcomeUnknown only if that was no answer that ends it (AskKind)
	Term      Term      // the answering leader's term: use it in the next Commit
	Heard     Timestamp // the newest timestamp that the answering node has heard of
	Timing    *Timing   // nil unless Request.Trace; read only
}
