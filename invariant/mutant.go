package invariant

// Mutant names one planted bug: a rule of the design switched off. The names are those
// of the rules, so that a mutant that is missed points at the rule that is not tested.
type Mutant string

// The mutants of liveness and leases.
const (
	FromReceive        Mutant = "FromReceive"
	NoMargin           Mutant = "NoMargin"
	NoRestartRefusal   Mutant = "NoRestartRefusal"
	NotSticky          Mutant = "NotSticky"
	NoReleaseByVote    Mutant = "NoReleaseByVote"
	FrameTag           Mutant = "FrameTag"
	JointUnion         Mutant = "JointUnion"
	NoMark             Mutant = "NoMark"
	MarkNoEpoch        Mutant = "MarkNoEpoch"
	NoOwnTerm          Mutant = "NoOwnTerm"
	LeaseAfterTransfer Mutant = "LeaseAfterTransfer"
	TermNotCompared    Mutant = "TermNotCompared"
	CachedClock        Mutant = "CachedClock"
	CheckBefore        Mutant = "CheckBefore" // harmless, see rule 17: listed to show that it is
	NoCheckQuorum      Mutant = "NoCheckQuorum"
	NoWakeOnEpoch      Mutant = "NoWakeOnEpoch"
	NoIncRelease       Mutant = "NoIncRelease"
	HeldDropped        Mutant = "HeldDropped" // of docs/adr/0004
	NoFarewell         Mutant = "NoFarewell"

	// of docs/adr/0008: several loops a node
	AckOfOtherLoop    Mutant = "AckOfOtherLoop"    // a lease counts loop 0's promise for the followers of every loop
	StalledLeads      Mutant = "StalledLeads"      // loop 0 keeps its leaderships, without leases, while another loop stands still
	RenewWhileStalled Mutant = "RenewWhileStalled" // a node asks for support while one of its loops stands still
	ReleaseByOneLoop  Mutant = "ReleaseByOneLoop"  // log segments go that another loop needs
)

// The mutants of one-partition transactions (rules A to D, I).
const (
	NoTerm           Mutant = "NoTerm"
	SelfRestart      Mutant = "SelfRestart"
	EvalSurvives     Mutant = "EvalSurvives"
	ServeEarly       Mutant = "ServeEarly"
	DrawRide         Mutant = "DrawRide"
	DrawFirst        Mutant = "DrawFirst"
	ReadNoAwait      Mutant = "ReadNoAwait"
	UndecidedNoWait  Mutant = "UndecidedNoWait"
	NoSeen           Mutant = "NoSeen"
	NoHorizon        Mutant = "NoHorizon"
	LatchToPropose   Mutant = "LatchToPropose"
	PipeNoValidate   Mutant = "PipeNoValidate"
	PipeEarly        Mutant = "PipeEarly"
	ReplyEarly       Mutant = "ReplyEarly"
	AwaitBeforeDraw  Mutant = "AwaitBeforeDraw"
	StrongNoAwait    Mutant = "StrongNoAwait"
	SnapBeforeAwait  Mutant = "SnapBeforeAwait"
	NoGCRead         Mutant = "NoGCRead"
	NoGCCommit       Mutant = "NoGCCommit"
	OutcomeNoMark    Mutant = "OutcomeNoMark"
	OutcomeForgotten Mutant = "OutcomeForgotten"
	WindowForgets    Mutant = "WindowForgets"
	WindowWaits      Mutant = "WindowWaits"
	HeardInvented    Mutant = "HeardInvented" // a node tells of a timestamp that nobody has drawn
	HeardUnproven    Mutant = "HeardUnproven" // of docs/adr/0005
	DrawSeqRestarts  Mutant = "DrawSeqRestarts"
)

