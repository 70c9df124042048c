package host

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/replication"
)

func sampleHandshake() handshake {
	return handshake{Protocol: PeerProtocol, Cluster: 7, Node: 2, Incarnation: 9, Support: time.Second, StoreFormat: StoreFormat, To: 1, Address: "127.0.0.1:1"}
}

func TestHandshakeTravels(t *testing.T) {
	h := sampleHandshake()
	if got, err := decodeHandshake(h.append(nil)); err != nil || got != h {
		t.Errorf("%+v became %+v, %v", h, got, err)
	}
}

func TestHandshakeRefusals(t *testing.T) {
	self := handshake{Protocol: PeerProtocol, Cluster: 7, Node: 1, Support: time.Second, StoreFormat: StoreFormat, Address: "127.0.0.1:2"}
	for name, c := range map[string]struct {
		change func(*handshake)
		kind   kv.Kind
		says   string
	}{
		"protocol":   {func(h *handshake) { h.Protocol++ }, kv.Invalid, "run the same version"},
		"cluster":    {func(h *handshake) { h.Cluster++ }, kv.Denied, "correct --join"},
		"other node": {func(h *handshake) { h.To = 5 }, kv.NotFound, "node 5 was looked for"},
		"twin":       {func(h *handshake) { h.Node = 1 }, kv.Denied, "is a copy"},
		"format":     {func(h *handshake) { h.StoreFormat++ }, kv.Denied, "store of format"},
		"support":    {func(h *handshake) { h.Support++ }, kv.Denied, "constant of the cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			h := sampleHandshake()
			c.change(&h)
			r := newReceiver(self, nil, nil)
			if _, err := r.admit(h.append(nil)); kv.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want kind %s and %q", err, c.kind, c.says)
			}
		})
	}
	if _, err := decodeHandshake([]byte("GET / HTTP/1.1")); kv.KindOf(err) != kv.Invalid {
		t.Errorf("a browser got %v", err)
	}
}

func TestOnlyTheNewestLinkIsHeard(t *testing.T) {
	heard := 0
	r := newReceiver(handshake{}, func(kv.NodeID, []node.Message, int) bool { heard++; return true }, func(kv.NodeID, string) {})
	h := sampleHandshake()
	x, first, err := r.begin(&h)
	if err != nil || !r.accept(x, first, h.Node, nil, 0) {
		t.Fatal(err)
	}
	_, second, err := r.begin(&h)
	if err != nil || r.accept(x, first, h.Node, nil, 0) || !r.accept(x, second, h.Node, nil, 0) || heard != 2 {
		t.Errorf("the second link: %v, %d deliveries, want 2", err, heard)
	}
	h.Incarnation--
	if _, _, err := r.begin(&h); kv.KindOf(err) != kv.Denied {
		t.Errorf("an earlier life was let in: %v", err)
	}
}

func sampleMessages() []node.Message {
	return []node.Message{
		{Heartbeat: &replication.Heartbeat{Incarnation: 1, Sent: 2}},
		{Draw: &core.Draw{Seq: 3, Count: 4}},
		{OrderDone: &core.OrderDone{Partition: 5, Replica: 6, Err: "no"}},
	}
}

func TestFramesTravel(t *testing.T) {
	var b []byte
	for _, m := range sampleMessages() {
		b = appendFrame(b, &m)
	}
	got, err := decodeFrames(b)
	if err != nil || !reflect.DeepEqual(got, sampleMessages()) {
		t.Errorf("%+v became %+v, %v", sampleMessages(), got, err)
	}
	for i := 1; i < len(b); i++ {
		if got, err := decodeFrames(b[:i]); err == nil && len(got) == len(sampleMessages()) {
			t.Errorf("cut after %d of %d bytes nothing was missed", i, len(b))
		}
	}
}

func FuzzDecodeHandshake(f *testing.F) {
	h := sampleHandshake()
	f.Add(h.append(nil))
	f.Add([]byte(handshakeMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := decodeHandshake(b); err == nil && !bytes.Equal(h.append(nil), b) {
			t.Fatalf("%x is not the encoding of %+v", b, h)
		}
	})
}

func FuzzDecodeFrames(f *testing.F) {
	var b []byte
	for _, m := range sampleMessages() {
		b = appendFrame(b, &m)
	}
	f.Add(b)
	f.Add([]byte{0, 0, 0, 1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		messages, err := decodeFrames(b)
		if err != nil {
			return
		}
		var again []byte
		for i := range messages {
			again = appendFrame(again, &messages[i])
		}
		back, err := decodeFrames(again)
		if err != nil || len(back) != len(messages) {
			t.Fatalf("%d messages became %d, %v", len(messages), len(back), err)
		}
	})
}

func TestOutboxLetsHeartbeatsOvertake(t *testing.T) {
	o := newOutbox()
	o.add(&node.Message{Draw: &core.Draw{Seq: 1}})
	if o.flush(); o.queued() != 0 {
		t.Error("a message was kept though there is no stream")
	}
	o.opened()
	o.add(&node.Message{Draw: &core.Draw{Seq: 2}})
	o.add(&node.Message{Heartbeat: &replication.Heartbeat{Incarnation: 1}})
	if o.flush() {
		t.Error("something was lost")
	}
	for _, urgent := range []bool{true, false} {
		m, err := decodeFrames(o.take(nil))
		if err != nil || len(m) != 1 || m[0].Urgent() != urgent {
			t.Errorf("took %+v, %v; want urgent %v", m, err, urgent)
		}
	}
	o.shut()
	if b := o.take(nil); b != nil {
		t.Errorf("took %x from a shut outbox", b)
	}
	o.close()
	if o.opened() {
		t.Error("a closed outbox was opened")
	}
}

func TestOutboxIsBounded(t *testing.T) {
	o := newOutbox()
	o.opened()
	big := node.Message{OrderDone: &core.OrderDone{Err: strings.Repeat("x", 1000)}}
	sent := 0
	for !o.flush() {
		for range 1000 {
			o.add(&big)
			sent++
		}
		if sent > 1<<20 {
			t.Fatal("nothing is ever dropped")
		}
	}
	if q := o.queued(); q > outboxBytesMax+2000 || q < outboxBytesMax/2 {
		t.Errorf("%d bytes wait, the limit is %d", q, outboxBytesMax)
	}
	if o.flush() {
		t.Error("a loss is told twice")
	}
	total := 0
	for o.queued() > 0 {
		b := o.take(nil)
		if len(b) > chunkBytes+2000 {
			t.Fatalf("a batch has %d bytes", len(b))
		}
		total += len(b)
	}
	if total < outboxBytesMax/2 {
		t.Errorf("%d bytes came out", total)
	}
}

func TestOutboxWakesItsSender(t *testing.T) {
	o := newOutbox()
	o.opened()
	got := make(chan []byte)
	go func() { got <- o.take(nil) }()
	o.add(&node.Message{Draw: &core.Draw{Seq: 7}})
	o.flush()
	if m, err := decodeFrames(<-got); err != nil || len(m) != 1 || m[0].Draw.Seq != 7 {
		t.Errorf("the sender got %+v, %v", m, err)
	}
	go func() { got <- o.take(nil) }()
	o.shut()
	if b := <-got; b != nil {
		t.Errorf("the sender got %x after the end", b)
	}
}
