package replication

import (
	"time"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// Params are the timing constants of a cluster (L58).
type Params struct {
	HeartbeatInterval time.Duration // node X asks for support so often
	SupportDuration   time.Duration // D: how long a promise runs; a constant of the cluster
	ClockRateErrorPPM int64         // r: how wrong each node's clock may run against real time
	RaftTick          time.Duration // interval of raft's ticks for groups that are awake
	ElectionTicks     int           // in raft ticks; not below SupportDuration/RaftTick
	HeartbeatTicks    int           // in raft ticks
	CampaignWait      time.Duration // L32: before the first campaign after a lapse
	CampaignRank      time.Duration // L34: between the survivors' turns
	CampaignJitter    time.Duration
	CampaignRetry     time.Duration // L35: again as pre-candidate after Retry..2*Retry
	CandidateRetry    time.Duration // L35: again as candidate after Retry..3*Retry
	CampaignsPerTick  int           // campaigns that one tick of the node may start
	ProposalAgeMax    time.Duration // L68: a leader that commits nothing for so long hands over
}

// DefaultParams are those that the design measured.
func DefaultParams() Params {
	return Params{
		HeartbeatInterval: 100 * time.Millisecond, SupportDuration: 600 * time.Millisecond, ClockRateErrorPPM: 10_000,
		RaftTick: 50 * time.Millisecond, ElectionTicks: 12, HeartbeatTicks: 2,
		CampaignWait: 20 * time.Millisecond, CampaignRank: 100 * time.Millisecond, CampaignJitter: 10 * time.Millisecond,
		CampaignRetry: 60 * time.Millisecond, CandidateRetry: 150 * time.Millisecond, CampaignsPerTick: 64,
		ProposalAgeMax: 2 * time.Second,
	}
}

// Margin is what the requester takes off a promise, so that it ends on its own clock
// before it ends on the promiser's, whatever the two clocks' rates: D * 2r/(1+r) + 1 ms (L3).
func (p Params) Margin() time.Duration {
	if invariant.Mutated(invariant.NoMargin) {
		return 0
	}
	return time.Duration(int64(p.SupportDuration)*2*p.ClockRateErrorPPM/(1_000_000+p.ClockRateErrorPPM)) + time.Millisecond
}

// Validate refuses constants that break the argument of the leases.
func (p Params) Validate() error {
	switch {
	case p.HeartbeatInterval <= 0 || p.SupportDuration < 4*p.HeartbeatInterval:
		return kv.Errorf(kv.Invalid, "support duration %s is below four heartbeat intervals of %s: raise it", p.SupportDuration, p.HeartbeatInterval)
	case p.RaftTick <= 0 || time.Duration(p.ElectionTicks)*p.RaftTick < p.SupportDuration:
		return kv.Errorf(kv.Invalid, "an election timeout of %d ticks of %s is shorter than the support duration %s: raise it", p.ElectionTicks, p.RaftTick, p.SupportDuration)
	}
	return nil
}
