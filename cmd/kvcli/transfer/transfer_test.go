package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/cmd/kvcli/store/storetest"
	"github.com/kvd-db/kvd/kv"
)

// numbered is n items with the keys k0000, k0001, ...
func numbered(n int) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for i := range n {
			value := fmt.Appendf(nil, "value %d", i)
			it := Item{Key: fmt.Appendf(nil, "k%04d", i), Bytes: int64(len(value)), Read: func() ([]byte, error) { return value, nil }}
			if !yield(it, nil) {
				return
			}
		}
	}
}

func TestImportAndVerify(t *testing.T) {
	fake := storetest.New()
	sum, err := Import(t.Context(), fake, numbered(1000), Options{Workers: 8})
	if err != nil || sum.Keys != 1000 || fake.Writes() != 1000 || sum.Retries != 0 {
		t.Fatalf("%+v, %v, %d writes", sum, err, fake.Writes())
	}
	sum, err = Verify(t.Context(), fake, numbered(1000), Options{Workers: 8})
	if err != nil || sum.Keys != 1000 || sum.Bytes != 8890 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// The store is away for three seconds: the import waits, loses nothing, and says so.
func TestImportSurvivesAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := storetest.New()
		began := time.Now()
		fake.FailWith(func(string, []byte) error {
			time.Sleep(10 * time.Millisecond)
			if since := time.Since(began); since > time.Second && since < 4*time.Second {
				return kv.Errorf(kv.Unavailable, "no leader")
			}
			return nil
		})
		var progress []Progress
		sum, err := Import(t.Context(), fake, numbered(2000), Options{Workers: 4, Progress: func(p Progress) { progress = append(progress, p) }})
		if err != nil || sum.Keys != 2000 || sum.Retries == 0 {
			t.Fatalf("%+v, %v", sum, err)
		}
		if sum.LongestGap < 3*time.Second || sum.LongestGap > 4200*time.Millisecond {
			t.Errorf("the longest gap is %v, want three seconds and at most one pause", sum.LongestGap)
		}
		if sum.Elapsed < 8*time.Second || len(progress) < 10 {
			t.Errorf("elapsed %v with %d reports, want 8 s and one in half a second", sum.Elapsed, len(progress))
		}
		if last := progress[5]; last.SinceLast < time.Second {
			t.Errorf("progress in the outage: %+v, want to see that nothing moves", last)
		}
	})
}

func TestImportGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := storetest.New()
		fake.FailWith(func(_ string, key []byte) error {
			if bytes.Compare(key, []byte("k0010")) >= 0 {
				return kv.Errorf(kv.Unavailable, "no leader")
			}
			return nil
		})
		began := time.Now()
		sum, err := Import(t.Context(), fake, numbered(100), Options{Workers: 4, RetryFor: 10 * time.Second})
		if kv.KindOf(err) != kv.Unavailable || !strings.Contains(err.Error(), "k0010: no leader") {
			t.Errorf("the error is %v, want the first key", err)
		}
		if took := time.Since(began); took < 9*time.Second || took > 12*time.Second {
			t.Errorf("it took %v, want the 10 s of RetryFor", took)
		}
		if sum.Keys != 10 || sum.LongestGap < 9*time.Second {
			t.Errorf("%+v, want 10 keys and the gap to the end", sum)
		}
	})
}

func TestErrorsThatNeedNoRetry(t *testing.T) {
	for _, kind := range []kv.Kind{kv.Denied, kv.Limit, kv.Invalid, kv.Corruption, kv.DiskFull, kv.NotFound} {
		fake := storetest.New()
		var calls atomic.Int64
		fake.FailWith(func(string, []byte) error { calls.Add(1); return kv.Errorf(kind, "no") })
		sum, err := Import(t.Context(), fake, numbered(1), Options{})
		if kv.KindOf(err) != kind || calls.Load() != 1 || sum.Keys != 0 {
			t.Errorf("%s: %v after %d calls", kind, err, calls.Load())
		}
	}
}

// lossy loses the answers of some puts, some of which were carried out.
type lossy struct {
	*storetest.Fake
	mu       sync.Mutex
	lose     func(n int) (executed bool, lost bool)
	n        int
	puts     map[string]int // carried out, by key
	outcomes map[kv.TxID]kv.Outcome
	unknown  int // how many questions for an outcome find no answer first
}

