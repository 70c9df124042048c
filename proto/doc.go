// Package proto is the root of the wire formats; it holds no code of its own.
//
//	kvpb/    generated: services KV and Admin, for clients in any language
//	peerpb/  generated: service Peer, the envelope of what nodes say to each other
//	wire/    by hand: the batches of pipes and of KV.Stream, and kv <-> kvpb
//	FORMAT.md  the frames, byte by byte
//
// Generated code is committed. To generate it again after a change of a .proto file, from
// the root of the repository (no protoc is needed):
//
//	go run -C tools ./protogen
//
// With -check it writes nothing and fails if a committed file differs.
package proto

//go:generate go run -C ../tools ./protogen
