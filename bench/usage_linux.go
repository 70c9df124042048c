package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTick is the unit of CPU times in /proc: USER_HZ is 100 on every Linux that Go runs on.
const clockTick = time.Second / 100

// sectorBytes is the unit of /sys/block, whatever the device's own sectors are.
const sectorBytes = 512

// read takes a reading; nil where /proc cannot be read.
func (m *usageMeter) read() *Usage {
	u := &Usage{At: time.Now()}
	var err error
	if u.MachineBusy, u.MachineTotal, err = machineCPU(); err != nil {
		return nil
	}
	var own syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &own) == nil {
		u.OwnCPU = time.Duration(own.Utime.Nano() + own.Stime.Nano())
	}
	if len(m.pids) > 0 {
		u.ServerCPU, u.ServerPIDs = serverCPU(m.pids)
	}
	if m.device != "" {
		u.DeviceBytes, u.DeviceFlushes, err = deviceCounters(m.device)
		u.HasDevice = err == nil
	}
	return u
}

// processTimes is what /proc says of a process.
type processTimes struct {
	parent int
	own    time.Duration // user and system time
	reaped time.Duration // that of the children that have ended, and of theirs
}

// serverCPU is the time of processes, and how many of them could be read. A server may be a family
// (PostgreSQL is): its children count, wherever they have gone, since a parent inherits the time of those that end.
func serverCPU(pids []int) (cpu time.Duration, count int) {
	children, times := map[int][]int{}, map[int]processTimes{}
	entries, _ := os.ReadDir("/proc") // what cannot be read has no children
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if t, err := readTimes(pid); err == nil { // else it has just ended
			times[pid] = t
			children[t.parent] = append(children[t.parent], pid)
		}
	}
	for _, pid := range pids {
		if _, ok := times[pid]; ok {
			count++
		}
		for family := []int{pid}; len(family) > 0; {
			t := times[family[0]]
			cpu += t.own + t.reaped
			family = append(family[1:], children[family[0]]...)
		}
	}
	return cpu, count
}

func readTimes(pid int) (processTimes, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return processTimes{}, err
	}
	return parseTimes(string(b))
}

func parseTimes(stat string) (t processTimes, err error) {
	// The name in parentheses may hold anything; the fields after it are counted from 3.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	const ppid, utime, stime, cutime, cstime = 4 - 3, 14 - 3, 15 - 3, 16 - 3, 17 - 3
	parent, err := sumFields(fields, ppid)
	if err != nil {
		return t, err
	}
	own, err := sumFields(fields, utime, stime)
	if err != nil {
		return t, err
	}
	reaped, err := sumFields(fields, cutime, cstime)
	return processTimes{parent: int(parent), own: time.Duration(own) * clockTick, reaped: time.Duration(reaped) * clockTick}, err
}

// machineCPU is the time of all processors together.
func machineCPU() (busy, total time.Duration, err error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	fields := strings.Fields(line)
	// cpu user nice system idle iowait irq softirq steal (guest times are part of user)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, fmt.Errorf("/proc/stat: unexpected first line %q", line)
	}
	whole, err := sumFields(fields, 1, 2, 3, 4, 5, 6, 7, 8)
	if err != nil {
		return 0, 0, err
	}
	idle, err := sumFields(fields, 4, 5)
	return time.Duration(whole-idle) * clockTick, time.Duration(whole) * clockTick, err
}

// deviceCounters reads the bytes written to a block device, and its flushes.
func deviceCounters(path string) (written, flushes uint64, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(b))
	const sectorsWritten, flushRequests = 6, 15
	if written, err = sumFields(fields, sectorsWritten); err != nil {
		return 0, 0, err
	}
	if len(fields) > flushRequests { // kernels before 5.5 do not count flushes
		flushes, err = sumFields(fields, flushRequests)
	}
	return written * sectorBytes, flushes, err
}

func sumFields(fields []string, indexes ...int) (sum uint64, err error) {
	for _, i := range indexes {
		if i >= len(fields) {
			return 0, fmt.Errorf("field %d of %d is missing", i, len(fields))
		}
		n, err := strconv.ParseUint(fields[i], 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// devicePath is where the counters of a device are, which is given by its name or by a
// directory on it; "" if there are none.
func devicePath(device string) string {
	if device == "" {
		return ""
	}
	path := filepath.Join("/sys/class/block", filepath.Base(device), "stat")
	var st syscall.Stat_t
	if info, err := os.Stat(device); err == nil && info.IsDir() && syscall.Stat(device, &st) == nil {
		major, minor := (st.Dev>>8)&0xfff, st.Dev&0xff|(st.Dev>>12)&0xfff00
		path = fmt.Sprintf("/sys/dev/block/%d:%d/stat", major, minor)
	}
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}
