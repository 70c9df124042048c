// Package kvpb is generated from kvpb.proto: the services KV and Admin, through which
// clients of any language reach a cluster. Package proto says how to generate it again.
//
// It never leaves the doors: server and client turn its messages into the words of
// package kv at once, with package wire.
package kvpb
