package host

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

func sampleStore() Store {
	return Store{
		StoreID: 1, Nonce: 2, Cluster: 3, Node: 4, Incarnation: 5, Support: time.Second, Formatted: true, Address: "127.0.0.1:1",
		Founders: []kv.NodeInfo{{ID: 4, Nonce: 2, Address: "127.0.0.1:1", Locality: "zone=a", Core: true}},
		Peers:    []kv.NodeInfo{{ID: 7, Nonce: 8, Address: "127.0.0.1:2", Replaced: true}},
	}
}

func TestStoreSurvivesTheDisk(t *testing.T) {
	path := t.TempDir()
	d, err := openDirectory(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !d.fresh || d.current().isMember() || d.current().Support != SupportDurationDefault {
		t.Errorf("a new store is %+v", d.current())
	}
	want := sampleStore()
	want.Formatted = false
	if err := d.update(func(s *Store) { *s = want }); err != nil {
		t.Fatal(err)
	}
	d.close()
	d, err = openDirectory(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if got := d.current(); d.fresh || !reflect.DeepEqual(*got, want) {
		t.Errorf("read back %+v, want %+v", got, want)
	}
}

func TestStoreNoticesEveryFlippedBit(t *testing.T) {
	s := sampleStore()
	raw := encodeStore(&s)
	for i := range len(raw) * 8 {
		bad := append([]byte(nil), raw...)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := decodeStore(bad); err == nil {
			t.Fatalf("bit %d flipped, and nobody noticed", i)
		}
	}
}

func TestDirectoryRefusals(t *testing.T) {
	newer := encodeStore(&Store{StoreID: 1, Nonce: 1, Support: 1})
	binary.BigEndian.PutUint32(newer[len(storeMagic):], StoreFormat+1)
	newer = binary.BigEndian.AppendUint32(newer[:len(newer)-4], crc32.Checksum(newer[:len(newer)-4], castagnoli))
	formatted := sampleStore()
	other := sampleStore()
	other.Formatted = false
	for name, c := range map[string]struct {
		prepare func(dir string)
		kind    kv.Kind
		says    string
	}{
		"newer":     {func(dir string) { write(t, dir, storeName, newer) }, kv.Denied, "run the newer kvd"},
		"damaged":   {func(dir string) { write(t, dir, storeName, []byte("KVDSTOREnonsense, really")) }, kv.Corruption, "is damaged"},
		"lost log":  {func(dir string) { write(t, dir, storeName, encodeStore(&formatted)) }, kv.Corruption, "has lost its log"},
		"whose":     {func(dir string) { write(t, dir, logDirName+"/x", nil) }, kv.Corruption, "cannot be told whose it is"},
		"support":   {func(dir string) { write(t, dir, storeName, encodeStore(&other)) }, kv.Invalid, "remove support-duration"},
		"no folder": {func(dir string) { write(t, filepath.Dir(dir), filepath.Base(dir), nil) }, kv.Invalid, "--data"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			c.prepare(dir)
			_, err := openDirectory(dir, 42*time.Second)
			if kv.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), dir) {
				t.Errorf("got %v, want one of kind %s that names %s and says %q", err, c.kind, dir, c.says)
			}
		})
	}
}

func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	d, err := openDirectory(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openDirectory(dir, 0); kv.KindOf(err) != kv.Unavailable || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("opened twice: %v", err)
	}
	d.close()
	d, err = openDirectory(dir, 0)
	if err != nil {
		t.Fatalf("after close: %v", err)
	}
	d.close()
}

func write(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o640); err != nil {
		t.Fatal(err)
	}
}

func FuzzDecodeStore(f *testing.F) {
	s := sampleStore()
	f.Add(encodeStore(&s))
	f.Add(encodeStore(&Store{StoreID: 1, Nonce: 1, Support: 1}))
	f.Add([]byte(storeMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeStore(b)
		if err != nil {
			if kv.KindOf(err) != kv.Corruption && kv.KindOf(err) != kv.Denied {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if again, err := decodeStore(encodeStore(&s)); err != nil || !reflect.DeepEqual(s, again) {
			t.Fatalf("%+v became %+v, %v", s, again, err)
		}
	})
}
