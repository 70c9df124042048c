package sim

import (
	"time"

	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/replication"
)

// base is a fast network, fast disks, and nothing that goes wrong.
func base(name, about string) *Scenario {
	return &Scenario{
		Name: name, About: about,
		Shape: Shape{Nodes: 3, Partitions: 2, ClockPPM: 10_000, Duration: 20 * time.Second},
		Load: Load{
			Clients: 12, Think: 20 * ms, Keys: 4, CopyPatience: 1500 * ms, PatienceMin: 500 * ms, PatienceMax: 6 * s, Anywhere: 0.2,
			Mix: []Share{{"register", 4}, {"counter", 2}, {"txn", 3}, {"bank", 2}, {"scan", 1}, {"set", 1}, {"outcome", 2}, {"sideband", 1}},
		},
		Network: NetworkFaults{DelayMin: 100 * us, DelayMax: 400 * us, Spike: 0.003, SpikeMax: 500 * ms, Break: 0.0005, Drop: 0.003},
		Disk:    DiskFaults{SyncTime: 300 * us, ApplyMax: ms, ReadMax: ms, FlushTime: 5 * ms},
		Clients: ClientFaults{LoseRequest: 0.002, LoseAnswer: 0.01, Double: 0.01, DoubleLate: 2 * s, Cancel: 0.5},
		Process: ProcessFaults{Flush: 700 * time.Millisecond, DownMax: 2 * time.Second, PauseMax: 2 * time.Second, DiskTroubles: DiskTroubles{StallMax: 1500 * time.Millisecond}},
		Links:   LinkFaults{CutMax: 2500 * time.Millisecond, SlowBy: 450 * time.Millisecond},
		Limits:  Limits{Heal: 12 * time.Second},
	}
}

// general is everything at random, all at once.
func general() *Scenario {
	c := base("general", "everything at random, all at once, with all workloads")
	c.HashPartitions = 2
	c.Load.Mix = append(c.Load.Mix, Share{"hash", 2})
	c.Load.Clients = 16
	c.Process.Crash, c.Process.Pause, c.Process.Stall = 4*time.Second, 3*time.Second, 8*time.Second
	c.Process.CrashAll, c.Process.Transfer, c.Process.WallJump = 25*time.Second, 4*time.Second, 5*time.Second
	c.Links.Cut, c.Links.Slow = 1200*time.Millisecond, 5*time.Second
	c.Network.Double = 0.003
	c.LoopsMax, c.Process.LoopStall = 3, 6*time.Second
	c.Process.Engine = EngineTroubles{Full: 15 * time.Second, FullMax: 1500 * time.Millisecond, Fail: 25 * time.Second}
	c.Duration = 60 * time.Second
	return c
}

// looptraps is loops that stand still while the lease rests on them.
func looptraps() *Scenario {
	c := trapped("looptraps", "one loop of the follower that the lease rests on stands still, its node goes on", Trap{"loop", 3 * time.Second})
	c.LoopsMin, c.Partitions = 3, 3
	return c
}

// loops is machines that come back with another number of loops each time, and loops that stand still alone.
func loops() *Scenario {
	c := base("loops", "processes with one to three event loops, another number at each start, and loops that stand still alone")
	c.LoopsMax, c.Partitions, c.HashPartitions = 3, 3, 3
	c.Load.Clients = 18
	c.Load.Mix = append(c.Load.Mix, Share{"hash", 2})
	c.Process.LoopStall, c.Process.Crash, c.Process.CrashAll, c.Process.Transfer = 1200*time.Millisecond, 1500*time.Millisecond, 12*time.Second, 3*time.Second
	c.Links.Cut = 2 * time.Second
	c.Node = smallLog
	c.Duration = 40 * time.Second
	return c
}

// moving has more nodes than replicas, and replicas that move all the time.
func moving() *Scenario {
	c := general()
	c.Name, c.About = "moving", "five nodes, three replicas each, moved all the time"
	c.Nodes, c.HashPartitions = 5, 0
	c.Process.Move = 900 * time.Millisecond
	c.Process.CrashAll = 0
	return c
}

