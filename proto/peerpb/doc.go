// Package peerpb is generated from peerpb.proto: the service Peer, the envelope of what
// nodes say to each other. Package proto says how to generate it again.
//
// What the frames of a PeerBatch and the header of a Chunk mean is the host's business.
package peerpb
