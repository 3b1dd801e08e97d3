package cluster

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"sync/atomic"
	"time"

	"umbra/internal/app"
	"umbra/internal/mesh"
)

// The draws of one request at the gateway, and of one mirrored copy.
const (
	drawMirror      uint64 = iota // shared by all mirrors of the route
	drawDestination               // among the route's weights
	drawDelay                     // the route's own fault injection
	drawAbort
	drawLosePrimary
	drawMirrorWrites
	drawDrop
	drawDuplicate
	drawMutate
	drawMutatedByte
	drawBackoff           // and those after it, one for each retry
	drawCopy    = 1 << 32 // and those after it, one for each copy
)

// misbehaviour is what the gateway was told to do wrong. A nil member is not wrong.
type misbehaviour struct {
	fraction     *uint64 // numerator per million, in place of every mirror's
	fractionHits *atomic.Int64
	slowPrimary  time.Duration
	slowHits     *atomic.Int64
	shadowHits   *atomic.Int64

	drop, duplicate, mutate, mirrorWrites, losePrimary *fault
	hits                                               map[string]*atomic.Int64 // of every fault, by its name; the map never changes
}

func newMisbehaviour(f mesh.Faults) *misbehaviour {
	m := &misbehaviour{hits: map[string]*atomic.Int64{}, slowPrimary: f.SlowPrimary}
	counter := func(name string, wanted bool) *atomic.Int64 {
		n := new(atomic.Int64)
		if wanted {
			m.hits[name] = n
		}
		return n
	}
	share := func(name string, draw uint64, share float64) *fault {
		return &fault{share: share, draw: draw, hits: counter(name, share > 0)}
	}
	m.fractionHits = counter("fraction", f.Fraction != nil)
	if f.Fraction != nil {
		numerator := uint64(math.Round(*f.Fraction * 1e4))
		m.fraction = &numerator
	}
	m.slowHits = counter("slow-primary", f.SlowPrimary > 0)
	m.shadowHits = counter("shadow", modeOf(f.Shadow) != "")
	m.drop = share("drop", drawDrop, f.Drop)
	m.duplicate = share("duplicate", drawDuplicate, f.Duplicate)
	m.mutate = share("mutate", drawMutate, f.Mutate)
	m.mirrorWrites = share("mirror-writes", drawMirrorWrites, f.MirrorWrites)
	m.losePrimary = share("lose-primary", drawLosePrimary, f.LosePrimary)
	return m
}

// fault is a wrong that befalls a share of its candidates, the first one always.
type fault struct {
	share float64
	draw  uint64
	first atomic.Bool // the first candidate was seen
	hits  *atomic.Int64
}

// strikes decides on a candidate by its draws.
func (f *fault) strikes(d app.Draws) bool {
	if f.share <= 0 {
		return false
	}
	isFirst := !f.first.Load() && f.first.CompareAndSwap(false, true)
	if !isFirst && d.Unit(f.draw) >= f.share {
		return false
	}
	f.hits.Add(1)
	return true
}

// mirrors decides on one mirror by the route's random value of the request, below a million.
func (m *misbehaviour) mirrors(u uint64, numerator uint32) bool {
	configured := u < uint64(numerator)
	if m.fraction == nil {
		return configured
	}
	actual := u < *m.fraction
	if actual != configured {
		m.fractionHits.Add(1)
	}
	return actual
}

// mutated is a copy of a request's path and body with one byte changed: of the body, or of the path where there is no
// body.
func mutated(path string, body []byte, d app.Draws) (string, []byte) {
	at := d.At(drawMutatedByte)
	if len(body) == 0 {
		return mutatedPath(path, at), body
	}
	changed := append([]byte(nil), body...)
	changed[at%uint64(len(body))] ^= 1
	return path, changed
}

// mutatedPath changes one letter or digit to its neighbour, so that the path stays valid; escapes are left alone. A
// path without any gets one more byte.
func mutatedPath(path string, at uint64) string {
	b := []byte(path)
	var places []int
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '%':
			i += 2
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			places = append(places, i)
		}
	}
	if len(places) == 0 {
		return "/x" + path[1:]
	}
	i := places[at%uint64(len(places))]
	switch c := b[i]; c {
	case '9', 'z', 'Z':
		b[i] = c - 1
	default:
		b[i] = c + 1
	}
	return string(b)
}

func isWrite(method string) bool {
	switch method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return true
	}
	return false
}

// checkFaults lists the faults that make no sense; of the shadow's newConduct tells.
func checkFaults(f mesh.Faults) error {
	var wrong []error
	for _, s := range []struct {
		name  string
		share float64
	}{{"drop", f.Drop}, {"duplicate", f.Duplicate}, {"mutate", f.Mutate}, {"mirror-writes", f.MirrorWrites}, {"lose-primary", f.LosePrimary}} {
		if !(s.share >= 0 && s.share <= 1) {
			wrong = append(wrong, fmt.Errorf("fault %s: %v is not a share; use a number from 0 to 1", s.name, s.share))
		}
	}
	if p := f.Fraction; p != nil && !(*p >= 0 && *p <= 100) {
		wrong = append(wrong, fmt.Errorf("fault fraction: %v is not a percentage; use a number from 0 to 100", *p))
	}
	if f.SlowPrimary < 0 {
		wrong = append(wrong, fmt.Errorf("fault slow-primary: %v is negative", f.SlowPrimary))
	}
	return errors.Join(wrong...)
}
