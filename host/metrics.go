package host

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kvd-db/kvd/kv"
)

// The metrics of a node. What changes with every operation is counted where it happens; what can
// be asked for is asked for when somebody looks (collector).

type diskMetrics struct {
	syncSeconds  prometheus.Histogram
	batchAppends prometheus.Histogram
	writes       prometheus.Counter
}

func (m *diskMetrics) wrote(appends int, sync bool, took time.Duration) {
	m.writes.Inc()
	m.batchAppends.Observe(float64(appends))
	if sync {
		m.syncSeconds.Observe(took.Seconds())
	}
}

type applyMetrics struct {
	batches prometheus.Counter
	applies prometheus.Counter
	seconds prometheus.Counter
}

func (m *applyMetrics) ran(applies int, took time.Duration) {
	m.batches.Inc()
	m.applies.Add(float64(applies))
	m.seconds.Add(took.Seconds())
}

type snapshotMetrics struct {
	count *prometheus.CounterVec // by direction
	bytes *prometheus.CounterVec
}

func (m *snapshotMetrics) sent(bytes int64)     { m.add("sent", bytes) }
func (m *snapshotMetrics) received(bytes int64) { m.add("received", bytes) }

func (m *snapshotMetrics) add(direction string, bytes int64) {
	m.count.WithLabelValues(direction).Inc()
	m.bytes.WithLabelValues(direction).Add(float64(bytes))
}

// requestMetrics counts answers by kind of error; the kinds are few, so the counters are an array.
type requestMetrics struct {
	byKind [kv.KindMax + 1]prometheus.Counter // 0: no error
}

func (m *requestMetrics) answered(err *kv.Error) {
	k := kv.Kind(0)
	if err != nil {
		k = min(err.Kind, kv.KindMax)
	}
	m.byKind[k].Inc()
}

type metrics struct {
	registry  *prometheus.Registry
	disk      diskMetrics
	apply     applyMetrics
	snapshots snapshotMetrics
	requests  requestMetrics
}

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		m.registry.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
		m.registry.MustRegister(h)
		return h
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
		m.registry.MustRegister(v)
		return v
	}
	m.disk = diskMetrics{
		syncSeconds:  histogram("kvd_log_sync_seconds", "Duration of a log write with its sync.", prometheus.ExponentialBuckets(50e-6, 2, 16)),
		batchAppends: histogram("kvd_log_batch_appends", "Log writes of groups in one batch.", prometheus.ExponentialBuckets(1, 2, 14)),
		writes:       counter("kvd_log_batches_total", "Batches written to the log."),
	}
	m.apply = applyMetrics{
		batches: counter("kvd_apply_batches_total", "Batches brought into the engine."),
		applies: counter("kvd_apply_total", "Runs of committed entries brought into the engine."),
		seconds: counter("kvd_apply_seconds_total", "Time spent on that."),
	}
	m.snapshots = snapshotMetrics{
		count: vector("kvd_snapshots_total", "Snapshots of replicas, by direction.", "direction"),
		bytes: vector("kvd_snapshot_bytes_total", "Bytes of them.", "direction"),
	}
	answers := vector("kvd_requests_total", "Requests answered, by kind of error; ok is none.", "kind")
	for k := range m.requests.byKind {
		name := "ok"
		if k > 0 {
			name = kv.Kind(k).String()
		}
		m.requests.byKind[k] = answers.WithLabelValues(name)
	}
	return m
}

// collector asks the running host when somebody looks at /metrics.
type collector struct{ host *Host }

// Describe sends nothing: the set of metrics is not fixed.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect reads everything at once.
func (c collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(name, help string, value float64, labels ...string) {
		var names []string
		if len(labels) > 0 {
			names = []string{"peer"}
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), prometheus.GaugeValue, value, labels...)
	}
	total := func(name, help string, value float64) {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, nil), prometheus.CounterValue, value)
	}
	r := c.host.running.Load()
	if r == nil {
		return
	}
	sum := func(count func(*shared) int64) float64 { return float64(r.loops.sum(count)) }
	gauge("kvd_loops", "Event loops of the node.", float64(len(r.loops)))
	total("kvd_loop_turns_total", "Turns of the event loops.", sum(func(s *shared) int64 { return int64(s.turns.Load()) }))
	total("kvd_loop_inputs_total", "Requests and batches of messages that the loops have taken in.", sum(func(s *shared) int64 { return int64(s.inputs.Load()) }))
	gauge("kvd_requests_open", "Requests without an answer.", sum(func(s *shared) int64 { return s.open.Load() }))
	gauge("kvd_replicas_damaged", "Replicas stopped since damage was found, in this run.", sum(func(s *shared) int64 { return s.faulty.Load() }))
	gauge("kvd_log_queue", "Log writes that wait for the disk.", float64(r.disk.work.len()))
	gauge("kvd_apply_queue", "Runs of committed entries that wait for the engine.", float64(r.applier.work.len()))
	for id, p := range r.peers.all() {
		up := 0.0
		if p.up.Load() {
			up = 1
		}
		label := peerLabel(id)
		gauge("kvd_peer_up", "1 if the stream to the node is open.", up, label)
		gauge("kvd_peer_queue_bytes", "Bytes that wait to be sent to the node.", float64(p.out.queued()), label)
		gauge("kvd_peer_sent_bytes", "Bytes sent to the node in this run.", float64(p.sent.Load()), label)
		gauge("kvd_peer_drops", "Turns in which messages to the node were dropped, in this run.", float64(p.drops.Load()), label)
	}
	c.storage(r, gauge, total)
	c.replicas(r, gauge)
}

