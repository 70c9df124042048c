package host

import (
	"fmt"

	"github.com/hashicorp/go-hclog"

	"github.com/kvd-db/kvd/kv"
)

// engineLogger passes on what the engine reports. After Fatalf the engine must not go on: the
// process ends, and until then the goroutine that met the fault stands still.
type engineLogger struct {
	log  hclog.Logger
	fail func(error)
}

// Infof is what the engine says about its work.
func (l engineLogger) Infof(format string, args ...any) { l.log.Debug(fmt.Sprintf(format, args...)) }

// Errorf is what went wrong and can be gone on with.
func (l engineLogger) Errorf(format string, args ...any) { l.log.Error(fmt.Sprintf(format, args...)) }

// Fatalf ends the node.
func (l engineLogger) Fatalf(format string, args ...any) {
	l.fail(kv.Errorf(kv.Internal, "the engine cannot go on: %s", fmt.Sprintf(format, args...)))
	select {}
}