func (l *lossy) Put(ctx context.Context, key, value []byte) (store.Commit, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	executed, lost := l.lose(l.n)
	id := kv.TxID{0: 1, 14: byte(l.n >> 8), 15: byte(l.n)}
	if executed || !lost {
		l.puts[string(key)]++
		if _, err := l.Fake.Put(ctx, key, value); err != nil {
			return store.Commit{}, err
		}
	}
	if !lost {
		return store.Commit{}, nil
	}
	l.outcomes[id] = kv.OutcomeAborted
	if executed {
		l.outcomes[id] = kv.OutcomeCommitted
	}
	return store.Commit{}, storetest.Ambiguous(id)
}

func (l *lossy) Outcome(_ context.Context, id kv.TxID) (kv.Outcome, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unknown > 0 {
		l.unknown--
		return kv.OutcomeUnknown, kv.Errorf(kv.Unavailable, "not now")
	}
	return l.outcomes[id], nil
}

func TestLostAnswersAreAskedForAndNothingIsDoneTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lossy{Fake: storetest.New(), puts: map[string]int{}, outcomes: map[kv.TxID]kv.Outcome{}, unknown: 5}
		l.lose = func(n int) (bool, bool) { return n%2 == 0, n%3 == 0 }
		sum, err := Import(t.Context(), l, numbered(300), Options{Workers: 4})
		if err != nil || sum.Keys != 300 || sum.Retries == 0 {
			t.Fatalf("%+v, %v", sum, err)
		}
		for key, n := range l.puts {
			if n != 1 {
				t.Errorf("%s was written %d times", key, n)
			}
		}
		if len(l.puts) != 300 {
			t.Errorf("%d keys were written", len(l.puts))
		}
	})
}

func TestUnknownOutcomesStopTheImport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lossy{Fake: storetest.New(), puts: map[string]int{}, outcomes: map[kv.TxID]kv.Outcome{}, unknown: 1 << 30}
		l.lose = func(n int) (bool, bool) { return true, true }
		_, err := Import(t.Context(), l, numbered(1), Options{RetryFor: 5 * time.Second})
		var a *store.AmbiguousError
		if !errors.As(err, &a) || a.Token == "" || !strings.Contains(err.Error(), "k0000") || l.puts["k0000"] != 1 {
			t.Errorf("%v after %d writes, want an ambiguous error with its token after one", err, l.puts["k0000"])
		}
	})
}

// Many workers, several differences: the first in the order of the source is named.
func TestVerifyNamesTheFirstDifference(t *testing.T) {
	for range 20 {
		fake := storetest.New()
		if _, err := Import(t.Context(), fake, numbered(500), Options{}); err != nil {
			t.Fatal(err)
		}
		for _, k := range []string{"k0100", "k0101", "k0102", "k0400"} {
			if _, err := fake.Put(t.Context(), []byte(k), []byte("value_x")); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Verify(t.Context(), fake, numbered(500), Options{Workers: 16})
		var d *Difference
		if !errors.As(err, &d) || string(d.Key) != "k0100" || d.At != 5 || d.Want != 9 || d.Got != 7 {
			t.Fatalf("the difference is %+v, want k0100 from byte 5 on", err)
		}
	}
	fake := storetest.New()
	_, err := Verify(t.Context(), fake, numbered(3), Options{})
	var d *Difference
	if !errors.As(err, &d) || !d.Missing || string(d.Key) != "k0000" {
		t.Errorf("an empty store: %v", err)
	}
	if _, err := Verify(t.Context(), fake.In("none"), numbered(3), Options{}); errors.As(err, &d) && d.Missing && err == error(d) {
		t.Errorf("a missing keyspace is reported as a missing key: %v", err)
	}
}

func TestInterruptedImport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := storetest.New()
		fake.FailWith(func(string, []byte) error { time.Sleep(100 * time.Millisecond); return nil })
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second+time.Millisecond, cancel)
		sum, err := Import(ctx, fake, numbered(1000), Options{Workers: 1})
		if !errors.Is(err, context.Canceled) || sum.Keys != 10 {
			t.Errorf("%+v, %v; want 10 keys and the interrupt", sum, err)
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 1 << 20
		var held, most atomic.Int64
		items := func(yield func(Item, error) bool) {
			for i := range 64 {
				if !yield(Item{Key: fmt.Appendf(nil, "k%d", i), Bytes: size, Read: func() ([]byte, error) {
					most.Store(max(most.Load(), held.Add(size)))
					return make([]byte, size), nil
				}}, nil) {
					return
				}
			}
		}
		fake := storetest.New()
		fake.FailWith(func(op string, _ []byte) error {
			time.Sleep(time.Millisecond)
			held.Add(-size)
			return nil
		})
		if _, err := Import(t.Context(), fake, items, Options{Workers: 32, BytesInFlight: 4 * size}); err != nil {
			t.Fatal(err)
		}
		// One more may be read when its predecessor's write has ended but not yet been counted.
		if most.Load() > 5*size || most.Load() < 2*size {
			t.Errorf("%d MiB were held, the budget is 4", most.Load()/size)
		}
	})
}

