package host

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// The layout of DATA/store, numbers big-endian. All formats have the same head and tail, so that
// a newer file is told from a damaged one:
//
//	magic   8 bytes  "KVDSTORE"
//	format  4 bytes  StoreFormat
//	length  4 bytes  of the body
//	body
//	crc     4 bytes  CRC32C of everything before
//
//	body  = store id 8, nonce 8, cluster 8, node 8, incarnation 8, support 8 (ns),
//	        flags 1 (1 = formatted), address, founders, peers
//	address         = length uvarint, bytes
//	founders, peers = count uvarint, then entries of the node registry as kv.AppendNodeInfo lays them out
const (
	storeMagic = "KVDSTORE"
	// StoreFormat is the newest layout of a data directory that this program knows.
	StoreFormat      = 2
	storeHeaderBytes = len(storeMagic) + 8
	storeTailBytes   = 4
	storeBytesMax    = 16 << 20
	storeNodesMax    = 1 << 16
	nodeInfoBytesMin = 13

	flagFormatted = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeStore(s *Store) []byte {
	b := append(make([]byte, 0, 256), storeMagic...)
	b = binary.BigEndian.AppendUint32(b, StoreFormat)
	b = binary.BigEndian.AppendUint32(b, 0)
	for _, n := range []uint64{s.StoreID, s.Nonce, s.Cluster, uint64(s.Node), s.Incarnation, uint64(s.Support)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	var flags byte
	if s.Formatted {
		flags |= flagFormatted
	}
	b = append(b, flags)
	b = kv.AppendString(b, s.Address)
	b = appendNodes(b, s.Founders)
	b = appendNodes(b, s.Peers)
	binary.BigEndian.PutUint32(b[len(storeMagic)+4:], uint32(len(b)-storeHeaderBytes))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func appendNodes(b []byte, nodes []kv.NodeInfo) []byte {
	b = binary.AppendUvarint(b, uint64(len(nodes)))
	for _, n := range nodes {
		b = kv.AppendNodeInfo(b, n)
	}
	return b
}

// decodeStore reads a store file. Its errors go on after the name of the file.
func decodeStore(b []byte) (Store, error) {
	damaged := kv.Errorf(kv.Corruption, "is damaged: start this node with an empty directory, and it comes back as a new node")
	if len(b) < storeHeaderBytes+storeTailBytes || len(b) > storeBytesMax || string(b[:len(storeMagic)]) != storeMagic {
		return Store{}, damaged
	}
	body, sum := b[:len(b)-storeTailBytes], binary.BigEndian.Uint32(b[len(b)-storeTailBytes:])
	length := binary.BigEndian.Uint32(b[len(storeMagic)+4:])
	if crc32.Checksum(body, castagnoli) != sum || uint64(length) != uint64(len(body)-storeHeaderBytes) {
		return Store{}, damaged
	}
	if f := binary.BigEndian.Uint32(b[len(storeMagic):]); f > StoreFormat {
		return Store{}, kv.Errorf(kv.Denied, "has the format %d of a newer kvd, and this one knows formats up to %d: run the newer kvd", f, StoreFormat)
	}
	d := kv.NewDecoder("the store file", body[storeHeaderBytes:])
	s := Store{StoreID: d.Uint64(), Nonce: d.Uint64(), Cluster: d.Uint64(), Node: kv.NodeID(d.Uint64()), Incarnation: d.Uint64()}
	s.Support = time.Duration(d.Uint64())
	flags := d.Byte()
	s.Formatted = flags&flagFormatted != 0
	s.Address = d.String(kv.AddressBytesMax)
	s.Founders = decodeNodes(d)
	s.Peers = decodeNodes(d)
	if d.Finish() != nil || flags&^flagFormatted != 0 || s.StoreID == 0 || s.Nonce == 0 || s.Support <= 0 {
		return Store{}, damaged
	}
	return s, nil
}

func decodeNodes(d *kv.Decoder) []kv.NodeInfo {
	var nodes []kv.NodeInfo
	for range d.Count(storeNodesMax, nodeInfoBytesMin) {
		nodes = append(nodes, d.NodeInfo())
	}
	return nodes
}
