package kv

import "testing"

func TestUserErrorNamesTheUsersKey(t *testing.T) {
	hash := Keyspace{ID: 7, Scheme: SchemeHash, Partitions: 300}
	ranged := Keyspace{ID: 7, Scheme: SchemeRange, Partitions: 1}
	for _, k := range []Keyspace{hash, ranged} {
		full := k.FullKey([]byte("name"))
		e := &Error{Kind: Expectation, Key: full, Message: "not as expected", Actual: &Row{Key: full, Value: []byte("v")}}
		u := k.UserError(e)
		if string(u.Key) != "name" || string(u.Actual.Key) != "name" || u.Message != `key "name": not as expected` {
			t.Errorf("scheme %d: %+v, %+v", k.Scheme, u, u.Actual)
		}
		if string(e.Key) != string(full) || string(e.Actual.Key) != string(full) {
			t.Error("the error was changed in place")
		}
	}
	if hash.UserError(nil) != nil {
		t.Error("no error became one")
	}
	foreign := &Error{Kind: Conflict, Key: MakeKey(8, []byte("name")), Message: "m"}
	keyless := &Error{Kind: Unavailable, Message: "m"}
	if hash.UserError(foreign) != foreign || hash.UserError(keyless) != keyless {
		t.Error("an error that is about no key of the keyspace was changed")
	}
}
