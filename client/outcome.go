package client

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"sync"

	"github.com/kvd-db/kvd/client/session"
	"github.com/kvd-db/kvd/kv"
)

// unsettledMax is how many commits of unknown outcome a client remembers for Outcome; the
// oldest one is forgotten first. Their Tokens do not depend on it.
const unsettledMax = 4096

// claim is all that is needed to ask for the outcome of a commit.
type claim struct {
	id        TxID
	term      kv.Term
	asOf      Timestamp
	partition kv.PartitionID
	keyspace  string
	key       []byte
}

const claimVersion = 1

// token is the claim as a string.
func (c claim) token() string {
	b := append([]byte{claimVersion}, c.id[:]...)
	b = binary.AppendUvarint(b, uint64(c.term))
	b = binary.AppendUvarint(b, uint64(c.asOf))
	b = binary.AppendUvarint(b, uint64(c.partition))
	b = binary.AppendUvarint(b, uint64(len(c.keyspace)))
	b = append(b, c.keyspace...)
	b = append(b, c.key...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseToken is the inverse of token.
func parseToken(s string) (c claim, err *kv.Error) {
	bad := kv.Errorf(kv.Invalid, "%q is not the Token of an AmbiguousError", s)
	b, wrong := base64.RawURLEncoding.DecodeString(s)
	if wrong != nil || len(b) < 1+len(c.id) || b[0] != claimVersion {
		return claim{}, bad
	}
	b = b[1+copy(c.id[:], b[1:]):]
	var numbers [4]uint64
	for i := range numbers {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return claim{}, bad
		}
		numbers[i], b = v, b[n:]
	}
	if numbers[3] > uint64(len(b)) {
		return claim{}, bad
	}
	c.term, c.asOf, c.partition = kv.Term(numbers[0]), Timestamp(numbers[1]), kv.PartitionID(numbers[2])
	c.keyspace, c.key = string(b[:numbers[3]]), b[numbers[3]:]
	return c, nil
}

// unsettled remembers the newest commits of unknown outcome.
type unsettled struct {
	mu     sync.Mutex
	claims map[TxID]claim
	order  []TxID // oldest first
}

func (u *unsettled) add(c claim) {
	c.key = slices.Clone(c.key)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.claims == nil {
		u.claims = map[TxID]claim{}
	}
	if len(u.order) == unsettledMax {
		delete(u.claims, u.order[0])
		u.order = slices.Delete(u.order, 0, 1)
	}
	u.claims[c.id] = c
	u.order = append(u.order, c.id)
}

func (u *unsettled) find(id TxID) (claim, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	c, ok := u.claims[id]
	return c, ok
}

// settledMax is how many commits of known outcome a client remembers for Outcome; the oldest one is
// forgotten first.
const settledMax = 4096

// settled remembers the newest commits whose outcome the client knows.
type settled struct {
	mu       sync.Mutex
	ids      []TxID // a ring
	outcomes []Outcome
	next     int
}

func (s *settled) add(id TxID, o Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids, s.outcomes = make([]TxID, settledMax), make([]Outcome, settledMax)
	}
	s.ids[s.next], s.outcomes[s.next] = id, o
	s.next = (s.next + 1) % settledMax
}

// find is Unknown for a commit that is not remembered.
func (s *settled) find(id TxID) Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.ids, id); i >= 0 {
		return s.outcomes[i]
	}
	return Unknown
}

// fate is what the end of a commit, or of a function that did not come to one, says of its outcome.
func fate(err error) Outcome {
	var e *kv.Error
	switch {
	case err == nil:
		return Committed
	case !errors.As(err, &e): // the function's own error: nothing was sent
		return Aborted
	}
	switch e.Kind {
	case kv.Ambiguous, kv.Expired, kv.Internal, kv.Corruption:
		return Unknown
	}
	return Aborted
}

// settle notes how a transaction, or a single write, has ended.
func (s *shared) settle(id TxID, err error) {
	if o := fate(err); o != Unknown && id != (TxID{}) {
		s.settled.add(id, o)
	}
}

// Outcome tells what became of a commit of this client: of one that ended in an *AmbiguousError, by
// asking the partition that decides, which makes the answer final: what was not committed by then
// never will be. Of the last few thousand that ended otherwise the client remembers it, by the id that Commit or
// the error has: one that a transaction gave up on its way is not remembered. The error for any
// other id says to ask OutcomeOf.
func (c *Client) Outcome(ctx context.Context, id TxID) (Outcome, error) {
	if o := c.settled.find(id); o != Unknown {
		return o, nil
	}
	claim, ok := c.unsettled.find(id)
	if !ok {
		return Unknown, typed(kv.Errorf(kv.Invalid, "this client remembers no commit %s: ask OutcomeOf with the Token of its AmbiguousError", id))
	}
	return c.outcomeOf(ctx, claim)
}

// OutcomeOf tells what became of the commit that a Token names.
func (c *Client) OutcomeOf(ctx context.Context, token string) (Outcome, error) {
	claim, err := parseToken(token)
	if err != nil {
		return Unknown, typed(err)
	}
	return c.outcomeOf(ctx, claim)
}

func (c *Client) outcomeOf(ctx context.Context, of claim) (Outcome, error) {
	outcome, _, err := c.ask(ctx, of)
	return outcome, typed(err)
}

// ask is the outcome of a commit and its timestamp, if it was committed. To ask makes it final.
func (c *Client) ask(ctx context.Context, of claim) (Outcome, Timestamp, *kv.Error) {
	ks, err := c.router.Keyspace(ctx, of.keyspace)
	if err != nil {
		return Unknown, 0, err
	}
	call := c.router.NewCall()
	defer call.Release()
	anchor := ks.FullKey(of.key)
	call.Op = session.Op{Key: anchor, Request: kv.Request{
		Partition: of.partition,
		Outcome:   &kv.OutcomeOf{ID: of.id, Term: of.term, AsOf: of.asOf, Anchor: anchor},
	}}
	a, err := call.Do(ctx)
	if err != nil {
		return Unknown, 0, err
	}
	return Outcome(a.Outcome), a.Timestamp, nil
}
