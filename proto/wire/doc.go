// Package wire turns the words of package kv into bytes and messages, and back.
//
//	kv.Request ──► request frame ─┐
//	cancel     ──► cancel frame  ─┼─► one batch = [version 1][heard 8][frame]... ─► Pipe, or kvpb.OpBatch.frames
//	kv.Response ─► response frame ┐
//	kv.Error   ──► error frame   ─┴─► the same                                   ─► Pipe, or kvpb.ReplyBatch.frames
//
//	the same without frames around them, and what only nodes ask (call.go)  ─► node.Call, node.CallDone
//
//	kv.Error   <─► kvpb.Error in the details of a gRPC status      (unary calls)
//	kv.Admin.. <─► the messages of service Admin
//
// The frames are laid out by hand, because they are the largest single cost of a small
// operation: protobuf messages of the same content take three times as long (see
// proto/FORMAT.md for the layout and the measurement).
//
// Invariants:
//   - A decoder never reads past its input, never panics, and allocates no more than a fixed
//     multiple of its input: a count is believed only if the bytes for it are there.
//   - Decoded slices alias the batch. Who keeps one, copies it.
//   - What only nodes may ask is decoded by DecodeCall alone.
//   - An unknown version, frame type, part or kind is refused, never guessed at.
//
// The package starts nothing and dials nothing.
package wire
