package client

import (
	"crypto/tls"
	"net"
	"net/url"
	"strings"

	"github.com/kvd-db/kvd/kv"
)

// KeyspaceDefault is the keyspace that every cluster has from the start.
const KeyspaceDefault = "default"

// target is where to connect to.
type target struct {
	seeds    []string
	keyspace string
	tls      *tls.Config
}

// parseTarget reads "h1:7400,h2:7400" or "kvd://h1:7400,h2:7400/keyspace?tls=system".
func parseTarget(s string) (target, *kv.Error) {
	t := target{keyspace: KeyspaceDefault}
	hosts, isURL := strings.CutPrefix(s, "kvd://")
	if isURL {
		var query, path string
		hosts, query, _ = strings.Cut(hosts, "?")
		hosts, path, _ = strings.Cut(hosts, "/")
		if err := t.path(path); err != nil {
			return t, err
		}
		if err := t.options(query); err != nil {
			return t, err
		}
	} else if strings.Contains(s, "://") {
		return t, kv.Errorf(kv.Invalid, "target %q: the scheme is kvd://", s)
	}
	for h := range strings.SplitSeq(hosts, ",") {
		h = strings.TrimSpace(h)
		if host, port, err := net.SplitHostPort(h); err != nil || host == "" || port == "" {
			return t, kv.Errorf(kv.Invalid, "target %q: %q is not HOST:PORT", s, h)
		}
		t.seeds = append(t.seeds, h)
	}
	return t, nil
}

func (t *target) path(p string) *kv.Error {
	if p == "" {
		return nil
	}
	name, err := url.PathUnescape(p)
	if err != nil || strings.Contains(p, "/") {
		return kv.Errorf(kv.Invalid, "target: %q is not the name of a keyspace", p)
	}
	t.keyspace = name
	return nil
}

func (t *target) options(query string) *kv.Error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return kv.Errorf(kv.Invalid, "target: options %q: %v", query, err)
	}
	for name := range values {
		if name != "tls" {
			return kv.Errorf(kv.Invalid, "target: option %q is not known; tls is", name)
		}
	}
	switch v := values.Get("tls"); v {
	case "", "off":
	case "system":
		t.tls = &tls.Config{MinVersion: tls.VersionTLS13}
	default:
		return kv.Errorf(kv.Invalid, "target: tls=%s: it is off or system (the system's certificates)", v)
	}
	return nil
}
