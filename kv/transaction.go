package kv

import "bytes"

// Age orders transactions for wound-wait (transactions.md, A7): it is fixed at the first attempt,
// unique, and kept over retries. A smaller one is older: 8 bytes of time, big-endian, then 8
// random ones. The zero Age is that of a request that wounds nobody: it counts as the youngest.
type Age [16]byte

// IsZero reports whether a has no place in the order.
func (a Age) IsZero() bool { return a == Age{} }

// OlderThan reports whether a wounds b.
func (a Age) OlderThan(b Age) bool {
	return !a.IsZero() && (b.IsZero() || bytes.Compare(a[:], b[:]) < 0)
}

// Part is what a Commit reads and writes in one partition beside the anchor's.
type Part struct {
	Partition  PartitionID
	Generation Generation // the newest descriptor that the client knows
	Reads      []ReadMark
	Spans      []Span
	Writes     []Write
}

// Attempt names one attempt of a transaction and the place where its fate is decided (rule A1).
type Attempt struct {
	ID        TxID
	Term      Term        // of the anchor's leader: only that one can commit it (rule A2)
	AsOf      Timestamp   // of the Commit
	Age       Age         // of the transaction
	Partition PartitionID // of the anchor
	Anchor    Key         // the first write of the commit
}

// Prepare asks a participant to lock what a transaction reads and writes there (rule H3). It is
// answered once the locks are committed; an error is a refusal.
type Prepare struct {
	Attempt
	// InMemory makes it the first round of a parallel commit (rule P1): what is locked is in the
	// leader's memory only, and the answer's Term is that in which it is.
	InMemory bool
	Start    Timestamp // the reads' timestamp s; 0 if the whole transaction has none
	Reads    []ReadMark
	Spans    []Span
	Writes   []Write
}

// Resolve tells a participant the fate of a transaction (rules F5, F6, H7). It is answered once
// the removal of its locks there is committed.
type Resolve struct {
	ID     TxID
	Commit Timestamp // c; 0 = aborted
}

// Stage is the second round of a parallel commit (rules P2 to P5): a participant puts what it has locked
// in memory into its log, at the commit timestamp. It is answered once that is applied. kv.Aborted means
// that it never will be; every other error says nothing.
type Stage struct {
	ID     TxID
	AsOf   Timestamp // of the Commit
	Commit Timestamp // c
	Term   Term      // the one in which the participant has locked
	// Recover says that the leader of the anchor has changed, and asks only what became of it (rule P9):
	// what is not on its way to the log by now never will be.
	Recover bool
}

// AskKind is who asks for the outcome of a commit, and what the question does to one that is
// still undecided (transactions.md, E).
type AskKind uint8

// The kinds of question.
const (
	// AskFinal is a client that lost the answer: what is not proposed is killed, so that the answer
	// is final (rule I1).
	AskFinal AskKind = 0
	// AskWound is an older transaction that waits for its locks: as AskFinal.
	AskWound AskKind = 1
	// AskQuery is a younger transaction that waits for its locks: nothing is killed, and
	// "undecided" (OutcomeUnknown) is an answer.
	AskQuery AskKind = 2
	// AskRead is a read at OutcomeOf.At that met a lock: OutcomeUnknown says that the commit
	// timestamp is or will be above it.
	AskRead AskKind = 3
)
