package node

import (
	"slices"

	"github.com/kvd-db/kvd/kv"
)

// lazy are messages that nobody waits for: each goes with the next other message to its node, or at a
// tick. A message of its own costs both ends a turn and the system's calls.
type lazy []Send

// lazyMax is how many wait at once; then all go.
const lazyMax = 256

// sendLazily sends a message with the next one to a node.
func (n *Node) sendLazily(to kv.NodeID, m Message) {
	if to == n.id.Node {
		n.send(to, m)
		return
	}
	n.called.lazy = append(n.called.lazy, Send{To: to, Message: m})
	if len(n.called.lazy) >= lazyMax {
		n.called.lazy.tick(n)
	}
}

// board sends those along whose node is sent something.
func (l *lazy) board(n *Node) {
	if len(*l) == 0 {
		return
	}
	others := n.out.Sends
	*l = slices.DeleteFunc(*l, func(s Send) bool {
		if !slices.ContainsFunc(others, func(o Send) bool { return o.To == s.To }) {
			return false
		}
		n.out.Sends = append(n.out.Sends, s)
		return true
	})
}

// tick sends all.
func (l *lazy) tick(n *Node) {
	n.out.Sends = append(n.out.Sends, *l...)
	clear(*l)
	*l = (*l)[:0]
}