func (c collector) storage(r *running, gauge func(string, string, float64, ...string), total func(string, string, float64)) {
	l := r.disk.log.Stats()
	gauge("kvd_log_segments", "Segments of the log in use.", float64(l.Segments))
	gauge("kvd_log_bytes", "Bytes of the segments in use.", float64(l.FileBytes))
	total("kvd_log_syncs_total", "Syncs of the log.", float64(l.Syncs))
	total("kvd_log_written_bytes_total", "Bytes written to the log.", float64(l.WrittenBytes))
	total("kvd_log_entries_total", "Entries written to the log.", float64(l.Entries))
	e := r.engine.Metrics()
	gauge("kvd_engine_memtable_bytes", "Bytes of the engine that are not flushed.", float64(e.MemTableBytes))
	gauge("kvd_engine_disk_bytes", "Bytes of the engine on the disk.", float64(e.DiskBytes))
	gauge("kvd_engine_blob_bytes", "Part of them that is in blob files.", float64(e.BlobBytes))
	gauge("kvd_engine_l0_sublevels", "Sorted runs on the first level of the engine.", float64(e.L0Sublevels))
	gauge("kvd_engine_read_amplification", "Sorted runs that a read may have to look into.", float64(e.ReadAmplification))
	gauge("kvd_engine_compaction_debt_bytes", "Bytes that compactions have yet to rewrite.", float64(e.CompactionDebtBytes))
	gauge("kvd_engine_iterators", "Open views of the engine.", float64(e.OpenIterators))
	total("kvd_engine_flushes_total", "Flushes of the engine.", float64(e.Flushes))
	total("kvd_engine_compactions_total", "Compactions of the engine.", float64(e.Compactions))
	total("kvd_engine_flush_rest_seconds_total", "Time that flushes have rested, since others needed the cores.", r.pace.flushes.seconds())
	total("kvd_engine_compaction_rest_seconds_total", "Time that compactions have rested for that reason.", r.pace.compactions.seconds())
	total("kvd_engine_cache_hits_total", "Blocks found in the cache.", float64(e.CacheHits))
	total("kvd_engine_cache_misses_total", "Blocks not found in the cache.", float64(e.CacheMisses))
	total("kvd_engine_at_hand_hits_total", "Keys that were read, whose newest version was at hand.", float64(e.AtHandHits))
	total("kvd_engine_at_hand_misses_total", "Keys that were read by a search in the engine.", float64(e.AtHandMisses))
	total("kvd_engine_write_stalls_total", "Times that writes had to wait for flushes or compactions.", float64(e.WriteStalls))
}

// replicas asks the node what it holds.
func (c collector) replicas(r *running, gauge func(string, string, float64, ...string)) {
	s, err := r.nodeStatus()
	if err != nil {
		return
	}
	var leaders, leaderless, asleep, applied, lag float64
	for i := range s.Replicas {
		x := &s.Replicas[i]
		applied += float64(x.Applied)
		lag += float64(x.Commit - min(x.Commit, x.Applied))
		if x.Asleep {
			asleep++
		}
		switch {
		case x.Role == "leader":
			leaders++
		case x.Leader == 0:
			leaderless++
		}
	}
	gauge("kvd_replicas", "Replicas on this node.", float64(len(s.Replicas)))
	gauge("kvd_leaders", "Replicas that lead their partition.", leaders)
	gauge("kvd_replicas_leaderless", "Replicas that know of no leader.", leaderless)
	gauge("kvd_replicas_asleep", "Leaders that are asleep.", asleep)
	gauge("kvd_applied_entries", "Sum of the applied log indexes of all replicas.", applied)
	gauge("kvd_apply_lag_entries", "Entries that are committed and not applied.", lag)
}