// unordered is a network that keeps no order, and brings messages twice: nothing may rest on
// the order of a stream (rule L8).
func unordered() *Scenario {
	c := transactions()
	c.Name, c.About = "unordered", "messages overtake each other, and some come twice"
	c.Network.Reorder, c.Network.Double, c.Network.DelayMax = true, 0.05, 3*ms
	c.Links.Slow, c.Links.Cut = 2*time.Second, 4*time.Second
	return c
}

// hot is one key of one partition, which half of the clients write and half read, anywhere. Alone it
// finds little (rule 72): the scenarios below are hot with one trap each.
func hot() *Scenario {
	c := base("hot", "one key, writers and readers that ask any node, everything at random")
	c.Partitions = 1
	c.Load.Clients, c.Load.Keys, c.Load.Think = 12, 1, 3*ms
	c.Load.Mix = []Share{{"reader", 1}, {"writer", 1}}
	c.Clients = ClientFaults{}
	c.Process.Crash, c.Process.Pause, c.Process.Stall, c.Process.Transfer = 4*time.Second, 3*time.Second, 8*time.Second, 4*time.Second
	c.Links.Cut = 900 * time.Millisecond
	c.Duration = 15 * time.Second
	return c
}

// trapped is hot with nothing but one trap.
func trapped(name, about string, t Trap) *Scenario {
	c := hot()
	c.Name, c.About = name, about
	c.Process.Crash, c.Process.Pause, c.Process.Stall, c.Process.Transfer = 0, 0, 0, 0
	c.Links.Cut = 0
	if t.Name != "" {
		c.Traps = []Trap{t}
	}
	return c
}

// scenarios builds all scenarios anew.
func scenarios() []*Scenario {
	all := []*Scenario{
		general(), loops(), moving(), unordered(), hot(), quorum(), storage(), rolling(), transactions(),
		trapped("iso", "the lease rests on one follower, which crashes and is back at once", Trap{"iso", 2 * time.Second}),
		xfer(), drifty(), paused(), slowapply(), slowread(), joint(), spiky(),
		trapped("marky", "a new leader's messages never reach one follower, whose node supports it all the same", Trap{"mark", 2500 * time.Millisecond}),
		trapped("slowacks", "promises that arrive late, from a leader that is heard no more", Trap{"slowacks", 3 * time.Second}),
		trapped("epochy", "support lapses and comes back while the replica hears nothing", Trap{"epoch", 3 * time.Second}),
		looptraps(), sticky(), regain(), horizon(), collected(), held(), window(), bitrot(), rollback(), rejoin(), goesBack(), aheadOfTime(), staleGrants(), overload(), carried(),
		engineFull(), engineFault(), engineRot(), followers(), closing(), deaf(), lastWords(), arriving(),
		liveUnheard(), liveBack(), liveDeaf(), liveIdle(), liveLoop(), liveCore(),
		{Name: "frame", About: "an answer of an old term that leaves after a new promise was given", Script: Script{Play: playFrame}},
		{Name: "jointunion", About: "a joint configuration of which one half promises nothing", Script: Script{Play: playJointUnion}},
	}
	return append(append(append(all, crossings()...), callScenarios()...), parallelScenarios()...)
}

