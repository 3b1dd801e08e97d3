package scenarios

import (
	"slices"

	"umbra/internal/traffic"
)

// maxWeight bounds a weight and the sum of the weights, once these are divided by their greatest common divisor.
const maxWeight = 1_000_000

// Entry is one kind of request of a mix. Path, header values and Body are templates.
type Entry struct {
	Name    string
	Weight  int
	Method  string
	Path    string
	Headers []traffic.Header
	Body    string
}

// Mix makes the requests of a scripted mix. It is immutable and may be used by several goroutines.
//
// The requests come in rounds of as many as the weights' sum, divided by their greatest common divisor. Each round
// holds every entry exactly as often as its weight says, in one order that the seed shuffles and that each round
// begins at another point, so that no entry falls in step with the replicas behind a round robin.
type Mix struct {
	Entries []Entry

	host    string
	seed    uint64
	makers  []maker
	order   []uint32 // of a round: the entry at each point
	earlier []uint32 // of a round: how many requests of the same entry stand before each point
	points  [][]uint32
}

// maker is a compiled entry.
type maker struct {
	entry         *Entry
	path, body    template
	headers       []template // values
	sameHeaders   []traffic.Header
	sameBody      []byte // shared by all requests; nobody writes to it
	headersDiffer bool
	same          *traffic.Request // of an entry without templates; nil of others
}

// newMix makes a mix of entries and their compiled forms. Some weight must be above 0.
func newMix(entries []Entry, makers []maker, host string, seed uint64) *Mix {
	m := &Mix{Entries: entries, host: host, seed: seed, makers: makers}
	for i := range makers {
		makers[i].entry = &m.Entries[i]
		makers[i].prepare(host)
	}
	m.layOut(reduced(entries))
	return m
}

// reduced are the weights divided by their greatest common divisor.
func reduced(entries []Entry) []int {
	divisor := 0
	for _, e := range entries {
		divisor = gcd(divisor, e.Weight)
	}
	weights := make([]int, len(entries))
	for i, e := range entries {
		weights[i] = e.Weight / max(divisor, 1)
	}
	return weights
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// layOut shuffles a round (Fisher and Yates, by the seed).
func (m *Mix) layOut(weights []int) {
	for entry, w := range weights {
		m.order = append(m.order, slices.Repeat([]uint32{uint32(entry)}, w)...)
	}
	r := random(mix64(m.seed ^ 0x6d6978)) // "mix": another stream than the requests'
	for i := len(m.order) - 1; i > 0; i-- {
		j := r.below(uint64(i + 1))
		m.order[i], m.order[j] = m.order[j], m.order[i]
	}
	m.points = make([][]uint32, len(weights))
	m.earlier = make([]uint32, len(m.order))
	for point, entry := range m.order {
		m.earlier[point] = uint32(len(m.points[entry]))
		m.points[entry] = append(m.points[entry], uint32(point))
	}
}

// at gives the entry of request i and how many of its requests came before.
func (m *Mix) at(i uint64) (entry, seq uint64) {
	length := uint64(len(m.order))
	round := i / length
	begin := mix64(mix64(m.seed)+round) % length
	point := (begin + i%length) % length
	entry = uint64(m.order[point])
	points := m.points[entry]
	first, _ := slices.BinarySearch(points, uint32(begin)) // the entry's first request of this round
	weight := uint64(len(points))
	return entry, round*weight + (uint64(m.earlier[point])+weight-uint64(first))%weight
}

// Request makes request i: the same for the same scenario, seed and i, whatever was made before. Requests of an entry
// without templates are one and the same. The caller may keep a request, but not write into it. It panics on a scenario read
// by LoadResolved that has CSV columns.
func (m *Mix) Request(i uint64) (name string, request *traffic.Request) {
	name, request, _ = m.request(i)
	return name, request
}

// request is Request; shared says that other indices give this request too.
func (m *Mix) request(i uint64) (name string, request *traffic.Request, shared bool) {
	entry, seq := m.at(i)
	k := &m.makers[entry]
	if k.same != nil {
		return k.entry.Name, k.same, true
	}
	return k.entry.Name, k.render(m.host, &draw{random(mix64(mix64(m.seed+1) + i)), seq}), false
}

func (k *maker) render(host string, d *draw) *traffic.Request {
	return &traffic.Request{
		Method:    k.entry.Method,
		Scheme:    "http",
		Authority: host,
		Path:      string(k.path.render(make([]byte, 0, 64), d)),
		Headers:   k.renderHeaders(d),
		Body:      k.renderBody(d),
	}
}

// prepare renders once what is the same for every request.
func (k *maker) prepare(host string) {
	for i := range k.headers {
		k.headersDiffer = k.headersDiffer || !k.headers[i].fixed
	}
	k.sameHeaders = k.entry.Headers
	if k.body.fixed && k.body.text != "" {
		k.sameBody = []byte(k.body.text)
	}
	if k.path.fixed && k.body.fixed && !k.headersDiffer {
		k.same = k.render(host, nil)
	}
}

func (k *maker) renderHeaders(d *draw) []traffic.Header {
	if !k.headersDiffer {
		return k.sameHeaders
	}
	headers := make([]traffic.Header, len(k.headers))
	for i := range k.headers {
		headers[i] = traffic.Header{k.entry.Headers[i][0], string(k.headers[i].render(nil, d))}
	}
	return headers
}

func (k *maker) renderBody(d *draw) []byte {
	if k.body.fixed {
		return k.sameBody
	}
	return k.body.render(make([]byte, 0, 128), d)
}
