package main

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvd-db/kvd/cmd/kvcli/literal"
	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/kv"
)

// Completion of keys must not be felt.
const (
	completionKeysMax = 50
	completionTimeMax = 300 * time.Millisecond
)

// completeKey completes the first argument of a command: keys that begin with what is
// typed. It serves the shell's completion and the prompt's alike.
func (c *call) completeKey(cmd *cobra.Command, args []string, partial string) ([]string, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 0 || strings.HasPrefix(partial, "@") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	prefix, err := literal.ParsePrefix(partial)
	if err != nil {
		return nil, directive
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeMax)
	defer cancel()
	s, err := c.store(ctx)
	if err != nil {
		return nil, directive
	}
	var keys []string
	r := store.Range{Start: prefix, End: kv.PrefixEnd(prefix), Limit: completionKeysMax, KeysOnly: true}
	for p, err := range s.Scan(ctx, r) {
		if err != nil {
			break
		}
		if w, ok := c.completion(p.Key, partial); ok {
			keys = append(keys, w)
		}
	}
	return keys, directive
}

// completion is a key as it continues what is typed. A shell would take quotes away, so
// there only keys are offered that need none.
func (c *call) completion(key []byte, partial string) (string, bool) {
	word := literal.Format(key)
	if strings.HasPrefix(partial, `"`) {
		word = literal.Quote(key)
	}
	if c.app.mode == modeOnce {
		return word, strings.HasPrefix(word, partial) && !strings.HasPrefix(word, `"`)
	}
	return word, true
}

// candidates completes a word of the prompt with cobra's own completion, which knows
// commands, flags and their values.
func (a *app) candidates(ctx context.Context, words []string, partial string) []string {
	quiet := *a // the connection is shared; what the command would print is not shown
	var out bytes.Buffer
	quiet.streams.out, quiet.streams.err = &out, &bytes.Buffer{}
	args := append(append([]string{cobra.ShellCompNoDescRequestCmd}, words...), partial)
	_, err := quiet.execute(ctx, args)
	a.connection = quiet.connection
	if err != nil {
		return nil
	}
	var list []string
	for line := range strings.Lines(out.String()) {
		line = strings.TrimRight(line, "\n")
		if isDirective(line) {
			break
		}
		if line != "" {
			list = append(list, line)
		}
	}
	return list
}

// isDirective reports whether a line is the last one of cobra's answer, a colon and a number.
func isDirective(line string) bool {
	rest, ok := strings.CutPrefix(line, ":")
	if !ok {
		return false
	}
	_, err := strconv.Atoi(rest)
	return err == nil
}
