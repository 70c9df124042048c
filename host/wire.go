package host

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/kvd-db/kvd/proto/wire"
)

// What both ends of a connection between nodes, and the server for clients, are set to. Fixed
// windows switch off gRPC's own probing of the bandwidth, which costs a ping a read.
const (
	streamWindowBytes = 8 << 20
	connWindowBytes   = 32 << 20
	socketBufferBytes = 128 << 10
	connectTimeout    = time.Second
	// peerSilenceMax is how long sent data may go unacknowledged: then the connection is broken
	// (TCP_USER_TIMEOUT), and a new one finds out whether the other side is back.
	peerSilenceMax = 3 * time.Second
)

// dialPeer makes a connection to another node; it connects with the first call.
func dialPeer(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(streamWindowBytes),
		grpc.WithInitialConnWindowSize(connWindowBytes),
		grpc.WithReadBufferSize(socketBufferBytes),
		grpc.WithWriteBufferSize(socketBufferBytes),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithUserAgent("kvd"),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(PeerMessageBytesMax), grpc.MaxCallSendMsgSize(PeerMessageBytesMax)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: peerSilenceMax}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: reconnectMin, Multiplier: 2, MaxDelay: reconnectMax},
			MinConnectTimeout: connectTimeout,
		}),
	)
}

// newServer makes the one gRPC server of a node, for peers and clients.
func newServer() *grpc.Server {
	return grpc.NewServer(append(wire.ServerOptions(),
		grpc.InitialWindowSize(streamWindowBytes),
		grpc.InitialConnWindowSize(connWindowBytes),
		grpc.ReadBufferSize(socketBufferBytes),
		grpc.WriteBufferSize(socketBufferBytes),
		grpc.MaxRecvMsgSize(PeerMessageBytesMax),
		grpc.MaxSendMsgSize(PeerMessageBytesMax),
		grpc.MaxConcurrentStreams(1<<16),
		grpc.WaitForHandlers(true),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 20 * time.Second, Timeout: peerSilenceMax}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)...)
}
