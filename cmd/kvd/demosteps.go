package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// transferSummary is what kvcli import and verify print.
type transferSummary struct {
	Imported int     `json:"imported"`
	Verified int     `json:"verified"`
	Bytes    int64   `json:"bytes"`
	Skipped  int     `json:"skipped"`
	Retries  int     `json:"retries"`
	Seconds  float64 `json:"seconds"`
	GapMS    float64 `json:"longest_write_gap_ms"`
}

// partitionRow is one line of kvcli partitions.
type partitionRow struct {
	ID       uint64 `json:"id"`
	Keyspace string `json:"keyspace"`
	Leader   uint64 `json:"leader"`
}

// importUnderFire imports the tree, and kills a node in the middle of that.
func (d *demo) importUnderFire(ctx context.Context) error {
	var err error
	if d.files, err = countFiles(d.source); err != nil {
		return err
	}
	d.say("importing %d files of %s", d.files, d.source)
	done := make(chan error, 1)
	var sum transferSummary
	go func() {
		out, err := d.kvcli(ctx, "--keyspace", "files", "import", "--from-dir", d.source)
		if err == nil {
			err = json.Unmarshal(out, &sum)
		}
		done <- err
	}()
	if err := d.killInTheMiddle(ctx, done); err != nil {
		return err
	}
	if err := <-done; err != nil {
		return err
	}
	d.say("imported %d files, %.1f MB, in %.1f s; %d skipped, %d writes had to be tried again", sum.Imported, float64(sum.Bytes)/1e6, sum.Seconds, sum.Skipped, sum.Retries)
	d.say("the longest time without a successful write was %.0f ms", sum.GapMS)
	if sum.Imported+sum.Skipped < d.files {
		return kv.Errorf(kv.Internal, "%d files were imported or skipped, the tree has %d", sum.Imported+sum.Skipped, d.files)
	}
	return nil
}

// killInTheMiddle waits until a third of the files is in, kills the node that leads most
// partitions, and starts it again a little later. A result that comes too early goes back.
func (d *demo) killInTheMiddle(ctx context.Context, done chan error) error {
	const (
		lookEvery = 100 * time.Millisecond
		downFor   = 2 * time.Second
	)
	victim := uint64(0)
	for victim == 0 {
		select {
		case err := <-done:
			done <- err
			if err != nil {
				return nil // the caller reports it
			}
			d.say("the import was over before a node could be killed")
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookEvery):
		}
		if keys, err := d.count(ctx); err != nil || keys < d.files/3 {
			continue // whatever is wrong, the import will say so
		}
		rows, err := d.partitions(ctx)
		if err != nil {
			return err
		}
		victim = busiest(rows)
	}
	n := d.cluster.node(victim)
	if n == nil {
		return kv.Errorf(kv.Internal, "the cluster names node %d, which was not started", victim)
	}
	d.say("kill -9 %d: node %d leads most partitions", n.pid(), n.id)
	n.kill()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(downFor):
	}
	if err := d.cluster.restart(ctx, n); err != nil {
		return err
	}
	d.say("node %d is back as process %d", n.id, n.pid())
	return nil
}

func (d *demo) partitions(ctx context.Context) ([]partitionRow, error) {
	out, err := d.kvcli(ctx, "partitions")
	if err != nil {
		return nil, err
	}
	var rows []partitionRow
	if err := json.Unmarshal(out, &rows); err != nil {
		return nil, kv.Errorf(kv.Internal, "kvcli partitions printed what cannot be read: %v", err)
	}
	return rows, nil
}

// count is how many files are in.
func (d *demo) count(ctx context.Context) (int, error) {
	out, err := d.kvcli(ctx, "--keyspace", "files", "count")
	if err != nil {
		return 0, err
	}
	var row struct {
		Count int `json:"count"`
	}
	if err := json.Unmarshal(out, &row); err != nil {
		return 0, kv.Errorf(kv.Internal, "kvcli count printed what cannot be read: %v", err)
	}
	return row.Count, nil
}

// busiest is the node that leads most partitions, the one with the smallest id of several.
func busiest(rows []partitionRow) (node uint64) {
	leads := map[uint64]int{}
	for _, r := range rows {
		if r.Leader != 0 {
			leads[r.Leader]++
		}
	}
	for n, count := range leads {
		if node == 0 || count > leads[node] || count == leads[node] && n < node {
			node = n
		}
	}
	return node
}

// compare reads every key back.
func (d *demo) compare(ctx context.Context) error {
	out, err := d.kvcli(ctx, "--keyspace", "files", "verify", "--from-dir", d.source)
	if err != nil {
		return err
	}
	var sum transferSummary
	if err := json.Unmarshal(out, &sum); err != nil {
		return kv.Errorf(kv.Internal, "kvcli verify printed what cannot be read: %v", err)
	}
	d.say("read all %d files back and compared every byte of %.1f MB: all equal", sum.Verified, float64(sum.Bytes)/1e6)
	return nil
}

// check compares the replicas of all partitions.
func (d *demo) check(ctx context.Context) error {
	for _, pair := range [][2]string{{"amber", "a resin"}, {"jade", "a stone"}, {"opal", "a stone"}, {"pearl", "no stone"}} {
		if _, err := d.kvcli(ctx, "--keyspace", "names", "put", pair[0], pair[1]); err != nil {
			return err
		}
	}
	if _, err := d.kvcli(ctx, "check"); err != nil {
		return err
	}
	d.say("kvcli check: all replicas of all partitions hold the same")
	return nil
}
