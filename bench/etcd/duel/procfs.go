package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of CPU times in /proc: USER_HZ is 100 on every Linux that Go runs on.
const clockTick = time.Second / 100

// parseCPU reads utime+stime out of /proc/PID/stat.
func parseCPU(stat []byte) (time.Duration, error) {
	// The name in parentheses may hold anything, also spaces and parentheses; state is the
	// first field after it, and the third of all.
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, errors.New("stat has no name in parentheses")
	}
	fields := strings.Fields(string(stat[end+1:]))
	const utime, stime = 14 - 3, 15 - 3
	if len(fields) <= stime {
		return 0, fmt.Errorf("stat has only %d fields after the name", len(fields))
	}
	user, err := strconv.ParseUint(fields[utime], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("utime: %w", err)
	}
	system, err := strconv.ParseUint(fields[stime], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("stime: %w", err)
	}
	return time.Duration(user+system) * clockTick, nil
}

// childrenOf are the processes that a process has started and that are there; none without /proc.
func childrenOf(parent int) []int {
	var children []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has just ended
		}
		if p, err := parseParent(stat); err == nil && p == parent {
			children = append(children, pid)
		}
	}
	return children
}

// parseParent reads the parent's number out of /proc/PID/stat: the second field after the name.
func parseParent(stat []byte) (int, error) {
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return 0, errors.New("stat names no parent")
	}
	return strconv.Atoi(fields[1])
}

// parseKiB reads a field of /proc/PID/status or /proc/meminfo, like "VmRSS:  1234 kB", in bytes.
func parseKiB(text []byte, name string) (int64, error) {
	value := parseField(text, name)
	number, unit, _ := strings.Cut(value, " ")
	if unit != "kB" {
		return 0, fmt.Errorf("%s is %q, which is no number of kB", name, value)
	}
	n, err := strconv.ParseInt(number, 10, 64)
	return n << 10, err
}

// parseField is the value of the first line "name : value"; "" if there is none.
func parseField(text []byte, name string) string {
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// processUse is what a process has used so far, and holds now.
type processUse struct {
	cpu           time.Duration
	residentBytes int64
}

func readUse(pid int) (u processUse, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	if u.cpu, err = parseCPU(stat); err != nil {
		return u, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	u.residentBytes, err = parseKiB(status, "VmRSS")
	return u, err
}

// machine is one line on where this runs.
func machine(cpus int) string {
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo") // what cannot be read is left out
	meminfo, _ := os.ReadFile("/proc/meminfo")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	memory, _ := parseKiB(meminfo, "MemTotal")
	return fmt.Sprintf("%d CPUs (%s), %d MiB, kernel %s", cpus, parseField(cpuinfo, "model name"), memory>>20, bytes.TrimSpace(kernel))
}
