package wire

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

func TestRefusesWhatIsNotABatch(t *testing.T) {
	good := AppendRequest(AppendHead(nil, 42), 1, 0, &kv.Request{Read: &kv.Read{Keys: []kv.Key{kv.Key("k")}}})
	for name, b := range map[string][]byte{
		"empty": {}, "version": append([]byte{2}, good[1:]...), "head": good[:5], "length": good[:HeadBytes+2], "frame": good[:len(good)-1],
		"no frame": append(AppendHead(nil, 42), 0, 0, 0, 0),
	} {
		batch, err := OpenBatch(b)
		for err == nil {
			if _, ok := batch.Next(); !ok {
				err = batch.Err()
				break
			}
		}
		if err == nil || err.Kind != kv.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	body := frames(t, good)[0].Body
	for name, b := range map[string][]byte{
		"empty": {}, "no part": {0, 0, 0, 0}, "part": {0, 0, 0, 10}, "rest": append(append([]byte{}, body...), 0), "short": body[:len(body)-1],
		"a count beyond its input": {0, 0, 0, partRead, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 3},
	} {
		if err := DecodeRequest(b, &Op{}); err == nil || err.Kind != kv.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzBatch: whatever the input is, it is refused, or decodes to what encodes to the same again.
func FuzzBatch(f *testing.F) {
	rng := rand.New(rand.NewPCG(4, 4))
	for range 30 {
		b := AppendHead(nil, 42)
		for i := range 3 {
			b = AppendRequest(b, uint64(i), time.Second, randomRequest(rng))
		}
		b = AppendResponse(b, 1, &kv.Response{Rows: []kv.Row{{Key: kv.Key("k"), Value: []byte("v"), Version: 1}}, Found: []bool{true, false}, Sums: []int64{-1}, Timing: randomTiming(rng)})
		f.Add(AppendError(AppendCancel(b, 7), 8, randomError(rng, kv.NotLeader)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		batch, err := OpenBatch(b)
		if err != nil {
			return
		}
		for {
			frame, ok := batch.Next()
			if !ok {
				return
			}
			fuzzFrame(t, frame)
		}
	})
}

func fuzzFrame(t *testing.T, f Frame) {
	switch f.Type {
	case FrameRequest:
		var first, second Op
		if DecodeRequest(f.Body, &first) != nil {
			return
		}
		again := frames(t, AppendRequest(AppendHead(nil, 42), f.ID, first.Timeout, &first.Request))
		if err := DecodeRequest(again[0].Body, &second); err != nil || !reflect.DeepEqual(first.Request, second.Request) {
			t.Fatalf("%v: %+v became %+v", err, first.Request, second.Request)
		}
	case FrameResponse:
		var first, second Reply
		if DecodeResponse(f.Body, &first) != nil {
			return
		}
		again := frames(t, AppendResponse(AppendHead(nil, 42), f.ID, &first.Response))
		if err := DecodeResponse(again[0].Body, &second); err != nil || len(first.Response.Rows) != len(second.Response.Rows) {
			t.Fatalf("%v: %+v became %+v", err, first.Response, second.Response)
		}
	case FrameError:
		if e := DecodeError(f.Body); e.Kind == 0 || e.Kind > kv.KindMax {
			t.Fatalf("%+v", e)
		}
	}
}

// FuzzCall: what nodes ask each other, as FuzzBatch.
func FuzzCall(f *testing.F) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 30 {
		f.Add(AppendCall(nil, randomCall(rng)))
		f.Add(AppendCall(nil, randomRequest(rng)))
	}
	f.Add(AppendAnswer(nil, &kv.Response{Timestamp: 7, Outcome: kv.OutcomeCommitted, Timing: randomTiming(rng)}, nil))
	f.Add(AppendAnswer(nil, nil, randomError(rng, kv.Conflict)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := DecodeCall(b); err == nil {
			again, err := DecodeCall(AppendCall(nil, q))
			if err != nil || !reflect.DeepEqual(again, q) {
				t.Fatalf("%v: %+v became %+v", err, q, again)
			}
		}
		a, answer, bad := DecodeAnswer(b)
		if (a == nil) == (answer == nil) && bad == nil || bad != nil && bad.Kind != kv.Invalid {
			t.Fatalf("%+v, %v, %v", a, answer, bad)
		}
		if a != nil {
			if again, _, bad := DecodeAnswer(AppendAnswer(nil, a, nil)); bad != nil || again.Timestamp != a.Timestamp || again.Outcome != a.Outcome {
				t.Fatalf("%v: %+v became %+v", bad, a, again)
			}
		}
	})
}
