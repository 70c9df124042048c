package bench

import (
	"os"
	"strings"
	"testing"
)

func TestSumFields(t *testing.T) {
	fields := strings.Fields(" S 1 2 3 4 5 6 7 8 9 10 250 50 0 0")
	if n, err := sumFields(fields, 11, 12); err != nil || n != 300 {
		t.Errorf("utime+stime = %d, %v, want 300", n, err)
	}
	if _, err := sumFields(fields, 99); err == nil {
		t.Error("a missing field was read")
	}
	if _, err := sumFields(fields, 0); err == nil {
		t.Error("a letter was read as a number")
	}
}

func TestDevicePath(t *testing.T) {
	if p := devicePath("no-such-device"); p != "" {
		t.Errorf("a device that does not exist is at %s", p)
	}
	entries, err := os.ReadDir("/sys/class/block")
	if err != nil || len(entries) == 0 {
		t.Skip("no block device here")
	}
	name := entries[0].Name()
	p := devicePath(name)
	if p == "" || p != devicePath("/dev/"+name) {
		t.Fatalf("%s is at %q, /dev/%s at %q", name, p, name, devicePath("/dev/"+name))
	}
	if _, _, err := deviceCounters(p); err != nil {
		t.Error(err)
	}
}
