package client_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// TestReadYourWrites compares a transaction with a map, in keyspaces of each scheme.
func TestReadYourWrites(t *testing.T) {
	_, c := opened(t)
	for _, name := range keyspaces(t, c) {
		for seed := range uint64(30) {
			ownWrites(t, c.In(name), rand.New(rand.NewPCG(seed, 1)))
			if t.Failed() {
				t.Fatalf("keyspace %s, seed %d", name, seed)
			}
		}
	}
}

func ownWrites(t *testing.T, c *client.Client, rng *rand.Rand) {
	key := func() string { return string(rune('a'+rng.IntN(4))) + fmt.Sprint(rng.IntN(6)) }
	model := map[string]string{}
	for p, err := range c.Scan(t.Context(), client.All()) {
		if err != nil {
			t.Fatal(err)
		}
		model[string(p.Key)] = string(p.Value)
	}
	in := func() client.Range {
		r := client.Range{Start: []byte(key()), End: []byte(key())}
		if rng.IntN(3) == 0 {
			r.End = nil
		}
		if rng.IntN(3) == 0 {
			r.Start = nil
		}
		return r
	}
	update(t, c, func(_ context.Context, tx *client.Tx) error {
		for range 40 {
			k := key()
			switch rng.IntN(9) {
			case 0, 1:
				model[k] = fmt.Sprint(rng.IntN(100))
				tx.Put([]byte(k), []byte(model[k]))
			case 2:
				delete(model, k)
				tx.Delete([]byte(k))
			case 3, 4:
				n := 0
				fmt.Sscan(model[k], &n)
				d := rng.IntN(9) - 4
				model[k] = fmt.Sprint(n + d)
				tx.Add([]byte(k), int64(d))
			case 5:
				if rng.IntN(4) > 0 {
					break
				}
				r := in()
				for k := range model {
					if rangeHas(r, k) {
						delete(model, k)
					}
				}
				tx.DeleteRange(r)
			case 6:
				want, ok := model[k]
				if !ok {
					want = "-"
				}
				if got := text(t, tx, k); got != want {
					t.Fatalf("%s is %q, not %q", k, got, want)
				}
			case 7:
				keys := [][]byte{[]byte(key()), []byte(key()), []byte(key())}
				for i, p := range must[[]client.Pair](t)(tx.GetMany(t.Context(), keys...)) {
					want, ok := model[string(keys[i])]
					if string(p.Value) != want || ok != (p.Version != 0) || !bytes.Equal(p.Key, keys[i]) {
						t.Fatalf("%s is %+v, not %q", keys[i], p, want)
					}
				}
			default:
				r, n, reverse := in(), rng.IntN(5), rng.IntN(2) == 0
				opts := []client.ScanOption{client.Limit(n)}
				if reverse {
					opts = append(opts, client.Reverse())
				}
				if got, want := list(t, tx, r, opts...), expected(model, r, n, reverse); got != want {
					t.Fatalf("scan %s, limit %d, reverse %t:\n%s, not\n%s", r, n, reverse, got, want)
				}
			}
		}
		return nil
	})
	if got, want := strings.Join(scan(t, c, client.All()), " "), expected(model, client.All(), 0, false); got != want {
		t.Fatalf("committed\n%s, not\n%s", got, want)
	}
}

func rangeHas(r client.Range, k string) bool {
	return k >= string(r.Start) && (len(r.End) == 0 || k < string(r.End))
}

func expected(model map[string]string, r client.Range, limit int, reverse bool) string {
	var all []string
	for k, v := range model {
		if rangeHas(r, k) {
			all = append(all, k+"="+v)
		}
	}
	slices.Sort(all)
	if reverse {
		slices.Reverse(all)
	}
	if limit > 0 && len(all) > limit {
		all = all[:limit]
	}
	return strings.Join(all, " ")
}

// TestScanMarks: only what was gone over counts as read.
func TestScanMarks(t *testing.T) {
	w, c := opened(t)
	for i := range 30 {
		put(t, c, fmt.Sprintf("k%02d", i), "v")
	}
	sent := w.commits()
	for _, x := range []struct {
		name string
		do   func(tx *client.Tx)
		want string
	}{
		{"all", func(tx *client.Tx) { list(t, tx, client.Prefix([]byte("k"))) }, "[k l)"},
		{"limit", func(tx *client.Tx) { list(t, tx, client.Prefix([]byte("k")), client.Limit(3)) }, "[k k02\x00)"},
		{"limit above", func(tx *client.Tx) { list(t, tx, client.Prefix([]byte("k")), client.Limit(31)) }, "[k l)"},
		{"reverse", func(tx *client.Tx) { list(t, tx, client.Prefix([]byte("k")), client.Limit(3), client.Reverse()) }, "[k27 l)"},
		{"broken off", func(tx *client.Tx) {
			for p := range tx.Scan(t.Context(), client.Prefix([]byte("k"))) {
				if string(p.Key) == "k05" {
					break
				}
			}
		}, "[k k05\x00)"},
		{"twice", func(tx *client.Tx) {
			list(t, tx, client.Prefix([]byte("k0")))
			text(t, tx, "k15")
			list(t, tx, client.Prefix([]byte("k1")))
			list(t, tx, client.Prefix([]byte("kx")))
		}, "[k0 k2) [kx ky)"},
		{"empty", func(tx *client.Tx) { list(t, tx, client.Range{Start: []byte("b"), End: []byte("a")}) }, ""},
		{"own", func(tx *client.Tx) {
			tx.Put([]byte("k00x"), nil)
			tx.Delete([]byte("k01"))
			list(t, tx, client.Prefix([]byte("k")), client.Limit(3))
		}, "[k k02\x00)"},
		{"delete range", func(tx *client.Tx) {
			tx.DeleteRange(client.Prefix([]byte("k1")))
			text(t, tx, "k15")
		}, "[k1 k2)"},
	} {
		tx := must[*client.Tx](t)(c.Begin(t.Context()))
		x.do(tx)
		tx.Put([]byte("z"), nil)
		must[client.Commit](t)(tx.Commit(t.Context()))
		all := sent()
		q := all[len(all)-1]
		var got []string
		for _, s := range q.Spans {
			got = append(got, fmt.Sprintf("[%s %s)", s.Start[kv.KeyspacePrefixBytes:], s.End[kv.KeyspacePrefixBytes:]))
		}
		if g := strings.Join(got, " "); g != x.want || len(q.Reads) != 0 {
			t.Errorf("%s: spans %q, reads %v", x.name, g, q.Reads)
		}
	}
	if got := list(t, snapshot(t, c), client.Prefix([]byte("k1"))); got != "" {
		t.Errorf("a deleted range has %s", got)
	}
}
