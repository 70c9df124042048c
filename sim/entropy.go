package sim

import (
	crand "crypto/rand"
	"encoding/binary"
	"math/rand/v2"
)

// entropy is crypto/rand.Reader while a world runs: raft v3.7 draws its election jitter from
// there and offers no other way.
type entropy struct{ source *rand.ChaCha8 }

func (e entropy) Read(b []byte) (int, error) { return e.source.Read(b) }

// seedEntropy replaces the process's source of random bytes until the returned function is
// called. Nothing else in the process may need secrets meanwhile.
func seedEntropy(seed uint64) (restore func()) {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	old := crand.Reader
	crand.Reader = entropy{rand.NewChaCha8(key)}
	return func() { crand.Reader = old }
}
