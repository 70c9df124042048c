package host

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

func TestOptionsAreRefusedWithASentence(t *testing.T) {
	for says, change := range map[string]func(*Options){
		"--data":                  func(o *Options) { o.Data = "" },
		"--listen":                func(o *Options) { o.Listen = "" },
		`"nonsense"`:              func(o *Options) { o.Listen = "nonsense" },
		`--join "b"`:              func(o *Options) { o.Join = []string{"a:1", "b"} },
		"say --insecure":          func(o *Options) { o.Listen = "0.0.0.0:1" },
		"--admin-listen":          func(o *Options) { o.Network.AdminListen = "192.0.2.1:1" },
		"lease or quorum":         func(o *Options) { o.ReadMode = "fast" },
		"two-phase or parallel":   func(o *Options) { o.Commit = "fast" },
		"choose 1 to 64":          func(o *Options) { o.Loops = 65 },
		"--locality":              func(o *Options) { o.Locality = "berlin" },
		"requests-max":            func(o *Options) { o.Limits.RequestsMax = 1 << 30 },
		"cache-bytes is -1":       func(o *Options) { o.Storage.CacheBytes = -1 },
		"retention of 1m0s":       func(o *Options) { o.Retention = time.Minute },
		"hold-max 1m0s":           func(o *Options) { o.Timing.Core.HoldMax = time.Minute },
		"election timeout":        func(o *Options) { o.Timing.Support = -1 },
		"LocalityBytesMax is 120": func(o *Options) { o.Locality = strings.Repeat("zone=x,,,,,,", 100) },
	} {
		o := Options{Data: "d", Listen: "127.0.0.1:0"}
		change(&o)
		err := o.Validate()
		if k := kv.KindOf(err); k != kv.Invalid && k != kv.Limit || !strings.Contains(err.Error(), says) && says != "election timeout" {
			t.Errorf("want a refusal that says %s, got %v", says, err)
		}
	}
	insecure := Options{Data: "d", Listen: "0.0.0.0:1", Network: Network{Insecure: true}}
	if err := insecure.Validate(); err != nil {
		t.Errorf("with --insecure: %v", err)
	}
	if err := (&Options{Data: "d", Listen: "localhost:1", Locality: "region=eu,zone=a"}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestReachableAddress(t *testing.T) {
	if got := reachable("127.0.0.1:4711", "localhost:0"); got != "localhost:4711" {
		t.Errorf("got %s", got)
	}
	if got := reachable("[::]:4711", ":0"); strings.HasPrefix(got, "[::]") || !strings.HasSuffix(got, ":4711") {
		t.Errorf("others cannot reach %s", got)
	}
}

func TestParamsKeepTheirProportion(t *testing.T) {
	o := Options{}
	for _, d := range []time.Duration{SupportDurationDefault, 300 * time.Millisecond, 3 * time.Second} {
		if err := o.params(d).Validate(); err != nil {
			t.Errorf("support duration %s: %v", d, err)
		}
	}
}

func TestLimiterKeepsTheRate(t *testing.T) {
	l := limiter{perSecond: 1 << 20}
	if err := l.wait(t.Context(), 1<<30); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.wait(ctx, 1); err == nil {
		t.Error("a gigabyte has gone at a megabyte a second, and the next byte goes at once")
	}
}
