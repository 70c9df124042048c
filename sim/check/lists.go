package check

import (
	"fmt"
	"slices"
	"strings"
)

// Element is one element of a list. Nobody appends the same one to a key twice; 0 is none.
type Element uint64

// Micro is one micro-operation of a transaction over append-only lists.
type Micro struct {
	Key    string
	Append Element   // 0: it reads
	Read   []Element // the whole list, as it was read
}

// Transaction is what one transaction did to append-only lists, in the order in which it did it. One of
// unknown outcome counts as committed if a committed one has seen any of it. A refused one has not happened.
type Transaction struct {
	Name         string // unique, for people
	Result       Result
	Call, Return Time // Return is Never if the outcome is unknown
	Micros       []Micro
}

// Names of what Lists finds beside the cycles (cycles.go).
const (
	appendedTwice     = "appended once" // of the history itself: elements must be unique
	internal          = "internal"
	abortedRead       = "G1a"
	intermediateRead  = "G1b"
	dirtyUpdate       = "dirty update"
	garbageRead       = "garbage"
	duplicateElement  = "duplicates"
	lostAppend        = "lost append"
	incompatibleOrder = "incompatible order"
)

// Lists judges transactions over append-only lists (Kingsbury and Alvaro, "Elle", VLDB 2020). A list that was
// read tells the order of all that was ever appended to it, so the dependencies between transactions follow from
// what clients saw alone. It finds:
//
//   - internal: a transaction does not see what itself read or appended before;
//   - G1a: what a refused transaction appended was read; dirty update: others built on it;
//   - G1b: a list was read as it was between two appends of one transaction;
//   - garbage, duplicates: elements that nobody appended, or that are there twice;
//   - lost append: an acknowledged element that no read has, though one began after it was acknowledged;
//   - incompatible order: two reads of a key, of which neither is the beginning of the other;
//   - G0, G1c, G-single, G2: cycles of dependencies, which no serial order explains, the worst first;
//   - the same "in real time": cycles in which a transaction comes before one that began after its end.
//
// Without findings the history is strictly serializable as far as dependencies were seen. It takes time linear in
// what was read, but for cycles, whose search is bounded: what is reported then may not be the very shortest.
func Lists(txs []*Transaction) []Finding {
	l := newLists(txs)
	l.settle()
	for i := range txs {
		if l.committed[i] {
			l.within(int32(i))
		}
	}
	l.judgeOrders()
	g := newDependencies(l)
	g.cycles()
	return l.findings
}

// lists is what is known of a history over lists. Transactions, keys and appends are numbered.
type lists struct {
	txs       []*Transaction
	committed []bool
	keys      []string
	first     []int32            // the number of the first micro-operation of each transaction
	keyOf     []int32            // of each micro-operation
	bad       []bool             // of each micro-operation: a read that says nothing of the order
	numbers   map[appended]int32 // of appends
	appends   []origin
	orders    []order // of each key
	findings  []Finding
	counts    map[string]int
}

// appended is an element of a key.
type appended struct {
	key int32
	e   Element
}

// origin is where an element comes from, and where it stands.
type origin struct {
	tx    int32 // -1: nobody appended it
	at    int32 // in the order of its key; -1: nobody has seen it
	final bool  // the transaction appended nothing to the key after it
}

// order is the versions of a key: the longest list that anybody has read.
type order struct {
	elements []Element
	appends  []int32 // the same, as numbers
	reader   int32   // who read it; -1: nobody
	latest   int32   // of those who read the key the one that began last; -1: nobody
	unseen   []int32 // committed appends that nobody has read, one for each transaction
}

func newLists(txs []*Transaction) *lists {
	l := &lists{txs: txs, committed: make([]bool, len(txs)), first: make([]int32, len(txs)), numbers: map[appended]int32{}, counts: map[string]int{}}
	names := map[string]int32{}
	for i, t := range txs {
		l.first[i] = int32(len(l.keyOf))
		for _, m := range t.Micros {
			k, ok := names[m.Key]
			if !ok {
				k = int32(len(l.keys))
				names[m.Key] = k
				l.keys = append(l.keys, m.Key)
				l.orders = append(l.orders, order{reader: -1, latest: -1})
			}
			l.keyOf = append(l.keyOf, k)
		}
		for j, m := range t.Micros {
			if m.Append != 0 {
				l.introduce(int32(i), j, m)
			}
		}
	}
	l.bad = make([]bool, len(l.keyOf))
	return l
}

// introduce gives an append its number.
func (l *lists) introduce(tx int32, i int, m Micro) {
	at := appended{l.keyOf[int(l.first[tx])+i], m.Append}
	if n, ok := l.numbers[at]; ok {
		l.found(appendedTwice, m.Key, fmt.Sprintf("%d was appended to %s twice: what was read of it cannot be told apart", m.Append, m.Key), l.appends[n].tx, tx)
		return
	}
	later := slices.ContainsFunc(l.txs[tx].Micros[i+1:], func(o Micro) bool { return o.Append != 0 && o.Key == m.Key })
	l.numbers[at] = int32(len(l.appends))
	l.appends = append(l.appends, origin{tx: tx, at: -1, final: !later})
}

// found notes a finding with the transactions that it is about.
func (l *lists) found(check, key, text string, txs ...int32) {
	if l.counts[check]++; l.counts[check] > findingsMax {
		return
	}
	var b strings.Builder
	b.WriteString(text)
	for i, t := range txs {
		if t >= 0 && !slices.Contains(txs[:i], t) {
			fmt.Fprintf(&b, "\n    %s", l.txs[t])
		}
	}
	l.findings = append(l.findings, Finding{Check: check, Key: key, Text: b.String()})
}

// name is a transaction's, or nobody's.
func (l *lists) name(tx int32) string {
	if tx < 0 {
		return "nobody"
	}
	return l.txs[tx].Name
}

// String prints a transaction on one line.
func (t *Transaction) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s [%s..%s] %s:", t.Name, clock(t.Call), clock(t.Return), [...]string{"unknown", "committed", "aborted"}[t.Result])
	for i, m := range t.Micros {
		if i > 0 {
			b.WriteByte(',')
		}
		if m.Append != 0 {
			fmt.Fprintf(&b, " append %s %d", printable(m.Key), m.Append)
			continue
		}
		fmt.Fprintf(&b, " read %s %s", printable(m.Key), shortened(m.Read))
	}
	return b.String()
}

// shortened is a list with its newest elements only.
func shortened(list []Element) string {
	const shown = 6
	if len(list) <= shown {
		return fmt.Sprint(list)
	}
	return fmt.Sprintf("[...%d more %s", len(list)-shown, strings.TrimPrefix(fmt.Sprint(list[len(list)-shown:]), "["))
}