// The mutants of two-phase commit (rules D to H).
const (
	StrongNoAwaitCoord Mutant = "StrongNoAwaitCoord"
	DrawFirst2         Mutant = "DrawFirst2"
	NoWound            Mutant = "NoWound"
	AnchorLatch        Mutant = "AnchorLatch"
	Unilateral         Mutant = "Unilateral"
	ResolveAny         Mutant = "ResolveAny"
	WoundProposed      Mutant = "WoundProposed"
	LockIsAnswer       Mutant = "LockIsAnswer"
	NoRecAborted       Mutant = "NoRecAborted"
	UndecidedCache     Mutant = "UndecidedCache"
	AckEarly           Mutant = "AckEarly"
	DupAck             Mutant = "DupAck"
	SharedVolatile     Mutant = "SharedVolatile"
	NoShared           Mutant = "NoShared"
	ConfirmEarly       Mutant = "ConfirmEarly"
	ConfirmUnproved    Mutant = "ConfirmUnproved" // of docs/adr/0012
	AbortOnDepose      Mutant = "AbortOnDepose"
	GhostNoTerm        Mutant = "GhostNoTerm"
	ResolveBelowGC     Mutant = "ResolveBelowGC"
	GCApplied          Mutant = "GCApplied"
	FirstUnproven      Mutant = "FirstUnproven" // of docs/adr/0013
	StageOver          Mutant = "StageOver"     // of docs/adr/0017
	LockUnapplied      Mutant = "LockUnapplied" // of docs/adr/0025: a read does not wait until the lock that it must see is applied
)

// The mutants of parallel commit (rules P).
const (
	PCNoTerm       Mutant = "PCNoTerm"
	PCClosedNoHold Mutant = "PCClosedNoHold"
	PCAckEarly     Mutant = "PCAckEarly"
	PCReplyEarly   Mutant = "PCReplyEarly"
	PCResolveEarly Mutant = "PCResolveEarly"
	PCTellEarly    Mutant = "PCTellEarly"
	PCNoPrevent    Mutant = "PCNoPrevent"
	PCWound        Mutant = "PCWound"
	PCPresume      Mutant = "PCPresume"
	PCIgnoreStage  Mutant = "PCIgnoreStage"
	PCIgnoreMem    Mutant = "PCIgnoreMem"
	PCTimeout      Mutant = "PCTimeout" // safe: a live coordinator that has not counted all gives up through the log
)

// The mutants of closed timestamps and reads at followers (rules G).
const (
	ClosedNoWait        Mutant = "ClosedNoWait"
	ClosedAppliedIdx    Mutant = "ClosedAppliedIdx"
	ClosedGhost         Mutant = "ClosedGhost"
	ClosedKeepsIndex    Mutant = "ClosedKeepsIndex" // of docs/adr/0014
	FollowerIgnoresLock Mutant = "FollowerIgnoresLock"
	NoRecAbortedF       Mutant = "NoRecAbortedF"
)

// HoldForgotten: a new leader of the core tells how far may be collected before open snapshots have
// told it what they hold (docs/adr/0015).
const HoldForgotten Mutant = "HoldForgotten"

// The mutants of storage.
const (
	NoSyncBeforeAnswer  Mutant = "NoSyncBeforeAnswer"
	AnswersOutOfOrder   Mutant = "AnswersOutOfOrder"
	TornMiddleCut       Mutant = "TornMiddleCut"
	RecycledAccepted    Mutant = "RecycledAccepted"
	PebbleAheadAccepted Mutant = "PebbleAheadAccepted"
	FaultyRejoins       Mutant = "FaultyRejoins"
	LogCutPastFlushed   Mutant = "LogCutPastFlushed"
	ApplyWithoutIndex   Mutant = "ApplyWithoutIndex"
	CommitAboveLog      Mutant = "CommitAboveLog"
	FullDropsApply      Mutant = "FullDropsApply"
	IngestErrorIgnored  Mutant = "IngestErrorIgnored"
	DamageServed        Mutant = "DamageServed"
	AtHandEarly         Mutant = "AtHandEarly"        // a version at hand is served to a view that does not show it
	AtHandLate          Mutant = "AtHandLate"         // a view brings a version that was overwritten since it was opened
	AtHandKept          Mutant = "AtHandKept"         // versions stay at hand when their replica goes
	AtHandUnder         Mutant = "AtHandUnder"        // what is resolved late, under newer versions, is taken for the newest
	AtHandStale         Mutant = "AtHandStale"        // a version stays at hand when it is overwritten
	AtHandIngest        Mutant = "AtHandIngest"       // a version stays at hand when a snapshot takes the place of all
	ShortRowsStay       Mutant = "ShortRowsStay"      // what is removed in the batch that overwrites it is not removed from the store
	LocksSurviveIngest  Mutant = "LocksSurviveIngest" // a copy without locks leaves those that came while it arrived
)

// The mutants of bounded queues.
const (
	QueueUnbounded Mutant = "QueueUnbounded"
	ReadLeak       Mutant = "ReadLeak"
)
