package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// The demands on idle partitions: percent of a core a node, and bytes a replica.
const (
	idleCPUFloor, idleCPUGoal     = 3.0, 1.0
	idleBytesFloor, idleBytesGoal = 20_000.0, 8_000.0
)

// How an idle cluster is waited for.
const (
	asleepShare = 0.99 // of the groups, before the measurement begins
	asleepMax   = 2 * time.Minute
	asleepLook  = 3 * time.Second
	idleRest    = 15 * time.Second // for what is left to do after a start, and after the last group fell asleep
)

// idleFigures are those of one node.
type idleFigures struct {
	name          string
	cpuPercent    float64 // of one core
	residentBytes int64
	baseBytes     int64 // before there were partitions
	heapBytes     int64 // live after a collection; -1: not known
	replicas      int
	leaders       int // of these: groups that this node leads
	asleep        int // of the leaders; only they know
}

func (f idleFigures) bytesPerReplica() float64 {
	return ratio(float64(f.residentBytes-f.baseBytes), float64(f.replicas))
}

// runIdle measures the sides one after the other.
func runIdle(ctx context.Context, s settings, about string, out io.Writer) error {
	t := table{head: []string{"node", "replicas", "leads", "asleep of these", "CPU % of a core", "RSS MiB", "RSS before MiB", "RSS bytes/replica", "live heap MiB"}}
	verdicts := ""
	for _, name := range s.sides {
		figures, err := idleOf(ctx, s, name, out)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, f := range figures {
			t.rows = append(t.rows, f.row())
		}
		if name == "kvd" {
			verdicts = idleVerdicts(figures)
		}
	}
	fmt.Fprintln(out)
	t.writeText(out)
	fmt.Fprint(out, verdicts)
	var b strings.Builder
	fmt.Fprintf(&b, "# %d idle partitions\n\n%s\nOver %v s, nothing else asked of them. The resident size is that of the process as it is, with what the collector has not given back; "+
		"per replica: what was added since there were no partitions. etcd beside: its one group, idle.\n\n", s.idle, about, s.seconds)
	t.writeMarkdown(&b)
	fmt.Fprint(&b, verdicts)
	return writeFile(s.markdown, b.String())
}

func (f idleFigures) row() []string {
	perReplica, heap := "-", "-"
	if f.replicas > 0 {
		perReplica = format(f.bytesPerReplica())
	}
	if f.heapBytes >= 0 {
		heap = format(float64(f.heapBytes) / (1 << 20))
	}
	return []string{
		f.name, fmt.Sprint(f.replicas), fmt.Sprint(f.leaders), fmt.Sprint(f.asleep), format(f.cpuPercent), format(float64(f.residentBytes) / (1 << 20)),
		format(float64(f.baseBytes) / (1 << 20)), perReplica, heap,
	}
}

// idleVerdicts judges the worst node.
func idleVerdicts(figures []idleFigures) string {
	cpu, size := 0.0, 0.0
	for _, f := range figures {
		cpu, size = max(cpu, f.cpuPercent), max(size, f.bytesPerReplica())
	}
	return fmt.Sprintf("kvd, worst node: CPU %s %% of a core; floor <= %v, goal <= %v: %s\n\nkvd, worst node: %s bytes a replica; floor <= %v, goal <= %v: %s\n",
		format(cpu), idleCPUFloor, idleCPUGoal, verdict{floor: idleCPUFloor, goal: idleCPUGoal, atMost: true}.judge(cpu),
		format(size), idleBytesFloor, idleBytesGoal, verdict{floor: idleBytesFloor, goal: idleBytesGoal, atMost: true}.judge(size))
}

