package scenarios

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"math"
	"net/http"
	"slices"
	"time"

	"umbra/internal/evidence"
	"umbra/internal/traffic"
)

// SafeMethods are those that ask for no change (RFC 9110, 9.2.1).
var SafeMethods = []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace}

// Selection is what of a capture is replayed. The zero value is all of it, once. A request is left out by the first of these
// that leaves it out: the cuts, the methods, the sample.
type Selection struct {
	From, To time.Duration // the requests from From until before To, since the start of the capture; a To of 0 is its end
	First    int           // of those the first ones; 0: all
	Methods  []string      // nil: all
	Sample   float64       // percent of the sessions, each whole; a request without session is one of its own. 0: all
	Seed     uint64        // of the sample
	Loops    int           // how often it is replayed as captured, one round behind the other; 0: once

	Original string // what the file was made of, which faults name in its stead; "": the file itself
}

// selector goes once through the requests of a capture, in their order.
type selector struct {
	*Selection
	seen    uint64 // requests
	inCut   int
	counts  evidence.Capture
	methods map[string]int // left out
}

func (s *Selection) selector() *selector { return &selector{Selection: s, methods: map[string]int{}} }

// take tells whether a request is replayed, and counts it.
func (s *selector) take(r *traffic.Request) bool {
	s.seen++
	s.counts.Captured++
	switch {
	case r.At < s.From || s.over(r.At):
		s.counts.Outside++
		return false
	case s.leavesOut(r.Method):
		s.inCut++
		s.methods[r.Method]++
		return false
	}
	s.inCut++
	if !s.drawn(r.Session) {
		s.counts.Sampled++
		return false
	}
	s.counts.Replayed++
	return true
}

// over tells whether nothing that comes at an instant, or later, is replayed any more.
func (s *selector) over(at time.Duration) bool {
	return s.To > 0 && at >= s.To || s.First > 0 && s.inCut >= s.First
}

func (s *selector) leavesOut(method string) bool {
	return s.Methods != nil && !slices.Contains(s.Methods, method)
}

// drawn tells whether a session is in the sample. It depends on the seed and the session alone, so that whole sessions are in it,
// and the same ones each time.
func (s *selector) drawn(session string) bool {
	if s.Sample <= 0 || s.Sample >= 100 {
		return true
	}
	var number [16]byte
	binary.BigEndian.PutUint64(number[:], s.Seed)
	hash := fnv.New64a()
	if session == "" {
		binary.BigEndian.PutUint64(number[8:], s.seen)
		hash.Write(number[:])
	} else {
		hash.Write(number[:8])
		hash.Write([]byte(session))
	}
	return float64(spread(hash.Sum64()))/math.MaxUint64 < s.Sample/100
}

// spread is the finaliser of MurmurHash3 (Appleby 2011): FNV's upper bits hardly depend on the last bytes.
func spread(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// sum is what was counted.
func (s *selector) sum() evidence.Capture {
	c := s.counts
	left := 0
	for method, n := range s.methods {
		c.Methods = append(c.Methods, evidence.MethodLeft{Method: method, Count: n})
		left += n
	}
	slices.SortFunc(c.Methods, func(a, b evidence.MethodLeft) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Method, b.Method))
	})
	if slices.Equal(s.Methods, SafeMethods) {
		c.Unsafe = left
	} else {
		c.Unasked = left
	}
	c.Rounds = max(1, s.Loops)
	return c
}
