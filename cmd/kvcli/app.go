package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvd-db/kvd/cmd/kvcli/output"
	"github.com/kvd-db/kvd/cmd/kvcli/session"
	"github.com/kvd-db/kvd/cmd/kvcli/shell"
	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/kv"
)

// streams are where data and talk go, and which of them a person looks at.
type streams struct {
	in                   io.Reader
	out, err             io.Writer
	inTTY, outTTY, ttErr bool
}

// mode is how commands come in.
type mode uint8

const (
	modeOnce   mode = iota // one command, from the arguments
	modeScript             // lines of standard input
	modePrompt             // lines that a person types
)

// globals are the flags of every command.
type globals struct {
	target   string
	keyspace string
	timeout  time.Duration
	format   string
	verbose  bool
}

// app is one run of kvcli.
type app struct {
	streams
	args     []string // how it was started
	mode     mode
	defaults globals // for each line: the flags that kvcli itself was started with
	// connect opens a cluster.
	connect func(ctx context.Context, target string, o store.Options) (store.Store, error)
	// edit opens the line editor of the prompt; complete is its completion.
	edit func(complete lineCompleter) (editor, error)
	// interruptible gives a context that Ctrl-C ends.
	interruptible func(context.Context) (context.Context, context.CancelFunc)
	connection    connection
	line          editor           // of the prompt, while there is one
	session       *session.Session // the open transaction, on the connection; nil: none
	traced        bool             // the next connection lets requests be traced
}

// connection is the cluster in use; lines share it as long as they name the same target.
type connection struct {
	target string
	store  store.Store
}

// open is the store of a target's keyspace.
func (a *app) open(ctx context.Context, g *globals) (store.Store, error) {
	if g.target == "" {
		return nil, usage("no cluster is named: give --target HOST:PORT,... or set KVD_TARGET")
	}
	if a.connection.store == nil || a.connection.target != g.target {
		if a.session != nil {
			return nil, usage("the open transaction (%s) is on %s: commit or rollback before --target names another cluster", a.session.Name(), a.connection.target)
		}
		a.close()
		s, err := a.connect(ctx, g.target, store.Options{Log: a.logger(g), Traced: a.traced || a.mode != modeOnce})
		if err != nil {
			return nil, err
		}
		a.connection = connection{target: g.target, store: s}
	}
	if g.keyspace == "" {
		return a.connection.store, nil
	}
	return a.connection.store.In(g.keyspace), nil
}

func (a *app) logger(g *globals) *slog.Logger {
	if g.verbose {
		return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

// close ends the connection.
func (a *app) close() {
	if a.connection.store != nil {
		_ = a.connection.store.Close() // what cannot be closed is gone already
		a.connection = connection{}
	}
}

// call is one command as it runs: its flags, and what it has to say at the end.
type call struct {
	app     *app
	globals globals
	format  output.Format
	started bool   // flags and arguments were fine
	note    string // "3 rows", for the prompt
}

// execute runs one command. All its errors have been made ready for explain.
func (a *app) execute(ctx context.Context, args []string) (note string, err error) {
	c := &call{app: a, globals: a.defaults}
	err = c.run(ctx, args)
	return c.note, err
}

// run is execute for a call that is given.
func (c *call) run(ctx context.Context, args []string) error {
	root := newRoot(c)
	root.SetArgs(reorderNegatives(root, args))
	root.SetIn(c.app.in)
	root.SetOut(c.app.out)
	root.SetErr(c.app.err)
	ran, err := root.ExecuteContextC(ctx)
	return c.finish(ctx, ran, err)
}

// finish gives an error its kind and the name of its command.
func (c *call) finish(ctx context.Context, ran *cobra.Command, err error) error {
	var told *toldError
	if err == nil || errors.Is(err, shell.ErrExit) || errors.As(err, &told) {
		return err
	}
	var e *kv.Error
	switch known := errors.As(err, &e); {
	case !known && !c.started:
		return usage("%v; kvcli --help lists the commands", err)
	case known && e.Kind == kv.Invalid && !c.started && !ran.HasParent(): // kvcli itself: whoever tells it says its name
		return usage("%s; usage: %s", e.Message, ran.UseLine())
	case known && e.Kind == kv.Invalid && !c.started:
		return usage("%s: %s; usage: %s", ran.Name(), e.Message, ran.UseLine())
	case ctx.Err() != nil && exitCode(err) != exitAmbiguous:
		return kv.Errorf(kv.Canceled, "interrupted")
	}
	return err
}

// store opens the cluster for a command; the connection is part of its time.
func (c *call) store(ctx context.Context) (store.Store, error) { return c.app.open(ctx, &c.globals) }

// data is where a command reads and writes: in the open transaction, if there is one.
func (c *call) data(ctx context.Context) (store.Data, error) {
	s, err := c.store(ctx)
	if err != nil || c.app.session == nil {
		return s, err
	}
	return c.app.session.In(c.globals.keyspace), nil
}

// within is the context of a command that asks once: it ends with --timeout.
func (c *call) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, c.globals.timeout, c.timeoutError())
}

func (c *call) timeoutError() error {
	return kv.Errorf(kv.Timeout, "there was no answer for %v", c.globals.timeout)
}

// idle is the context of a command that goes on as long as it gets anywhere: it ends when
// touch has not been called for --timeout.
func (c *call) idle(ctx context.Context) (idle context.Context, touch func(), cancel context.CancelFunc) {
	idle, end := context.WithCancelCause(ctx)
	timer := time.AfterFunc(c.globals.timeout, func() { end(c.timeoutError()) })
	touch = func() { timer.Reset(c.globals.timeout) }
	return idle, touch, func() { timer.Stop(); end(nil) }
}

// cause replaces an error that only says that a context has ended by what ended it.
func cause(ctx context.Context, err error) error {
	if k := kv.KindOf(err); err == nil || k != kv.Canceled && k != kv.Timeout && k != kv.Internal || ctx.Err() == nil {
		return err
	}
	if why := context.Cause(ctx); kv.KindOf(why) == kv.Timeout {
		return why
	}
	return err
}

// one prints a single result. raw names the field that is all of it in the format raw.
func (c *call) one(r output.Record, raw string) error {
	if c.format == output.Raw && raw != "" {
		for _, f := range r {
			if f.Name == raw {
				r = output.Record{f}
				break
			}
		}
	}
	return output.One(c.app.out, c.format, r)
}

// list begins a list of results.
func (c *call) list() *output.List { return output.NewList(c.app.out, c.format) }

// listed ends a list.
func (c *call) listed(l *output.List) error {
	c.note = plural(int64(l.Rows()), "row")
	return l.Close()
}

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// document prints a result that is a document of its own: text for people, unless a format
// for programs was asked for by name.
func (c *call) document(v any, text func(io.Writer) error) error {
	switch c.globals.format {
	case string(output.JSON), string(output.JSONLines):
		e := json.NewEncoder(c.app.out)
		e.SetEscapeHTML(false)
		if c.format == output.JSON {
			e.SetIndent("", "  ")
		}
		return e.Encode(v)
	}
	return text(c.app.out)
}
