package main

import (
	"context"
	"io"
	"log/slog"
	"slices"

	"github.com/hashicorp/go-hclog"

	"github.com/kvd-db/kvd/kv"
)

func checkLog(c *config) error {
	if c.logFormat != "text" && c.logFormat != "json" {
		return kv.Errorf(kv.Invalid, "log-format %q: it is text or json", c.logFormat)
	}
	if hclog.LevelFromString(c.logLevel) == hclog.NoLevel {
		return kv.Errorf(kv.Invalid, "log-level %q: it is trace, debug, info, warn or error", c.logLevel)
	}
	return nil
}

func newLogger(c *config, w io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: "kvd", Output: w, Level: hclog.LevelFromString(c.logLevel), JSONFormat: c.logFormat == "json",
		TimeFormat: "2006-01-02T15:04:05.000Z07:00",
	})
}

// slogHandler lets what speaks slog (the doors and the client) write to the node's log.
type slogHandler struct {
	to   hclog.Logger
	args []any
}

func newSlog(to hclog.Logger) *slog.Logger { return slog.New(slogHandler{to: to}) }

func levelOf(l slog.Level) hclog.Level {
	switch {
	case l < slog.LevelInfo:
		return hclog.Debug
	case l < slog.LevelWarn:
		return hclog.Info
	case l < slog.LevelError:
		return hclog.Warn
	}
	return hclog.Error
}

// Enabled reports whether the log takes messages of a level.
func (h slogHandler) Enabled(_ context.Context, l slog.Level) bool {
	return levelOf(l) >= h.to.GetLevel()
}

// Handle writes one message.
func (h slogHandler) Handle(_ context.Context, r slog.Record) error {
	args := slices.Clone(h.args)
	r.Attrs(func(a slog.Attr) bool {
		args = append(args, a.Key, a.Value.Any())
		return true
	})
	h.to.Log(levelOf(r.Level), r.Message, args...)
	return nil
}

// WithAttrs is a handler that adds attributes to every message.
func (h slogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.args = slices.Clone(h.args)
	for _, a := range attrs {
		h.args = append(h.args, a.Key, a.Value.Any())
	}
	return h
}

// WithGroup names the part of the program that speaks.
func (h slogHandler) WithGroup(name string) slog.Handler {
	h.to = h.to.Named(name)
	return h
}
