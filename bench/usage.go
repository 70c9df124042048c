package bench

import (
	"runtime/metrics"
	"time"
)

// Usage is a reading of counters that only grow; two of them give what was used between.
type Usage struct {
	At            time.Time
	ServerCPU     time.Duration // user and system time of the watched processes and their children
	OwnCPU        time.Duration // of this process
	MachineBusy   time.Duration // of all processors together, all processes
	MachineTotal  time.Duration
	DeviceBytes   uint64 // written
	DeviceFlushes uint64
	ServerPIDs    int  // watched processes that could be read
	HasDevice     bool // DeviceBytes and DeviceFlushes are known
}

// Resources are what a run used, per operation where that makes sense.
type Resources struct {
	ServerCPUSeconds    float64 `json:"server_cpu_s,omitempty"`
	ServerCPUMicrosOp   float64 `json:"server_cpu_us_per_op,omitempty"`
	ClientCPUMicrosOp   float64 `json:"client_cpu_us_per_op,omitempty"`
	DeviceBytes         uint64  `json:"device_bytes,omitempty"`
	DeviceBytesPerOp    float64 `json:"device_bytes_per_op,omitempty"`
	DeviceFlushesPerOp  float64 `json:"device_flushes_per_op,omitempty"`
	MachineBusyPercent  float64 `json:"machine_busy_percent"`
	OthersPercent       float64 `json:"others_percent"` // of the machine, neither servers nor this process
	ServerPIDsAtEnd     int     `json:"server_pids,omitempty"`
	ServerPIDsWereAlike bool    `json:"server_pids_unchanged"`
}

// usageMeter reads Usage for what a run observes.
type usageMeter struct {
	pids   []int
	device string // path of the device's counters; "" if it is not watched
}

func newUsageMeter(o Observe) *usageMeter {
	return &usageMeter{pids: o.PIDs, device: devicePath(o.Device)}
}

// usageSpan is Usage at both ends of the measured part.
type usageSpan struct {
	begun           bool
	first, last     *Usage // nil where nothing can be read
	firstGC, lastGC time.Duration
}

func (s *usageSpan) begin(m *usageMeter) {
	s.begun, s.first, s.firstGC = true, m.read(), gcPauseTotal()
}

func (s *usageSpan) end(m *usageMeter) {
	if s.begun {
		s.last, s.lastGC = m.read(), gcPauseTotal()
	}
}

func (s *usageSpan) gcPause() time.Duration { return max(0, s.lastGC-s.firstGC) }

func (s *usageSpan) ownCPU() time.Duration {
	if s.first == nil || s.last == nil {
		return 0
	}
	return s.last.OwnCPU - s.first.OwnCPU
}

// resources is nil where nothing could be read. A server that was restarted has lost the
// time it had used: then only its count says so.
func (s *usageSpan) resources(ops int64) *Resources {
	if s.first == nil || s.last == nil {
		return nil
	}
	a, b := s.first, s.last
	n := float64(max(1, ops))
	server, own := max(0, b.ServerCPU-a.ServerCPU), b.OwnCPU-a.OwnCPU
	r := &Resources{ServerPIDsAtEnd: b.ServerPIDs, ServerPIDsWereAlike: a.ServerPIDs == b.ServerPIDs}
	r.ClientCPUMicrosOp = own.Seconds() * 1e6 / n
	if b.ServerPIDs > 0 {
		r.ServerCPUSeconds = server.Seconds()
		r.ServerCPUMicrosOp = server.Seconds() * 1e6 / n
	}
	if a.HasDevice && b.HasDevice {
		r.DeviceBytes = b.DeviceBytes - a.DeviceBytes
		r.DeviceBytesPerOp = float64(r.DeviceBytes) / n
		r.DeviceFlushesPerOp = float64(b.DeviceFlushes-a.DeviceFlushes) / n
	}
	if whole := b.MachineTotal - a.MachineTotal; whole > 0 {
		busy := b.MachineBusy - a.MachineBusy
		r.MachineBusyPercent = 100 * float64(busy) / float64(whole)
		r.OthersPercent = max(0, 100*float64(busy-server-own)/float64(whole))
	}
	return r
}

// gcPauseTotal is how long the garbage collector has stopped this process so far, from
// the middle of each bucket of the runtime's histogram.
func gcPauseTotal() time.Duration {
	s := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0
	}
	h := s[0].Value.Float64Histogram()
	sum := 0.0
	for i, n := range h.Counts {
		low, high := h.Buckets[i], h.Buckets[i+1]
		if n > 0 && low >= 0 && high < 1e6 {
			sum += float64(n) * (low + high) / 2
		}
	}
	return time.Duration(sum * float64(time.Second))
}
