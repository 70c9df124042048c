package host

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kvd-db/kvd/kv"
)

func peerLabel(id kv.NodeID) string { return strconv.FormatUint(uint64(id), 10) }

// loopStuckAfter is after how long without a turn the loop counts as stuck.
const loopStuckAfter = 5 * time.Second

// startHTTP serves the admin port: /livez, /readyz, /metrics and, on the loopback interface,
// /debug/pprof.
func startHTTP(h *Host, listener net.Listener) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { say(w, h.alive()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { say(w, h.ready()) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.metrics.registry, promhttp.HandlerOpts{}))
	if onLoopback(listener.Addr().String()) {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	h.group.Go(func() {
		if err := s.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			h.fail(kv.Errorf(kv.Internal, "the admin port %s: %v", listener.Addr(), err))
		}
	})
	return s
}

func say(w http.ResponseWriter, err error) {
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintln(w, "ok")
}

// alive is nil unless the process should be restarted.
func (h *Host) alive() error {
	select {
	case <-h.failed:
		return h.failure
	default:
	}
	r := h.running.Load()
	if r == nil {
		return nil
	}
	for _, l := range r.loops {
		if since := time.Duration(r.clock.Now() - kv.Instant(l.shared.turned.Load())); since > loopStuckAfter {
			return kv.Errorf(kv.Internal, "event loop %d has not turned for %s", l.index, since.Round(time.Millisecond))
		}
	}
	return nil
}

// ready is nil while clients should be sent here.
func (h *Host) ready() error {
	if err := h.alive(); err != nil {
		return err
	}
	r := h.running.Load()
	switch {
	case r == nil:
		return kv.Errorf(kv.Unavailable, "the node is starting, or waits for the others of its cluster")
	case h.draining.Load():
		return errStopping
	case r.disk.health.full.Load():
		return r.diskFull(h.options.Data)
	}
	return nil
}
