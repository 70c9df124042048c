package core_test

import (
	"fmt"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/kv"
)

// lonely is the smallest possible surrounding of a machine: what it proposes is committed at
// once, by itself.
type lonely struct {
	queue [][]byte
	said  []string
}

func (l *lonely) Propose(cmd []byte)              { l.queue = append(l.queue, cmd) }
func (*lonely) Order(kv.NodeID, core.Order)       {}
func (l *lonely) Grant(_ kv.NodeID, _ core.Grant) { l.said = append(l.said, "granted") }
func (l *lonely) Retain(kv.NodeID, core.Retain)   {}
func (l *lonely) Reply(_ core.RequestID, r *kv.AdminResponse, err *kv.Error) {
	if err != nil {
		l.said = append(l.said, err.Error())
		return
	}
	l.said = append(l.said, fmt.Sprint("node ", r.Join.Node))
}

// A new cluster of one node, which takes a second one in.
func Example() {
	l := &lonely{}
	m := core.New(core.Options{Self: 1}, l)
	index := kv.LogIndex(1)
	commit := func() {
		for len(l.queue) > 0 {
			data := core.PackCommands(l.queue)
			l.queue = nil
			index++
			if _, err := m.Apply(index, 2, data); err != nil {
				fmt.Println(err)
			}
		}
	}
	m.Lead(2)
	founders := core.ChooseCore([]kv.NodeInfo{{ID: 1, Address: "localhost:7001", Nonce: 11}})
	if err := m.InitCluster(99, founders, 3); err != nil {
		fmt.Println(err)
	}
	commit()
	m.Draw(1, core.Draw{Seq: 1, Count: 10}) // waits for the oracle's first bound
	m.Tick(1, 1_700_000_000_000)
	commit()
	m.Admin(1, &kv.AdminRequest{Join: &kv.JoinCluster{Address: "localhost:7002", Nonce: 22}})
	commit()
	fmt.Println(l.said, m.CoreVoters(), len(m.Nodes()), m.Revision())
	// Output: [granted node 2] [1] 2 3
}
