package scenarios

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"umbra/internal/impact"
	"umbra/internal/live"
	"umbra/internal/mesh"
	"umbra/internal/route"
	"umbra/internal/traffic"
	"umbra/internal/verdict"
	"umbra/replay"
)

// The size of a look for harm. A shadow that hurts, hurts every upload, or so many that few are enough: where all of 8 fail that
// otherwise succeed, Fisher's exact test gives 0.00008, and where 5 of them do, 1.3 %. As that is little among the many looks of a run, one
// that finds harm is played once more before it is judged by all of its requests. A look that is not cannot FAIL, so that this makes no
// false FAIL likelier than if each had been played twice.
const (
	harmUploads    = 4               // in a block, at the least
	harmMost       = 40              // at the most
	harmBytes      = 64 << 20        // of uploads a second
	harmTimeout    = 5 * time.Second // of an upload, at the least: no healthy one takes as long
	harmFor        = time.Second     // of a block of the scenario's own requests
	harmNarrowings = 2               // sizes tried between the greatest upload that is not hurt and the least that is
)

// setting is a change of the manifests that may remove harm. edit gives false where there is nothing to change.
type setting struct {
	name string
	edit func(m *route.Manifests, shadows []string) (*route.Manifests, bool, error)
}

// settings are those that are tried: what Istio's own API offers against a shadow that does not read or does not answer.
func settings() []setting {
	pool := func(text string) func(*route.Manifests, []string) (*route.Manifests, bool, error) {
		return func(m *route.Manifests, shadows []string) (*route.Manifests, bool, error) {
			return m.WithPool(text, shadows...)
		}
	}
	always := func(edit func(*route.Manifests) (*route.Manifests, error)) func(*route.Manifests, []string) (*route.Manifests, bool, error) {
		return func(m *route.Manifests, _ []string) (*route.Manifests, bool, error) {
			out, err := edit(m)
			return out, true, err
		}
	}
	return []setting{
		{"a time-out of 2s on the route (VirtualService timeout)", always(func(m *route.Manifests) (*route.Manifests, error) { return m.WithTimeout("2s") })},
		{"idle time-outs of 1s for the shadow (DestinationRule connectionPool.tcp.idleTimeout, http.idleTimeout)", pool("{tcp: {idleTimeout: 1s}, http: {idleTimeout: 1s}}")},
		{"connection pool limits for the shadow (DestinationRule maxConnections 2, http1MaxPendingRequests 1, http2MaxRequests 2)",
			pool("{tcp: {maxConnections: 2}, http: {http1MaxPendingRequests: 1, http2MaxRequests: 2}}")},
		{"a route without mirror for uploads (POST, PUT, PATCH) in front", always((*route.Manifests).WithoutUploads)},
	}
}

// settleSetting is how long a changed setting is given beyond the routes, which were seen to be in force, to be so on every cluster too.
const settleSetting = time.Second

// harm looks for harm by a shadow that misbehaves, where the run is told to: with each mode and each size of body, off against on, every
// request mirrored. Where some is found, it looks what removes it. What it adds to the gateway's counters is told, also where it was
// interrupted.
func (x *experiment) harm(ctx context.Context) error {
	if len(x.Looks) == 0 {
		return nil
	}
	x.said.Looks, x.said.Buffers = x.Run.Looks, x.Buffers
	before, err := x.settled(ctx)
	if err != nil {
		return err
	}
	err = x.looks(ctx)
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), collectIn)
	defer cancel()
	after, failed := x.settled(back)
	x.said.Aside = verdict.Rise(before, after)
	return errors.Join(err, failed)
}

// settled gives the gateway's counters once no mirrored request is under way.
func (x *experiment) settled(ctx context.Context) (map[string]uint64, error) {
	idle, err := x.clear(ctx)
	if err != nil {
		return nil, err
	}
	x.said.Unsettled = x.said.Unsettled || !idle
	return x.running.Counters(ctx)
}

// looks plays every look.
func (x *experiment) looks(ctx context.Context) error {
	upload := x.upload()
	if upload == nil {
		x.said.NoUploads = "no route that takes uploads mirrors, so that no shadow can hurt them"
		x.Watcher.Step(x.said.NoUploads)
	}
	for _, mode := range x.Looks {
		var hurt, piled []verdict.Cell
		sound := 0 // the greatest upload that was not hurt
		for _, body := range x.check.Uploads {
			if body > 0 && upload == nil || body == 0 && len(x.Looks) == 1 { // the experiment itself was with the scenario's own requests
				continue
			}
			cell := verdict.Cell{Shadow: mode, Body: body, Timeout: max(x.Scenario.Load.Timeout, harmTimeout)}
			if body > 0 {
				cell.Route = x.Scenario.predict(upload)
			}
			harmed, piles, err := x.look(ctx, cell, x.Scenario.Manifests, upload)
			if err != nil {
				return err
			}
			switch {
			case harmed:
				hurt = append(hurt, cell)
			case piles:
				cell.Piling = true
				piled = append(piled, cell)
			}
			if !harmed && len(hurt) == 0 {
				sound = max(sound, body)
			}
		}
		if len(hurt) > 0 {
			if err := x.narrow(ctx, hurt[0], sound, upload); err != nil {
				return err
			}
		}
		for _, found := range [][]verdict.Cell{hurt, piled} {
			if len(found) == 0 {
				continue
			}
			if err := x.remedies(ctx, found[0], upload); err != nil {
				return err
			}
		}
	}
	return nil
}