// Find is the scenario of a name, nil if there is none.
func Find(name string) *Scenario {
	for _, c := range scenarios() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func quorum() *Scenario {
	c := general()
	c.Name, c.About = "quorum", "general, with --read-mode=quorum, and clocks that are no good at all"
	c.QuorumReads, c.ClockPPM = true, 300_000
	return c
}

func xfer() *Scenario {
	c := trapped("xfer", "leaders that hear nothing more once they have begun to hand over", Trap{"xfer", 0})
	c.Process.Transfer = 1500 * time.Millisecond
	return c
}

// drifty has a long support on a fast network, so that the drift of the clocks is longer than
// anything else.
func drifty() *Scenario {
	c := trapped("drifty", "clocks at the two extremes, leaders that are cut off", Trap{"drift", time.Second})
	c.Network = NetworkFaults{DelayMin: 20 * us, DelayMax: 60 * us}
	c.Disk = DiskFaults{SyncTime: 50 * us, ApplyMax: 100 * us, ReadMax: 100 * us, FlushTime: ms}
	c.Params = func(p *replication.Params) {
		p.SupportDuration, p.ElectionTicks = 3*time.Second, 60
		p.CampaignJitter, p.CampaignWait = time.Millisecond, 0
	}
	c.Duration = 40 * time.Second
	c.Limits.Heal = 30 * time.Second
	return c
}

func paused() *Scenario {
	c := trapped("paused", "leaders that stand still for longer than their lease, and so many slow clients that they do not all wait for them", Trap{"pause", 2500 * time.Millisecond})
	// Several keys: a read of a key with a write under way waits for it, and is never answered.
	c.Load.Clients, c.Load.Think, c.Load.Keys = 200, 250*ms, 12
	c.Load.Mix = []Share{{"reader", 3}, {"writer", 1}}
	return c
}

func slowapply() *Scenario {
	c := hot()
	c.Name, c.About = "slowapply", "applying takes long, leaders change often"
	c.Disk.ApplyMax, c.Process.Transfer, c.Process.Pause = 20*ms, 700*time.Millisecond, 0
	return c
}

func slowread() *Scenario {
	c := trapped("slowread", "reads take long, leaders change meanwhile", Trap{})
	c.Process.Transfer, c.Disk.ReadMax = 250*time.Millisecond, 400*ms
	return c
}

func spiky() *Scenario {
	c := hot()
	c.Name, c.About = "spiky", "delays of up to half a second, one way"
	c.Network.Spike, c.Process.Crash, c.Process.Pause = 0.1, 0, 0
	return c
}

func sticky() *Scenario {
	c := trapped("sticky", "the follower that the lease rests on hears of a higher term from somebody who is no leader", Trap{"sticky", 3 * time.Second})
	c.Load.Think, c.Duration = ms, 40*time.Second
	return c
}

func joint() *Scenario {
	c := trapped("joint", "leaders that are cut off while their configuration changes", Trap{"joint", 0})
	c.Nodes, c.Process.Move, c.Links.Cut = 5, 700*time.Millisecond, 4*time.Second
	c.Disk.ApplyMax, c.Duration = 6*ms, 60*time.Second
	return c
}

// regain cuts a leader off, and gives it the leadership back while it has still reads under way that it
// began when it led no more.
func regain() *Scenario {
	c := trapped("regain", "reads take long, the leader is deposed and comes back meanwhile", Trap{"regain", 3 * time.Second})
	c.Disk.ReadMax = 400 * ms
	c.Load.Clients, c.Load.Think, c.Load.Keys = 200, 250*ms, 60
	c.Load.Mix = []Share{{"reader", 8}, {"writer", 1}}
	c.Params = func(p *replication.Params) { p.ElectionTicks = 50 } // it believes in itself for long
	c.Duration = 30 * time.Second
	return c
}

// storage is disks that lose, tear, stall, and processes that die all the time.
func storage() *Scenario {
	c := base("storage", "crashes all the time, of one and of all, with slow disks and small logs")
	c.Process.Crash, c.Process.CrashAll, c.Process.Stall = 900*time.Millisecond, 5*time.Second, 6*time.Second
	c.Process.SyncFail, c.Process.Full = 5*time.Second, 5*time.Second
	c.Process.Flush, c.Process.DownMax = 300*time.Millisecond, time.Second
	c.Disk.SyncTime = 2 * ms
	c.Links.Cut = 4 * time.Second
	c.Load.ValueBytes = 600
	c.Node = smallLog
	return c
}

// rolling is a log in which nearly every write goes to a new segment, and crashes in between.
func rolling() *Scenario {
	c := storage()
	c.Name, c.About = "rolling", "writes so large that each goes to a new, recycled log segment, and crashes in the middle of that"
	c.Load.ValueBytes = 2500
	c.Load.Mix = []Share{{"register", 1}, {"txn", 1}}
	c.Process = ProcessFaults{Crash: 300 * time.Millisecond, DownMax: 60 * time.Millisecond}
	c.Links = LinkFaults{}
	c.Duration = 15 * time.Second
	return c
}

// smallLog makes segments come round soon.
func smallLog(c *node.Config) { c.LogKeepBytes = 16 << 10 }

// bitrot is storage with one machine whose disk damages what was synced.
func bitrot() *Scenario {
	c := storage()
	c.Name, c.About = "bitrot", "one machine's disk flips bits of the log, or goes back to an older state"
	c.Process.CrashAll, c.Process.Crash = 0, 2*time.Second
	c.Traps = []Trap{{"flip", 3 * time.Second}, {"rollback", 3 * time.Second}}
	return c
}

// rollback is bitrot without the flips: a log that goes back to an older state of itself.
func rollback() *Scenario {
	c := bitrot()
	c.Name, c.About = "rollback", "one machine's log goes back to what it was a while ago"
	c.Traps = []Trap{{"rollback", time.Second}}
	return c
}

// horizon is time that runs so fast that outcomes expire while clients still ask for them.
func horizon() *Scenario {
	c := base("horizon", "clients that ask for the outcome of a commit after the outcome horizon has passed it")
	c.Load.Mix = []Share{{"late", 6}, {"register", 1}, {"txn", 1}}
	c.Load.Keys, c.Load.Clients = 2, 40
	c.Process.Transfer = 10 * time.Second
	c.Node = func(n *node.Config) {
		n.Core.ClockJumpMax = 2 * time.Hour
		n.Retention = 10 * time.Minute // the outcome horizon: G may not pass it
		n.RetainInterval = 3 * time.Second
	}
	c.Script.Act = func(w *World) {
		for _, m := range w.machines {
			w.after(w.between(8*s, 25*s), func() { m.clock.wall += 11 * 60 * s })
		}
	}
	c.Duration = 90 * time.Second
	return c
}

// collected is time that runs so fast that versions are collected while clients still go back
// to them.
func collected() *Scenario {
	c := horizon()
	c.Name, c.About = "collected", "clients that read, or build on, timestamps whose versions have been collected"
	c.Load.Mix = []Share{{"old", 8}, {"register", 1}}
	c.Script.Act = func(w *World) {
		for range 3 {
			d := w.between(4*s, 60*s)
			for _, m := range w.machines {
				w.after(d, func() { m.clock.wall += 11 * 60 * s })
			}
		}
	}
	c.Load.Clients = 12
	c.Duration = 150 * time.Second
	return c
}

// window is a window of ids so short that copies come after it has passed.
func window() *Scenario {
	c := transactions()
	c.Name, c.About = "window", "copies of commits that come when their ids have left the window of seen ids"
	c.Node = func(n *node.Config) { n.Partition.SeenWindow = 150 * time.Millisecond }
	c.Load.Mix = []Share{{"register", 2}, {"counter", 2}, {"outcome", 4}, {"txn", 2}}
	c.Process.Transfer, c.Process.Stall = 6*time.Second, 2*time.Second
	c.Clients.Double = 0.2
	return c
}

// transactions is many clients on few keys, and leaders that change.
func transactions() *Scenario {
	c := base("transactions", "many clients on few keys, answers lost, leaders that change")
	c.Load.Clients, c.Load.Keys, c.Load.Think = 24, 3, 8*ms
	c.Clients = ClientFaults{LoseRequest: 0.01, LoseAnswer: 0.06, Double: 0.06, DoubleLate: 3 * s, Cancel: 0.5}
	c.Process.Transfer, c.Process.Pause, c.Process.Crash = 1500*time.Millisecond, 4*time.Second, 8*time.Second
	c.Disk.ReadMax, c.Disk.ApplyMax = 4*ms, 4*ms
	c.Network.Spike = 0.02
	return c
}
