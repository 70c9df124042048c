package client

import (
	"reflect"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// FuzzToken: a token is refused, or names the same commit when it is written again.
func FuzzToken(f *testing.F) {
	f.Add(claim{id: TxID{1, 2}, term: 7, asOf: 1 << 60, partition: 9, keyspace: "default", key: []byte("k")}.token())
	f.Add(claim{key: []byte{}}.token())
	f.Add("")
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseToken(s)
		if err != nil {
			if err.Kind != kv.Invalid {
				t.Fatal(err)
			}
			return
		}
		again, err := parseToken(c.token())
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("%+v became %+v, %v", c, again, err)
		}
	})
}

// FuzzTarget: a target is refused, or has at least one address and a keyspace's name.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"h:1", "h:1,[::1]:2", "kvd://h:1/a%20b?tls=system", "kvd://h:1/?tls=off", "kvd://", "x://h:1", "kvd://h:1/%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseTarget(s)
		if err == nil && (len(got.seeds) == 0 || got.keyspace == "") {
			t.Fatalf("%q: %+v", s, got)
		}
	})
}
