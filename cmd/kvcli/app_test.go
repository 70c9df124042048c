package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/cmd/kvcli/store/storetest"
	"github.com/kvd-db/kvd/kv"
)

var update = flag.Bool("update", false, "write the golden files anew")

// testApp is an app over a fake cluster, whose streams are buffers.
type testApp struct {
	*app
	fake     *storetest.Fake
	out, err bytes.Buffer
	connects int
}

func newTestApp(stdin string) *testApp {
	t := &testApp{fake: storetest.New()}
	t.app = &app{
		streams:  streams{in: strings.NewReader(stdin), out: &t.out, err: &t.err},
		defaults: globals{target: "fake:1", timeout: 5 * time.Second},
		connect: func(_ context.Context, target string, _ store.Options) (store.Store, error) {
			t.connects++
			if target != "fake:1" {
				return nil, kv.Errorf(kv.Unavailable, "no node at %s", target)
			}
			return t.fake, nil
		},
		interruptible: func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(ctx) },
	}
	return t
}

// run runs one command and returns what it printed and its exit code.
func (t *testApp) run(args ...string) (out, talk string, code int) {
	t.out.Reset()
	t.err.Reset()
	t.app.mode = modeOnce
	code = t.app.report(context.Background(), args)
	return t.out.String(), t.err.String(), code
}

// must runs a command that has to succeed.
func (ta *testApp) must(t *testing.T, args ...string) string {
	t.Helper()
	out, talk, code := ta.run(args...)
	if code != 0 {
		t.Fatalf("kvcli %q: exit code %d: %s", args, code, talk)
	}
	return out
}

func TestExitCodes(t *testing.T) {
	for kind := kv.Kind(1); kind <= kv.KindMax; kind++ {
		if _, ok := exitCodes[kind]; !ok {
			t.Errorf("kind %s has no exit code", kind)
		}
	}
	for _, c := range []struct {
		err  error
		code int
		text string
	}{
		{kv.Errorf(kv.Unavailable, "no leader"), 5, "kvcli status"},
		{storetest.Ambiguous(kv.TxID{1}), 6, "kvcli outcome t-01"},
		{kv.Errorf(kv.Denied, "no"), 7, "no"},
		{kv.Errorf(kv.Timeout, "late"), 124, "--timeout"},
		{kv.Errorf(kv.Corruption, "bad sum"), 1, "kvcli check"},
		{kv.Errorf(kv.Conflict, "overtaken"), 4, "try again"},
		{errors.New("something else"), 1, "something else"},
	} {
		a := newTestApp("")
		a.fake.FailWith(func(string, []byte) error { return c.err })
		_, talk, code := a.run("put", "k", "v")
		if code != c.code || !strings.Contains(talk, c.text) || strings.Count(talk, "\n") != 1 {
			t.Errorf("%v: exit code %d, %q; want %d and one sentence with %q", c.err, code, talk, c.code, c.text)
		}
	}
	for _, args := range [][]string{{"bogus"}, {"get"}, {"get", "a", "b"}, {"get", "--bogus", "k"}, {"get", "k", "-o", "xml"}, {"keyspace"}, {"get", "k", "--timeout", "0s"}, {"bench", "bogus"}, {"version", "x"}, {"-o", "xml"}, {"--bogus"}} {
		if _, talk, code := newTestApp("").run(args...); code != exitUsage || talk == "" || strings.Contains(talk, "kvcli: kvcli: ") {
			t.Errorf("%q: exit code %d, %q; want 2 and a sentence", args, code, talk)
		}
	}
	a := newTestApp("")
	a.defaults.target = ""
	if _, talk, code := a.run("get", "k"); code != exitUsage || !strings.Contains(talk, "KVD_TARGET") {
		t.Errorf("no target: %d, %s", code, talk)
	}
	if _, _, code := a.run("get", "k", "--target", "elsewhere:1"); code != exitUnavailable {
		t.Errorf("nobody there: exit code %d, want 5", code)
	}
}

func TestTimeoutAndInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newTestApp("")
		a.fake.FailWith(func(string, []byte) error { time.Sleep(20 * time.Millisecond); return nil })
		if _, talk, code := a.run("get", "k", "--timeout", "1ms"); code != exitTimeout {
			t.Errorf("a slow cluster: exit code %d, want 124: %s", code, talk)
		}
		if _, talk, code := a.run("scan", "--timeout", "1ms"); code != exitTimeout {
			t.Errorf("a slow scan: exit code %d, want 124: %s", code, talk)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		a.err.Reset()
		if code := a.report(ctx, []string{"get", "k"}); code != exitInterrupted {
			t.Errorf("an interrupt: exit code %d, want 130: %s", code, &a.err)
		}
	})
}

// TestInterruptedScriptKeepsItsExitCode: errors before Ctrl-C do not hide it, but an unknown outcome stays one.
func TestInterruptedScriptKeepsItsExitCode(t *testing.T) {
	for _, c := range []struct {
		first error
		code  int
	}{{nil, exitInterrupted}, {store.NotFound([]byte("none")), exitInterrupted}, {storetest.Ambiguous(kv.TxID{1}), exitAmbiguous}} {
		a := newTestApp("put first v\nput second v\nput never v\n")
		ctx, interrupt := context.WithCancel(t.Context())
		a.fake.FailWith(func(_ string, key []byte) error {
			switch string(key) {
			case "first":
				return c.first
			case "second":
				interrupt()
				return ctx.Err()
			case "never":
				t.Error("a line after the interrupt ran")
			}
			return nil
		})
		if code := a.report(ctx, []string{"--keep-going"}); code != c.code {
			t.Errorf("after %v: exit code %d, want %d: %s", c.first, code, c.code, &a.err)
		}
		interrupt()
	}
}

func TestVersion(t *testing.T) {
	var v map[string]any
	if err := json.Unmarshal([]byte(newTestApp("").must(t, "version", "-o", "json")), &v); err != nil || v["go"] == "" {
		t.Errorf("version: %v, %v", v, err)
	}
}

// Golden scripts: testdata/NAME.kv is fed to kvcli, NAME.golden is what comes out.
