package node

import "github.com/kvd-db/kvd/kv"

type parkedRequest struct {
	id    RequestID
	req   *kv.Request
	admin *kv.AdminRequest
	at    kv.Instant // since when it waits
}

// parkedList is the requests of one replica that wait, in the order in which they came.
type parkedList struct {
	list  []parkedRequest // canceled ones have no request any more
	first uint64          // number of list[0]
	byID  map[RequestID]uint64
}

// len is how many wait.
func (p *parkedList) len() int { return len(p.byID) }

func (p *parkedList) add(w parkedRequest) {
	if p.byID == nil {
		p.byID = map[RequestID]uint64{}
	}
	p.byID[w.id] = p.first + uint64(len(p.list))
	p.list = append(p.list, w)
}

func (p *parkedList) cancel(id RequestID) {
	if number, ok := p.byID[id]; ok {
		delete(p.byID, id)
		p.list[number-p.first] = parkedRequest{}
	}
}

// takeSince removes and returns those that have waited since before a time.
func (p *parkedList) takeSince(before kv.Instant) []parkedRequest {
	n := 0
	for n < len(p.list) && p.list[n].at < before {
		n++
	}
	return p.take(n)
}

func (p *parkedList) takeAll() []parkedRequest { return p.take(len(p.list)) }

// take removes the first n of the list, and returns those that were not canceled.
func (p *parkedList) take(n int) []parkedRequest {
	var taken []parkedRequest
	for _, w := range p.list[:n] {
		if w.req != nil || w.admin != nil {
			delete(p.byID, w.id)
			taken = append(taken, w)
		}
	}
	p.list, p.first = p.list[n:], p.first+uint64(n)
	if len(p.list) == 0 {
		*p = parkedList{}
	}
	return taken
}