func idleOf(ctx context.Context, s settings, name string, out io.Writer) ([]idleFigures, error) {
	fmt.Fprintf(out, "\n%s\n", name)
	started, err := startSide(ctx, s, name, out)
	if err != nil {
		return nil, err
	}
	defer started.stop()
	pause(ctx, idleRest)
	figures := make([]idleFigures, nodes)
	base, err := useOf(started.processes())
	if err != nil {
		return nil, err
	}
	k, isKvd := started.(*kvdSide)
	if isKvd {
		if err := k.fallAsleep(ctx, s.idle, figures, out); err != nil {
			return nil, err
		}
	}
	if err := watchIdle(ctx, started.processes(), s.seconds, figures); err != nil {
		return nil, err
	}
	for i := range figures {
		figures[i].baseBytes, figures[i].heapBytes = base[i].residentBytes, -1
		if !isKvd {
			continue
		}
		if figures[i].heapBytes, err = liveHeap(ctx, k.members[i].admin); err != nil {
			return nil, err
		}
	}
	return figures, nil
}

func useOf(c *cluster) ([]processUse, error) {
	var all []processUse
	for _, pid := range c.pids() {
		u, err := readUse(pid)
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// watchIdle looks at both ends of a time in which nobody asks for anything.
func watchIdle(ctx context.Context, c *cluster, seconds float64, into []idleFigures) error {
	before, err := useOf(c)
	if err != nil {
		return err
	}
	began := time.Now()
	pause(ctx, time.Duration(seconds*float64(time.Second)))
	after, err := useOf(c)
	if err != nil {
		return err
	}
	elapsed := time.Since(began).Seconds()
	for i := range after {
		into[i].name = c.processes[i].name
		into[i].cpuPercent = 100 * (after[i].cpu - before[i].cpu).Seconds() / elapsed
		into[i].residentBytes = after[i].residentBytes
	}
	return ctx.Err()
}

// fallAsleep makes partitions and waits until their groups sleep.
func (s *kvdSide) fallAsleep(ctx context.Context, partitions int, into []idleFigures, out io.Writer) error {
	began := time.Now()
	for n, left := 1, partitions; left > 0; n++ {
		part := min(left, kv.HashPartitionsMax)
		opCtx, cancel := context.WithTimeout(ctx, createMax)
		err := s.client.Admin().CreateKeyspace(opCtx, fmt.Sprintf("idle%d", n), client.ByHash(part))
		cancel()
		if err != nil {
			return fmt.Errorf("after %.0f s, making %d of %d partitions: %w", time.Since(began).Seconds(), part, partitions, err)
		}
		left -= part
	}
	fmt.Fprintf(out, "  made %d partitions in %.1f s\n", partitions, time.Since(began).Seconds())
	for deadline := time.Now().Add(asleepMax); ; {
		pause(ctx, asleepLook)
		all, asleep, err := s.countAsleep(ctx, into)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  %d of %d groups asleep\n", asleep, all)
		if float64(asleep) >= asleepShare*float64(all) || time.Now().After(deadline) {
			pause(ctx, idleRest)
			return ctx.Err()
		}
	}
}

// countAsleep counts groups where they are led.
func (s *kvdSide) countAsleep(ctx context.Context, into []idleFigures) (all, asleep int, err error) {
	ctx, cancel := context.WithTimeout(ctx, openMax)
	defer cancel()
	for i, m := range s.members {
		n, err := s.client.Admin().NodeStatus(ctx, m.node)
		if err != nil {
			return 0, 0, err
		}
		f := &into[i]
		f.replicas, f.leaders, f.asleep = len(n.Replicas), 0, 0
		for _, r := range n.Replicas {
			if r.Role == "leader" {
				f.leaders++
			}
			if r.Asleep {
				f.asleep++
			}
		}
		all, asleep = all+f.leaders, asleep+f.asleep
	}
	return all, asleep, nil
}

// liveHeap has a node collect its garbage, and gives what is left.
func liveHeap(ctx context.Context, admin string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, openMax)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/debug/pprof/heap?gc=1&debug=1", nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	return parseHeap(string(text))
}

// parseHeap reads HeapAlloc out of the text form of Go's heap profile.
func parseHeap(profile string) (int64, error) {
	const mark = "# HeapAlloc = "
	_, after, ok := strings.Cut(profile, mark)
	if !ok {
		return 0, fmt.Errorf("the heap profile has no line %q", mark)
	}
	number, _, _ := strings.Cut(after, "\n")
	return strconv.ParseInt(strings.TrimSpace(number), 10, 64)
}
