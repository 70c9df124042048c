package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/sim"
)

// The exit codes of kvd.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitDenied      = 7 // another cluster's directory, a newer format, in use
	exitInterrupted = 130
)

func main() { os.Exit(run(os.Args[1:])) }

// run executes one command line and returns its exit code.
func run(args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.Execute()
	if err != nil && !errors.Is(err, errSaid) {
		fmt.Fprintln(os.Stderr, "kvd:", strings.Join(strings.Fields(sentence(err)), " "))
	}
	return exitCode(err)
}

// errSaid is the error of a command that has said what is wrong.
var errSaid = errors.New("said already")

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "kvd",
		Short:         "A partitioned, replicated, transactional key-value database",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return kv.Errorf(kv.Invalid, "%v: see %s --help", err, c.CommandPath())
	})
	root.AddCommand(newStart(), newDemo(), newConfig(), sim.Command(), newVersion())
	return root
}

// exitCode is what the process ends with.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	switch kv.KindOf(err) {
	case kv.Invalid:
		return exitUsage
	case kv.Canceled:
		return exitInterrupted
	case kv.Denied:
		return exitDenied
	case kv.Internal:
		if strings.HasPrefix(err.Error(), "unknown command") { // cobra has no type for it
			return exitUsage
		}
	}
	return exitError
}

// sentence is an error without the name of its kind: the message says it all.
func sentence(err error) string {
	var e *kv.Error
	if errors.As(err, &e) && e.Message != "" {
		return e.Message
	}
	return err.Error()
}

// noArgs refuses arguments with a sentence.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return kv.Errorf(kv.Invalid, "%s takes no argument %q: see %s --help", c.CommandPath(), args[0], c.CommandPath())
	}
	return nil
}
