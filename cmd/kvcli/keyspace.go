package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kvd-db/kvd/cmd/kvcli/literal"
	"github.com/kvd-db/kvd/cmd/kvcli/output"
	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/kv"
)

func newKeyspace(c *call) *cobra.Command {
	cmd := &cobra.Command{Use: "keyspace", Short: "Create, list, set and drop keyspaces", Args: exactly(), RunE: needSubcommand}
	cmd.AddCommand(newKeyspaceCreate(c), newKeyspaceList(c), newKeyspaceSet(c), newKeyspaceDrop(c))
	return cmd
}

// needSubcommand is what a command does that only groups others.
func needSubcommand(cmd *cobra.Command, _ []string) error {
	names := ""
	for _, sub := range cmd.Commands() {
		names += " " + sub.Name()
	}
	return usage("%s needs one of:%s", cmd.Name(), names)
}

func newKeyspaceCreate(c *call) *cobra.Command {
	var scheme string
	var partitions int
	var splitAt []string
	var keep string
	cmd := &cobra.Command{
		Use:               "create NAME",
		Short:             "Create a keyspace",
		Args:              exactly("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			q := kv.CreateKeyspace{Name: args[0], Partitions: partitions}
			if err := setScheme(&q, scheme, splitAt); err != nil {
				return err
			}
			var err error
			if q.Retention, err = parseRetention(keep); err != nil {
				return err
			}
			return c.withStore(cmd, func(ctx context.Context, s store.Store) error {
				if err := s.CreateKeyspace(ctx, q); err != nil {
					return err
				}
				return c.one(output.Record{{Name: "name", Value: q.Name}, {Name: "scheme", Value: q.Scheme.String()}, {Name: "partitions", Value: max(q.Partitions, len(q.SplitAt)+1)}, {Name: "retention", Value: retentionText(q.Retention)}}, "name")
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&scheme, "scheme", "range", "range (ordered over partitions), hash (spread) or revisioned (speaks etcd's API)")
	f.IntVar(&partitions, "partitions", 0, "hash: number of partitions, for ever")
	f.StringArrayVar(&splitAt, "split-at", nil, "range: first `KEY,...` of each partition but the first; may be repeated")
	addRetention(f, &keep)
	mustComplete(cmd, "scheme", []string{"range", "hash"})
	return cmd
}

// defaultRetention is the word for what the nodes are configured with.
const defaultRetention = "default"

func addRetention(f *pflag.FlagSet, keep *string) {
	f.StringVar(keep, "retention", defaultRetention, "how long an overwritten value can be read at least: a `DURATION` of 10m or more, or default: as the nodes are configured")
}

func parseRetention(s string) (time.Duration, error) {
	if s == defaultRetention {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, usage("--retention %q: it is a duration, like 10m or 24h, or %s", s, defaultRetention)
	}
	if err := kv.CheckRetention(d); err != nil {
		return 0, usage("--retention: %s", err.Message)
	}
	return d, nil
}

// retentionText is what parseRetention takes.
func retentionText(d time.Duration) string {
	if d == 0 {
		return defaultRetention
	}
	s := d.String()
	for _, none := range []string{"m0s", "h0m"} { // as people write it
		if rest, ok := strings.CutSuffix(s, none[1:]); ok && strings.HasSuffix(s, none) {
			s = rest
		}
	}
	return s
}

func newKeyspaceSet(c *call) *cobra.Command {
	var keep string
	cmd := &cobra.Command{
		Use:   "set NAME --retention DURATION",
		Short: "Change how long a keyspace keeps old values",
		Args:  exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("retention") {
				return usage("say what is to be set: --retention DURATION")
			}
			d, err := parseRetention(keep)
			if err != nil {
				return err
			}
			return c.withStore(cmd, func(ctx context.Context, s store.Store) error {
				if err := s.SetKeyspace(ctx, kv.SetKeyspace{Name: args[0], Retention: d}); err != nil {
					return err
				}
				return c.one(output.Record{{Name: "name", Value: args[0]}, {Name: "retention", Value: retentionText(d)}}, "name")
			})
		},
	}
	addRetention(cmd.Flags(), &keep)
	return cmd
}

// hashPartitionsDefault is for a hash keyspace whose creator does not care.
const hashPartitionsDefault = 16

func setScheme(q *kv.CreateKeyspace, scheme string, splitAt []string) error {
	switch scheme {
	case "range":
		if q.Partitions != 0 {
			return usage("--partitions is for the scheme hash; a range keyspace is cut with --split-at KEY,...")
		}
		q.Scheme = kv.SchemeRange
	case "hash":
		if len(splitAt) > 0 {
			return usage("--split-at is for the scheme range; a hash keyspace is cut with --partitions N")
		}
		if q.Partitions == 0 {
			q.Partitions = hashPartitionsDefault
		}
		if q.Partitions < 1 || q.Partitions > kv.HashPartitionsMax {
			return usage("--partitions %d: it must lie in 1..%d", q.Partitions, kv.HashPartitionsMax)
		}
		q.Scheme = kv.SchemeHash
	case "revisioned":
		return usage("this version of kvd has no keyspaces of the scheme revisioned: range and hash exist")
	default:
		return usage("there is no scheme %q: they are range, hash and revisioned", scheme)
	}
	for _, list := range splitAt {
		for _, word := range literal.SplitList(list) {
			b, err := literal.Parse(word)
			if err != nil {
				return err
			}
			q.SplitAt = append(q.SplitAt, b)
		}
	}
	return nil
}

func newKeyspaceList(c *call) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the keyspaces",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withStore(cmd, func(ctx context.Context, s store.Store) error {
				t, err := s.Topology(ctx, "")
				if err != nil {
					return err
				}
				partitions := map[kv.KeyspaceID]int{}
				for _, p := range t.Partitions {
					partitions[p.Descriptor.Keyspace]++
				}
				l := c.list()
				for _, k := range t.Keyspaces {
					if err := l.Row(output.Record{{Name: "name", Value: k.Name}, {Name: "id", Value: uint32(k.ID)}, {Name: "scheme", Value: k.Scheme.String()}, {Name: "partitions", Value: partitions[k.ID]}, {Name: "retention", Value: retentionText(k.Retention)}}); err != nil {
						return err
					}
				}
				return c.listed(l)
			})
		},
	}
}

func newKeyspaceDrop(c *call) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "drop NAME",
		Short: "Drop a keyspace with all its data",
		Args:  exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				if err := c.confirm(args[0]); err != nil {
					return err
				}
			}
			return c.withStore(cmd, func(ctx context.Context, s store.Store) error {
				if err := s.DropKeyspace(ctx, args[0]); err != nil {
					return err
				}
				return c.one(output.Record{{Name: "name", Value: args[0]}, {Name: "dropped", Value: true}}, "name")
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// confirm has a person type the name of what is about to be lost. Elsewhere than on a
// terminal --yes is needed.
func (c *call) confirm(name string) error {
	if !c.app.inTTY || !c.app.ttErr || c.app.mode == modeScript {
		return usage("all data of keyspace %q would be lost: add --yes if that is meant", name)
	}
	question := fmt.Sprintf("all data of keyspace %q will be lost; type its name to go on: ", name)
	answer, err := c.app.ask(question)
	if err != nil {
		return err
	}
	if answer != name {
		return usage("%q is not %q: nothing was dropped", answer, name)
	}
	return nil
}
