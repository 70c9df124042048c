package badinput

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/kvpb"
	"github.com/kvd-db/kvd/proto/wire"
	"github.com/kvd-db/kvd/test/cluster"
)

// Exit codes of kvcli.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitConflict    = 4
	exitUnavailable = 5
	exitAmbiguous   = 6
	exitDenied      = 7
	exitTimeout     = 124
)

func skipIfShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts processes")
	}
}

// TestRequests: nothing of this is done, and the cluster is as good as before.
func TestRequests(t *testing.T) {
	skipIfShort(t)
	c := cluster.Start(t, 1)
	c.WaitHealthy(t)
	c.MustCLI(t, "put", "word", "letters")
	c.MustCLI(t, "keyspace", "create", "users", "--scheme", "hash", "--partitions", "2")
	c.MustCLI(t, "--keyspace", "users", "put", "word", "letters")
	c.MustCLI(t, "--keyspace", "users", "put", "most", "9223372036854775807")
	longKey, longValue := file(t, kv.KeyBytesMax+1), file(t, kv.ValueBytesMax+1)
	for _, b := range []struct {
		args  []string
		code  int
		words []string
	}{
		{[]string{"put", longKey, "v"}, exitError, []string{"8193", "8192", "shorter"}},
		{[]string{"get", longKey}, exitError, []string{"8193", "8192", "shorter"}},
		{[]string{"del", longKey}, exitError, []string{"8193", "8192", "shorter"}},
		{[]string{"put", "k", longValue}, exitError, []string{"8388609", "8388608"}},
		{[]string{"cas", "k", "--expect-absent", longValue}, exitError, []string{"8388609", "8388608"}},
		{[]string{"put", `""`, "v"}, exitUsage, []string{"key", "at least one byte"}},
		{[]string{"put", "k", "@/no/such/file"}, exitUsage, []string{"/no/such/file"}},
		{[]string{"put", "k", "0xzz"}, exitUsage, []string{"0xzz"}},
		{[]string{"put", "k"}, exitUsage, []string{"put", "KEY VALUE", "1 argument"}},
		{[]string{"put", "--sideways", "k", "v"}, exitUsage, []string{"put", "--sideways"}},
		{[]string{"fetch", "k"}, exitUsage, []string{"fetch", "--help"}},
		{[]string{"get", "k", "-o", "xml"}, exitUsage, []string{"xml", "table", "jsonl"}},
		{[]string{"--timeout", "0s", "get", "k"}, exitUsage, []string{"--timeout"}},
		{[]string{"--timeout", "soon", "get", "k"}, exitUsage, []string{"--timeout", "soon"}},
		{[]string{"add", "word", "1"}, exitUsage, []string{`key "word"`, "integer"}},
		{[]string{"--keyspace", "users", "add", "word", "1"}, exitUsage, []string{`key "word"`, "integer"}},
		{[]string{"--keyspace", "users", "add", "most", "1"}, exitUsage, []string{`key "most"`, "leaves the range"}},
		{[]string{"add", "n", "9223372036854775808"}, exitUsage, []string{"9223372036854775808", "2^63"}},
		{[]string{"cas", "word", "v"}, exitUsage, []string{"--expect-absent", "--expect-value", "--expect-version"}},
		{[]string{"cas", "word", "--expect-absent", "v"}, exitConflict, []string{"word", "version"}},
		{[]string{"get", "nothing"}, exitNotFound, []string{"nothing", "not found"}},
		{[]string{"--keyspace", "nowhere", "put", "k", "v"}, exitNotFound, []string{`"nowhere"`, "does not exist", "keyspace list"}},
		{[]string{"--keyspace", "nowhere", "get", "k"}, exitNotFound, []string{`"nowhere"`, "does not exist", "keyspace list"}},
		{[]string{"--keyspace", "nowhere", "scan"}, exitNotFound, []string{`"nowhere"`, "does not exist", "keyspace list"}},
		{[]string{"--keyspace", "nowhere", "count"}, exitNotFound, []string{`"nowhere"`, "does not exist", "keyspace list"}},
		{[]string{"--keyspace", "nowhere", "locate", "k"}, exitNotFound, []string{`"nowhere"`, "does not exist", "keyspace list"}},
		{[]string{"--keyspace", "nowhere", "partitions"}, exitNotFound, []string{`"nowhere"`, "does not exist", "keyspace list"}},
		{[]string{"keyspace", "create", "users"}, exitConflict, []string{`"users"`, "exists"}},
		{[]string{"keyspace", "create", "two words"}, exitUsage, []string{`"two words"`, "letters"}},
		{[]string{"keyspace", "create", strings.Repeat("n", kv.KeyspaceNameBytesMax+1)}, exitError, []string{"129", "128"}},
		{[]string{"keyspace", "create", "h", "--scheme", "hash", "--partitions", "4097"}, exitUsage, []string{"4097", "4096"}},
		{[]string{"keyspace", "create", "r", "--split-at", "b,a"}, exitUsage, []string{"ascend"}},
		{[]string{"keyspace", "create", "r", "--scheme", "round"}, exitUsage, []string{"round", "range", "hash"}},
		{[]string{"keyspace", "drop", "users"}, exitUsage, []string{"users", "--yes"}},
		{[]string{"keyspace", "drop", "nowhere", "--yes"}, exitNotFound, []string{`"nowhere"`, "does not exist"}},
		{[]string{"move-leader", "one"}, exitUsage, []string{"one", "kvcli partitions"}},
		{[]string{"move-leader", "2", "--to", "77"}, exitUsage, []string{"77", "partition 2"}},
		{[]string{"move-leader", "2", "77"}, exitUsage, []string{"77", "partition 2"}},
		{[]string{"move-leader", "2", "one"}, exitUsage, []string{"one", "kvcli nodes"}},
		{[]string{"move-leader", "99", "1"}, exitNotFound, []string{"partition 99", "does not exist"}},
		{[]string{"import", "--from-dir", "/no/such/folder"}, exitUsage, []string{"/no/such/folder"}},
	} {
		if err := judge(c.CLI(t, b.args...), b.code, b.words...); err != nil {
			t.Error(err)
		}
	}
	if got := c.MustCLI(t, "scan", "-o", "raw"); got != "word\tletters\n" {
		t.Errorf("after all that was refused, the keyspace holds %.200q", got)
	}
	c.Check(t)
}

