package host

import (
	"encoding/binary"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// PeerProtocol is the version of what nodes say to each other: the frames of a link and the
// encoding of the messages in them.
const PeerProtocol = 7

// handshake opens every stream between two nodes: who speaks, and to whom he means to
// speak. It is the first frame of a link, and the header of Bulk.
//
//	[magic "KVDP"][protocol 4][cluster 8][node 8][incarnation 8][support 8][store format 8]
//	[to node 8][address: length uvarint, bytes]
type handshake struct {
	Protocol    uint32
	Cluster     uint64
	Node        kv.NodeID
	Incarnation uint64
	Support     time.Duration
	StoreFormat uint64
	To          kv.NodeID
	Address     string
}

const handshakeMagic = "KVDP"

func (h *handshake) append(b []byte) []byte {
	b = append(b, handshakeMagic...)
	b = binary.BigEndian.AppendUint32(b, h.Protocol)
	b = binary.BigEndian.AppendUint64(b, h.Cluster)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Node))
	b = binary.BigEndian.AppendUint64(b, h.Incarnation)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Support))
	b = binary.BigEndian.AppendUint64(b, h.StoreFormat)
	b = binary.BigEndian.AppendUint64(b, uint64(h.To))
	return kv.AppendString(b, h.Address)
}

func decodeHandshake(b []byte) (handshake, error) {
	const head = len(handshakeMagic) + 4
	if len(b) < head || string(b[:len(handshakeMagic)]) != handshakeMagic {
		return handshake{}, kv.Errorf(kv.Invalid, "a stream between nodes begins with %q, not with a handshake of kvd: point --join at kvd nodes only", b[:min(len(b), 4)])
	}
	h := handshake{Protocol: binary.BigEndian.Uint32(b[len(handshakeMagic):])}
	if h.Protocol != PeerProtocol {
		return h, kv.Errorf(kv.Invalid, "a node speaks version %d of the protocol between nodes, this one speaks %d: run the same version of kvd on both", h.Protocol, PeerProtocol)
	}
	d := kv.NewDecoder("the handshake", b[head:])
	h.Cluster, h.Node, h.Incarnation, h.Support = d.Uint64(), kv.NodeID(d.Uint64()), d.Uint64(), time.Duration(d.Uint64())
	h.StoreFormat, h.To = d.Uint64(), kv.NodeID(d.Uint64())
	h.Address = d.String(kv.AddressBytesMax)
	return h, d.Finish()
}

// check refuses a peer that this node must not listen to. The sentence is for that peer's log.
func (h *handshake) check(self *handshake) *kv.Error {
	switch {
	case h.Cluster != self.Cluster:
		return kv.Errorf(kv.Denied, "node %d at %s is of cluster %016x, the node at %s of cluster %016x: correct --join, or give the data directory of this cluster", h.Node, h.Address, h.Cluster, self.Address, self.Cluster)
	case h.To != self.Node:
		return kv.Errorf(kv.NotFound, "node %d was looked for at %s, where node %d answers", h.To, self.Address, self.Node)
	case h.Node == self.Node || h.Node == 0:
		return kv.Errorf(kv.Denied, "two nodes call themselves node %d, at %s and at %s: one of the data directories is a copy; remove it", h.Node, h.Address, self.Address)
	case h.Support != self.Support:
		return kv.Errorf(kv.Denied, "node %d has a support duration of %s, node %d one of %s: it is a constant of the cluster, configure the same on all nodes", h.Node, h.Support, self.Node, self.Support)
	case h.StoreFormat != self.StoreFormat:
		return kv.Errorf(kv.Denied, "node %d has a store of format %d, node %d one of format %d: run the same version of kvd on both", h.Node, h.StoreFormat, self.Node, self.StoreFormat)
	}
	return nil
}
