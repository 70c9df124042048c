package main

import (
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kvd-db/kvd/cmd/kvcli/output"
	"github.com/kvd-db/kvd/cmd/kvcli/shell"
)

const rootLong = `kvcli talks to a kvd cluster: one command, a prompt (kvcli alone on a terminal),
or a script (kvcli < FILE: one command a line, # starts a comment, the first error ends it).
In the last two, begin opens a transaction that goes on until commit or rollback.

Keys and values are written as
  word          letters, digits and punctuation, taken as they are
  "a b\n\xff"   quoted, with \n \r \t \" \\ \xNN
  0x00ff        hexadecimal
  b64:AP8=      base64
  @FILE         the bytes of a file
  -             all of standard input
What is printed can be typed back.

Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 conflict or failed expectation,
5 unavailable, 6 outcome unknown, 7 not allowed, 124 timeout, 130 interrupted.`

// bulkGroup is the commands that read and write on their own account.
const bulkGroup = "bulk"

// newRoot builds the tree of commands around a call.
func newRoot(c *call) *cobra.Command {
	root := &cobra.Command{
		Use:               "kvcli",
		Short:             "The command line of kvd",
		Long:              rootLong,
		SilenceUsage:      true,
		SilenceErrors:     true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return c.start(cmd) },
	}
	f := root.PersistentFlags()
	f.StringVar(&c.globals.target, "target", c.globals.target, "addresses of some nodes, `HOST:PORT,...` (or KVD_TARGET)")
	f.StringVar(&c.globals.keyspace, "keyspace", c.globals.keyspace, "keyspace to work in; default is the target's, or \"default\"")
	f.DurationVar(&c.globals.timeout, "timeout", c.globals.timeout, "how long one answer may take")
	f.StringVarP(&c.globals.format, "output", "o", c.globals.format, "`FORMAT`: "+strings.Join(output.Formats(), ", ")+" (default: table on a terminal, else jsonl)")
	f.BoolVar(&c.globals.verbose, "verbose", c.globals.verbose, "tell on standard error what the client does")
	mustComplete(root, "output", output.Formats())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%v", err) })
	root.CompletionOptions.DisableDefaultCmd = c.app.mode != modeOnce
	addGroup(root, "data", "Keys and values:", newPut(c), newGet(c), newDel(c), newCas(c), newAdd(c), newScan(c), newCount(c))
	addGroup(root, "transactions", "Transactions (begin to retry: in a prompt or script):", newBegin(c), newCommit(c), newRollback(c), newRetry(c),
		newOutcome(c), newTxs(c), newLocks(c), newExplain(c))
	addGroup(root, "cluster", "The cluster:", newKeyspace(c), newStatus(c), newNodes(c), newPartitions(c), newLocate(c), newCheck(c), newMoveLeader(c))
	addGroup(root, bulkGroup, "In bulk:", newImport(c), newVerify(c), newExport(c), newBench(c))
	root.AddCommand(newVersion(c))
	if c.app.mode == modeOnce {
		addLines(root, c)
	} else {
		addGroup(root, "lines", "In a prompt or script:", newUse(c), newExit())
	}
	return root
}

func addGroup(root *cobra.Command, id, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: id, Title: title})
	for _, cmd := range commands {
		cmd.GroupID = id
		root.AddCommand(cmd)
	}
}

// addLines makes kvcli without a command read lines.
func addLines(root *cobra.Command, c *call) {
	keepGoing := root.Flags().Bool("keep-going", false, "script: go on after an error, in a transaction too; the exit code is that of the first")
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		c.app.defaults = c.globals
		return c.app.lines(cmd.Context(), *keepGoing)
	}
}

// start checks the flags of every command.
func (c *call) start(cmd *cobra.Command) error {
	if s := c.app.session; s != nil && (cmd.GroupID == bulkGroup || cmd.HasParent() && cmd.Parent().GroupID == bulkGroup) {
		return usage("it takes no part in a transaction: commit or rollback (%s) first", s.Name())
	}
	format := c.globals.format
	if format == "" {
		format = string(output.JSONLines)
		if c.app.outTTY {
			format = string(output.Table)
		}
	}
	var err error
	if c.format, err = output.ParseFormat(format); err != nil {
		return err
	}
	if c.globals.timeout <= 0 {
		return usage("--timeout %v: it must be more than nothing", c.globals.timeout)
	}
	c.started = true
	return nil
}

// exactly is the check of a command that takes these arguments.
func exactly(names ...string) cobra.PositionalArgs { return between(len(names), names...) }

// between is the check of a command that takes these arguments, the first least of them
// in any case.
func between(least int, names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= len(names) {
			return nil
		}
		if len(names) == 0 {
			return usage("it takes no arguments, not %q", args)
		}
		return usage("it takes %s, %s given", strings.Join(names, " "), plural(int64(len(args)), "argument"))
	}
}

var negative = regexp.MustCompile(`^-[0-9]`)

// reorderNegatives lets "add KEY -5" and "begin ro at -5s" be written: what begins like a
// negative number looks like a flag, so it is moved behind "--".
func reorderNegatives(root *cobra.Command, args []string) []string {
	args = append([]string{}, args...) // never nil, which cobra takes for os.Args
	cmd, _, err := root.Find(args)
	if err != nil || cmd.Name() != "add" && cmd.Name() != "begin" || slices.Contains(args, "--") {
		return args
	}
	var front, back []string
	for _, a := range args {
		if negative.MatchString(a) {
			back = append(back, a)
		} else {
			front = append(front, a)
		}
	}
	if len(back) == 0 {
		return args
	}
	return append(append(front, "--"), back...)
}

// mustComplete gives a flag its values. The flag exists: a failure is a typing error here.
func mustComplete(cmd *cobra.Command, flag string, values []string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err)
	}
}

func newUse(c *call) *cobra.Command {
	return &cobra.Command{
		Use:   "use KEYSPACE",
		Short: "Work in another keyspace from here on",
		Args:  exactly("KEYSPACE"),
		RunE: func(_ *cobra.Command, args []string) error {
			c.app.defaults.keyspace = args[0]
			return nil
		},
	}
}

func newExit() *cobra.Command {
	return &cobra.Command{
		Use:     "exit",
		Aliases: []string{"quit"},
		Short:   "End the prompt or script",
		Args:    exactly(),
		RunE:    func(*cobra.Command, []string) error { return shell.ErrExit },
	}
}