// narrow looks between an upload that is not hurt and one that is, so that the size from which on they are is known more closely.
func (x *experiment) narrow(ctx context.Context, cell verdict.Cell, sound int, upload *traffic.Request) error {
	cell.Narrows = true
	return bisect(sound, cell.Body, func(body int) (bool, error) {
		cell.Body = body
		harmed, _, err := x.look(ctx, cell, x.Scenario.Manifests, upload)
		return harmed, err
	})
}

// bisect tries sizes between one that is sound and one that is harmed, whole MiB, harmNarrowings at the most; none where nothing is sound.
func bisect(sound, hurt int, harmed func(body int) (bool, error)) error {
	const step = 1 << 20
	for n := 0; n < harmNarrowings && sound > 0 && hurt-sound > step; n++ {
		body := (sound + hurt) / 2 / step * step
		if body <= sound {
			return nil
		}
		is, err := harmed(body)
		if err != nil {
			return err
		}
		if is {
			hurt = body
		} else {
			sound = body
		}
	}
	return nil
}

// remedies tries each setting on a look that found harm.
func (x *experiment) remedies(ctx context.Context, cell verdict.Cell, upload *traffic.Request) error {
	shadows := mirrorClusters(x.Scenario.Table)
	for _, s := range settings() {
		m, applies, err := s.edit(x.Scenario.Manifests, shadows)
		if err != nil {
			return err
		}
		if !applies {
			x.Watcher.Step("not tried, as no DestinationRule is about the shadow: " + s.name)
			continue
		}
		cell.Setting = s.name
		if _, _, err := x.look(ctx, cell, m, upload); err != nil {
			return err
		}
	}
	return nil
}

// look plays one, and tells whether more requests failed with mirroring on, and whether mirrored ones pile up.
func (x *experiment) look(ctx context.Context, cell verdict.Cell, m *route.Manifests, upload *traffic.Request) (harmed, piles bool, err error) {
	number := len(x.said.Cells)
	x.said.Cells = append(x.said.Cells, cell)
	x.Watcher.Step("looking for harm: " + describeLook(cell))
	if err := x.waysOf(m); err != nil {
		return false, false, err
	}
	if err := x.behave(ctx, mesh.Conduct{Shadow: shadowOf(cell.Shadow)}); err != nil {
		return false, false, err
	}
	x.view = live.Block{Experiment: "looking for harm: " + describeLook(cell)}
	first := len(x.said.Blocks)
	tally := counted{on: map[int]bool{}}
	for i, order := range impact.Orders(2, x.Scenario.Load.Seed^uint64(number)) {
		x.view.Quadruples, x.view.Of = i+1, (i+1)*impact.Blocks
		if err := x.lookQuad(ctx, verdict.Block{Experiment: verdict.Harm, Cell: number}, order, cell, upload, &tally); err != nil {
			return false, false, err
		}
		if cell.Setting != "" || !tally.harmed() {
			break
		}
	}
	piles = slices.ContainsFunc(x.said.Blocks[first:], func(b verdict.Block) bool { return b.Left >= verdict.PileUp })
	return tally.harmed(), piles, nil
}

// shadowOf is the mode of a shadow that was asked for; "" is a healthy one.
func shadowOf(mode string) string {
	if mode == "healthy" {
		return ""
	}
	return mode
}

func describeLook(cell verdict.Cell) string {
	what := "the scenario's own requests"
	if cell.Body > 0 {
		what = "uploads of " + verdict.Size(cell.Body)
	}
	if cell.Setting != "" {
		what += ", with " + cell.Setting
	}
	return fmt.Sprintf("shadow %s, %s", cell.Shadow, what)
}