func TestTree(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	write("b/2", "two")
	write("a", "one")
	write("b/1", "")
	if err := os.Symlink("a", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for it, err := range Tree(root, []byte("p/")) {
		if err != nil {
			t.Fatal(err)
		}
		text := it.Skip
		if text == "" {
			b, err := it.Read()
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
		}
		got = append(got, string(it.Key)+"="+text)
	}
	if want := "p/a=one p/b/1= p/b/2=two p/link=it is no regular file"; strings.Join(got, " ") != want {
		t.Errorf("the tree is %q, want %q", got, want)
	}
	for _, err := range Tree(filepath.Join(root, "none"), nil) {
		if err == nil {
			t.Error("a missing directory has files")
		}
	}
}

func TestLines(t *testing.T) {
	text := `{"key":"a","value":"1","version":"5"}

{"key":{"b64":"AP8="},"value":{"b64":""}}
{"value":"last","key":"z"}`
	var got []string
	for it, err := range Lines(strings.NewReader(text), []byte("p")) {
		if err != nil {
			t.Fatal(err)
		}
		b, _ := it.Read()
		got = append(got, fmt.Sprintf("%q=%q", it.Key, b))
	}
	if want := `"pa"="1" "p\x00\xff"="" "pz"="last"`; strings.Join(got, " ") != want {
		t.Errorf("the lines are %s, want %s", strings.Join(got, " "), want)
	}
	for bad, want := range map[string]string{
		`{"key":"a"}`: "line 1",
		"{\"key\":\"a\",\"value\":\"\"}\nrubbish": "line 2",
		`{"key":1,"value":"x"}`:                   "bytes are a string",
		`{"key":{"b64":"!"},"value":"x"}`:         "bytes are a string",
	} {
		var failed error
		for _, err := range Lines(strings.NewReader(bad), nil) {
			failed = err
		}
		if kv.KindOf(failed) != kv.Invalid || !strings.Contains(failed.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", bad, failed, want)
		}
	}
	long := `{"key":"` + strings.Repeat("k", kv.KeyBytesMax+1) + `","value":"v"}`
	for it, err := range Lines(strings.NewReader(long), nil) {
		if err != nil || it.Skip == "" {
			t.Errorf("a long key: %q, %v; want it skipped", it.Skip, err)
		}
	}
}

// FuzzLines: what export writes, import reads.
func FuzzLines(f *testing.F) {
	f.Add([]byte("k"), []byte("v"))
	f.Add([]byte("\x00\xff"), []byte("<&>\u2028\xe2"))
	f.Add([]byte(`{"b64":"AA=="}`), []byte(""))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		var text bytes.Buffer
		pairs := func(yield func(store.Pair, error) bool) { yield(store.Pair{Key: key, Value: value}, nil) }
		if _, err := ExportLines(&text, pairs); err != nil {
			t.Fatal(err)
		}
		n := 0
		for it, err := range Lines(&text, nil) {
			if err != nil {
				t.Fatal(err)
			}
			b, _ := it.Read()
			if n++; !bytes.Equal(it.Key, key) || !bytes.Equal(b, value) {
				t.Fatalf("%q=%q came back as %q=%q", key, value, it.Key, b)
			}
		}
		if n != 1 {
			t.Fatalf("%q=%q came back as %d lines", key, value, n)
		}
	})
}

func TestExportTreeRefusesStrangePaths(t *testing.T) {
	for _, key := range []string{"../up", "/root", "a//b", "a/", ".", "a/../b", "", "a\x00b", "\xff"} {
		pairs := func(yield func(store.Pair, error) bool) { yield(store.Pair{Key: []byte(key), Value: []byte("v")}, nil) }
		if _, err := ExportTree(t.TempDir(), pairs); kv.KindOf(err) != kv.Invalid {
			t.Errorf("key %q became a file: %v", key, err)
		}
	}
}
