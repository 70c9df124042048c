package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/kvd-db/kvd/cmd/kvcli/shell"
	"github.com/kvd-db/kvd/cmd/kvcli/store"
)

// timeoutDefault is how long one answer may take.
const timeoutDefault = 10 * time.Second

func main() {
	a := &app{
		streams: streams{
			in: os.Stdin, out: os.Stdout, err: os.Stderr,
			inTTY: isTerminal(os.Stdin), outTTY: isTerminal(os.Stdout), ttErr: isTerminal(os.Stderr),
		},
		args:     os.Args,
		defaults: globals{target: os.Getenv("KVD_TARGET"), timeout: timeoutDefault},
		connect:  store.Open,
		edit: func(complete lineCompleter) (editor, error) {
			return openEditor(historyPath(os.LookupEnv), complete)
		},
		interruptible: func(ctx context.Context) (context.Context, context.CancelFunc) {
			return signal.NotifyContext(ctx, os.Interrupt)
		},
	}
	os.Exit(a.main())
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// main runs one command from the arguments and returns the exit code. The first signal
// cancels the command; the second one ends the process as usual.
func (a *app) main() int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if !(a.inTTY && a.outTTY && len(a.args) == 1) { // at a prompt, Ctrl-C is for the line
		var release context.CancelFunc
		ctx, release = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer release()
		context.AfterFunc(ctx, release)
	}
	defer a.close()
	return a.report(ctx, a.args[1:])
}

// report runs a command and tells its error.
func (a *app) report(ctx context.Context, args []string) int {
	_, err := a.execute(ctx, args)
	var told *toldError
	if err != nil && !errors.As(err, &told) && !errors.Is(err, shell.ErrExit) {
		fmt.Fprintln(a.err, "kvcli: "+explain(err))
	}
	if errors.Is(err, shell.ErrExit) {
		return exitOK
	}
	return exitCode(err)
}
