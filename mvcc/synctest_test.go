package mvcc

import (
	"testing"
	"testing/synctest"
)

// TestRunsInABubble opens and crashes a store under virtual time: nothing of it outlives Close.
func TestRunsInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := NewMemFS()
		e := openTest(t, Options{FS: fs, Deterministic: true})
		put(t, e, "k", 1, nil)
		must(t, e.Flush())
		synctest.Wait()
		must(t, e.Abandon())
		e = openTest(t, Options{FS: CrashClone(fs), Deterministic: true})
		if _, ok := get(t, e, "k", 1); !ok {
			t.Error("a flushed key is gone")
		}
		must(t, e.Close())
	})
}
