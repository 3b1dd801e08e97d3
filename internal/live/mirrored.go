package live

import (
	"time"

	"umbra/internal/traffic"
)

// Mirrored is what the gateway mirrored by its own count, beside what it was to mirror. Only the receipts, which are collected behind the
// load, tell what arrived.
type Mirrored struct {
	Requests   int     `json:"requests"`   // that were sent on routes that mirror
	Mirrored   uint64  `json:"mirrored"`   // by the gateway's count
	Configured float64 `json:"configured"` // the share of Requests that the routes' model asks for, from 0
}

// Share is the share that was mirrored, from 0.
func (m *Mirrored) Share() float64 { return float64(m.Mirrored) / float64(m.Requests) }

// settled is how long after a reading of the counters the rows of nearly all requests that were sent before it have come.
const settled = time.Second

// mirroring holds the gateway's counters against the rows. A row comes when its request has ended, so a reading is held against those that
// were sent before it when they are there: a little later.
type mirroring struct {
	shares map[string]uint64 // per million, of the routes that mirror
	route  string            // of the last row,
	share  uint64            // and its share;
	known  bool              // it has one

	read   bool // there is a reading:
	at     time.Duration
	count  uint64
	before sent // what was sent up to it
	since  sent
	shown  *Mirrored
	closed bool // nothing more is counted
}

// sent counts requests on routes that mirror.
type sent struct {
	n        int
	expected uint64 // of a million times as many, to be mirrored
}

func (m *mirroring) add(r *traffic.Result) {
	if r.Sent == traffic.Never {
		return
	}
	if r.Route != m.route {
		m.route = r.Route
		m.share, m.known = m.shares[r.Route]
	}
	if !m.known {
		return
	}
	to := &m.since
	if m.read && r.Sent <= m.at {
		to = &m.before
	}
	to.n++
	to.expected += m.share
}

// reading takes a reading of the gateway's counters at an instant of the run.
func (m *mirroring) reading(at time.Duration, count uint64) {
	if m.closed {
		return
	}
	m.settle(at)
	m.before.n += m.since.n
	m.before.expected += m.since.expected
	m.since = sent{}
	m.read, m.at, m.count = true, at, count
}

// settle gives the last reading whose rows have come; nil where there is none.
func (m *mirroring) settle(now time.Duration) *Mirrored {
	if m.read && now >= m.at+settled && m.before.n > 0 {
		m.shown = &Mirrored{Requests: m.before.n, Mirrored: m.count, Configured: float64(m.before.expected) / 1e6 / float64(m.before.n)}
	}
	return m.shown
}
