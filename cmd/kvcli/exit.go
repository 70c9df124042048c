package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/kvd-db/kvd/cmd/kvcli/literal"
	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/kv"
)

// The exit codes. Scripts rely on them.
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
	exitInterrupted = 130
)

// exitCodes has a code for every kind of error.
var exitCodes = map[kv.Kind]int{
	kv.Internal: exitError, kv.Invalid: exitUsage, kv.NotFound: exitNotFound, kv.Exists: exitConflict, kv.Limit: exitError,
	kv.NotLeader: exitUnavailable, kv.WrongPartition: exitUnavailable, kv.StaleTerm: exitUnavailable,
	kv.Conflict: exitConflict, kv.Expectation: exitConflict, kv.Expired: exitAmbiguous, kv.Aborted: exitConflict,
	kv.Unavailable: exitUnavailable, kv.Ambiguous: exitAmbiguous, kv.TooOld: exitError, kv.Future: exitError,
	kv.Corruption: exitError, kv.Timeout: exitTimeout, kv.Canceled: exitInterrupted, kv.Denied: exitDenied,
	kv.DiskFull: exitError, kv.Closed: exitError,
}

// exitCode is the exit code for an error; nil is exitOK.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	var e *kv.Error
	if errors.As(err, &e) {
		if code, ok := exitCodes[e.Kind]; ok {
			return code
		}
	}
	return exitError
}

// explain is the sentence for an error, on one line: what happened, and what can be done.
func explain(err error) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, sentence(err))
}

func sentence(err error) string {
	var e *kv.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	text := e.Message
	if text == "" {
		text = e.Kind.String()
	}
	if key := userKey(e); key != nil && !strings.HasPrefix(text, literal.Format(key)+": ") {
		text = literal.Format(key) + ": " + text
	}
	if r := remedy(err, e); r != "" {
		text += "; " + r
	}
	return text
}

// userKey is the key that an error of package store is about. Other errors carry keys as
// the cluster stores them, which would only confuse.
func userKey(e *kv.Error) []byte {
	switch e.Kind {
	case kv.NotFound, kv.Expectation, kv.Ambiguous:
		return e.Key
	}
	return nil
}

// remedy is what can be done about an error whose message does not say it.
func remedy(err error, e *kv.Error) string {
	var refused *refusedError
	errors.As(err, &refused)
	switch e.Kind {
	case kv.Expectation:
		if e.Actual != nil {
			return fmt.Sprintf("it has version %d: read it and try again", uint64(e.Actual.Version))
		}
		return "nothing was written"
	case kv.Conflict, kv.Aborted:
		if refused != nil && refused.open {
			return "nothing was written: retry runs the transaction's commands again, rollback gives it up"
		}
		return "nothing was written, try again"
	case kv.Ambiguous:
		var a *store.AmbiguousError
		if errors.As(err, &a) && a.Token != "" {
			return fmt.Sprintf("%s may or may not have been written; ask with: kvcli outcome %s", a.Cause.ID, a.Token)
		}
	case kv.Unavailable, kv.NotLeader, kv.WrongPartition, kv.StaleTerm:
		return "nothing was changed, try again; kvcli status shows what is wrong with the cluster"
	case kv.Timeout:
		if refused != nil {
			return "nothing was written: raise --timeout, or see kvcli status"
		}
		return "raise --timeout, or see kvcli status"
	case kv.Corruption:
		return "find the damaged replica with kvcli check"
	case kv.TooOld:
		return "read a newer state"
	}
	return ""
}

// usage makes the error for a command that was called wrongly.
func usage(format string, args ...any) error { return kv.Errorf(kv.Invalid, format, args...) }
