package client_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/server"
)

// certificate is one for 127.0.0.1 that vouches for itself.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
	pool := x509.NewCertPool()
	pool.AddCert(must[*x509.Certificate](t)(x509.ParseCertificate(der)))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestTLS(t *testing.T) {
	certificate, pool := certificate(t)
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	w := &world{oracle: kv.MakeTimestamp(time.Now().UnixMilli(), 1), executed: map[kv.TxID]int{}}
	n := &node{w: w, id: 1, listener: &cutListener{Listener: l}, thaw: make(chan struct{})}
	n.grpc = grpc.NewServer(append(server.GRPCOptions(), grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))...)
	ours := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
	n.server = server.Register(n.grpc, n, server.Options{TLS: ours, Log: quiet})
	w.nodes = []*node{n}
	w.create(&kv.CreateKeyspace{Name: "default", Scheme: kv.SchemeRange})
	go n.grpc.Serve(n.listener)
	t.Cleanup(w.stop)

	c := w.open(t, client.WithTLS(ours))
	put(t, c, "k", "v")
	if v := get(t, c, "k"); v != "v" {
		t.Errorf("%q", v)
	}
	ctx, cancel := contextSoon(t)
	defer cancel()
	if _, err := client.Open(ctx, w.target(), client.WithLogger(quiet)); err == nil {
		t.Error("without TLS it connects as well")
	}
}