// file is an argument that stands for so many bytes.
func file(t *testing.T, size int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bytes")
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), size), 0o600); err != nil {
		t.Fatal(err)
	}
	return "@" + path
}

// TestLargest: what is exactly at the limits is taken, and comes back.
func TestLargest(t *testing.T) {
	skipIfShort(t)
	c := cluster.Start(t, 1)
	c.WaitHealthy(t)
	one := c.Client(t)
	key, value := bytes.Repeat([]byte{0xff}, kv.KeyBytesMax), bytes.Repeat([]byte("v"), kv.ValueBytesMax)
	if _, err := one.Put(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
	c.Nodes[0].Kill(t)
	c.Nodes[0].Restart(t)
	p, err := c.Client(t).Get(t.Context(), key)
	if err != nil || !bytes.Equal(p.Value, value) {
		t.Fatalf("%d bytes came back, %v", len(p.Value), err)
	}
}

// TestClientLimits: the Go client's errors carry the limit.
func TestClientLimits(t *testing.T) {
	skipIfShort(t)
	c := cluster.Start(t, 1)
	c.WaitHealthy(t)
	one := c.Client(t)
	long := make([]byte, kv.KeyBytesMax+1)
	_, putKey := one.Put(t.Context(), long, nil)
	_, putValue := one.Put(t.Context(), []byte("k"), make([]byte, kv.ValueBytesMax+1))
	_, many := one.GetMany(t.Context(), [][]byte{[]byte("k"), long})
	var inBatch *client.Result[client.Commit]
	batch := one.Do(t.Context(), func(b *client.Batch) {
		b.Put([]byte("fine"), []byte("v"))
		inBatch = b.Put(long, []byte("v"))
	})
	_, one1 := inBatch.Value()
	for what, err := range map[string]error{"key": putKey, "value": putValue, "GetMany": many, "Do": batch, "Result": one1} {
		var limit *client.LimitError
		if !errors.As(err, &limit) || !errors.Is(err, client.ErrLimit) || limit.Got != limit.Limit+1 || limit.What == "" {
			t.Errorf("%s: %#v, %v", what, limit, err)
		}
	}
	if p, err := one.Get(t.Context(), []byte("fine")); err != nil || string(p.Value) != "v" {
		t.Errorf("the good operation of a batch: %q, %v", p.Value, err)
	}
}

// TestCommitLimits: the door that any language uses refuses commits that are too large, and
// does nothing of them.
func TestCommitLimits(t *testing.T) {
	skipIfShort(t)
	c := cluster.Start(t, 1)
	c.WaitHealthy(t)
	conn, err := grpc.NewClient("passthrough:///"+c.Nodes[0].Address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(wire.MessageBytesMax)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	door := kvpb.NewKVClient(conn)
	put := func(n int, value []byte) *kvpb.Write {
		return &kvpb.Write{Key: fmt.Appendf(nil, "commit-%06d", n), Op: &kvpb.Write_Put{Put: value}}
	}
	var tooMany, tooLarge []*kvpb.Write
	for i := range kv.CommitKeysMax + 1 {
		tooMany = append(tooMany, put(i, []byte("v")))
	}
	large := make([]byte, kv.ValueBytesMax)
	for i := range kv.CommitBytesMax / kv.ValueBytesMax {
		tooLarge = append(tooLarge, put(i, large))
	}
	longKey := []*kvpb.Write{{Key: make([]byte, kv.KeyBytesMax+1), Op: &kvpb.Write_Put{Put: []byte("v")}}}
	longValue := []*kvpb.Write{put(0, make([]byte, kv.ValueBytesMax+1))}
	for what, b := range map[string]struct {
		writes []*kvpb.Write
		limit  int64
	}{
		"keys of a commit":  {tooMany, kv.CommitKeysMax},
		"bytes of a commit": {tooLarge, kv.CommitBytesMax},
		"bytes of a key":    {longKey, kv.KeyBytesMax},
		"bytes of a value":  {longValue, kv.ValueBytesMax},
	} {
		_, err := door.Commit(t.Context(), &kvpb.CommitRequest{Keyspace: client.KeyspaceDefault, Writes: b.writes})
		e := wire.FromStatus(err)
		if err == nil || e.Kind != kv.Limit || e.LimitValue != b.limit || e.Got <= b.limit || !strings.Contains(e.Message, fmt.Sprint(b.limit)) {
			t.Errorf("%s: %+v", what, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), cluster.Patience)
	defer cancel()
	if n, err := c.Client(t).Count(ctx, client.All()); err != nil || n != 0 {
		t.Errorf("%d keys are there after commits that were refused, %v", n, err)
	}
}