// lookQuad is quad for a look. Behind each block with mirroring on it counts the mirrored requests that do not end.
func (x *experiment) lookQuad(ctx context.Context, kind verdict.Block, order impact.Order, cell verdict.Cell, upload *traffic.Request, tally *counted) error {
	number := x.quadruples
	x.quadruples++
	l := x.lookLoad(cell, number, upload)
	l.watch = tally
	for _, treated := range order {
		b := kind
		b.Quadruple, b.Treated, b.Mirrored = number, treated, treated
		tally.on[len(x.said.Blocks)] = treated
		before, err := x.mirroredSoFar(ctx)
		if err != nil {
			return err
		}
		if err := x.block(ctx, &b, l); err != nil {
			return err
		}
		if !treated {
			continue
		}
		after, err := x.mirroredSoFar(ctx)
		if err != nil {
			return err
		}
		x.said.Blocks[b.Index].Sent = after - min(before, after)
		idle, err := x.idle(ctx, verdict.LeftAfter)
		if err == nil && !idle {
			x.said.Blocks[b.Index].Left, err = x.left(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mirroredSoFar is how many requests the gateway has sent to the mirrors' clusters.
func (x *experiment) mirroredSoFar(ctx context.Context) (n uint64, err error) {
	counters, err := x.running.Counters(ctx)
	s := mesh.State{Counters: counters}
	for _, c := range mirrorClusters(x.Scenario.Table) {
		n += s.Counter(c, "upstream_rq_total")
	}
	return n, err
}

// left is how many mirrored requests are under way.
func (x *experiment) left(ctx context.Context) (n uint64, err error) {
	counters, err := x.running.Counters(ctx)
	s := mesh.State{Counters: counters}
	for _, c := range mirrorClusters(x.Scenario.Table) {
		n += s.Counter(c, "upstream_rq_active") + s.Counter(c, "upstream_rq_pending_active")
	}
	return n, err
}

// lookLoad is what a block of a look sends: the scenario's own requests for a second, or a few uploads, as fast as a machine can take them.
func (x *experiment) lookLoad(cell verdict.Cell, quadruple int, upload *traffic.Request) blockLoad {
	if cell.Body == 0 {
		l := x.requests(quadruple)
		l.stages = []replay.Stage{{Phase: traffic.PhaseBlock, From: x.said.Rate, To: x.said.Rate, For: harmFor}}
		l.timeout = cell.Timeout
		return l
	}
	rate := min(x.said.Rate, float64(harmBytes)/float64(cell.Body))
	n := math.Ceil(min(harmMost, max(harmUploads, rate*harmFor.Seconds())))
	request := *upload
	request.Body = noise(cell.Body)
	item := replay.Item{Name: "upload", Route: x.Scenario.predict(&request), Request: &request}
	return blockLoad{
		stages: []replay.Stage{{Phase: traffic.PhaseBlock, From: rate, To: rate, For: time.Duration(n / rate * float64(time.Second))}},
		seed:   uint64(quadruple), timeout: cell.Timeout, constant: true,
		requests: func() (func() (replay.Item, error), func()) {
			return func() (replay.Item, error) { return item, nil }, func() {}
		},
	}
}

// noise is a body that nothing compresses, always the same.
func noise(n int) []byte {
	body := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(body) // it never fails
	return body
}

// upload is a request whose body the mesh mirrors: the first of the mix, or of the capture, whose path does so with POST; nil where there
// is none. The other routes that do are told.
func (x *experiment) upload() (first *traffic.Request) {
	s := x.Scenario
	const looked = 1000
	requests := s.scriptedFrom(0)
	if s.Capture != nil {
		requests = s.captured(true)
	}
	next, stop := requests()
	defer stop()
	took := ""
	for range looked {
		item, err := next()
		if err != nil {
			break
		}
		r := *item.Request
		r.Body = nil
		if r.Method != http.MethodPut && r.Method != http.MethodPatch {
			r.Method = http.MethodPost
		}
		switch name := s.predict(&r); {
		case !s.mirrors(name) || name == took || slices.Contains(x.said.OtherRoutes, name):
		case first == nil:
			first, took = &r, name
		default:
			x.said.OtherRoutes = append(x.said.OtherRoutes, name)
		}
	}
	return first
}

// mirrors tells whether a route mirrors anything.
func (s *Scenario) mirrors(name string) bool {
	return slices.ContainsFunc(s.Table.Routes(), func(r *route.Route) bool {
		return r.Name == name && slices.ContainsFunc(r.Mirrors, func(m route.Mirror) bool { return m.Numerator > 0 })
	})
}

// counted counts the requests of a look, on their way to a recorder.
type counted struct {
	on                       map[int]bool // by block: mirroring is on
	n, failed, nOn, failedOn int
}

func (c *counted) add(r *traffic.Result) {
	n, bad := &c.n, &c.failed
	if c.on[r.Block] {
		n, bad = &c.nOn, &c.failedOn
	}
	*n++
	if r.Outcome != traffic.OK || r.Status >= 500 {
		*bad++
	}
}

// harmed is whether it is worth while to look what removes it; the verdict judges by all looks.
func (c *counted) harmed() bool { return verdict.MoreFail(c.failed, c.n, c.failedOn, c.nOn) }
