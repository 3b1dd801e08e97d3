package scenarios

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"time"

	"umbra/internal/diag"
	"umbra/internal/route"
	"umbra/internal/traffic"
	"umbra/replay"
)

// Plan is every request of the scenario, each with the route that the model gives it. It is pure: ranging over it
// again gives the same items, and so do equal seeds; only a capture's file is read again, where it was too long to keep.
func (s *Scenario) Plan() replay.Plan {
	if s.Load.Arrivals == Captured {
		return replay.PlanAsCaptured(s.Capture.Speed, s.Load.Seed, s.captured(false))
	}
	requests := s.scripted
	if s.Capture != nil {
		requests = s.captured(true)
	}
	arrivals := replay.Schedule(s.stages(), replay.Arrivals(s.Load.Arrivals), s.Load.Seed)
	return replay.PlanAt(arrivals, s.Load.Seed, requests)
}

// scripted gives the mix's requests, for ever.
func (s *Scenario) scripted() (next func() (replay.Item, error), stop func()) {
	return s.scriptedFrom(0)()
}

// scriptedFrom gives the mix's requests from the i-th on, for ever.
func (s *Scenario) scriptedFrom(first uint64) replay.Requests {
	return func() (func() (replay.Item, error), func()) {
		routes := predictor{s, map[*traffic.Request]string{}}
		i := first
		return func() (replay.Item, error) {
			name, r, shared := s.Mix.request(i)
			i++
			return replay.Item{Name: name, Route: routes.of(r, shared), Request: r}, nil
		}, func() {}
	}
}

// captured gives the capture's requests, for ever where again says so, sent to the scenario's host.
func (s *Scenario) captured(again bool) replay.Requests {
	return func() (func() (replay.Item, error), func()) {
		recorded, err := s.recorded, error(nil)
		if recorded == nil {
			recorded, err = s.readCapture()
		}
		if err != nil {
			return func() (replay.Item, error) { return replay.Item{}, err }, func() {}
		}
		routes := predictor{s, map[*traffic.Request]string{}}
		next, stop := recorded.Requests(again)()
		return func() (replay.Item, error) {
			item, err := next()
			if err == nil {
				item.Route = routes.of(item.Request, recorded.kept != nil)
			}
			return item, err
		}, stop
	}
}

// readCapture reads the capture whole.
func (s *Scenario) readCapture() (*Recorded, error) {
	return readRewritten(s.Capture.File, s.Capture.Selection, s.adapt, s.rewriting)
}

// adapt sends a captured request to the scenario's host, and changes it as the scenario says.
func (s *Scenario) adapt(r *traffic.Request) {
	r.Authority, r.Scheme = s.Mesh.Host, "http"
	s.rewriting.apply(r)
}

// predictor names the routes that the gateway takes, and asks the model once only for a request that comes again.
type predictor struct {
	*Scenario
	known map[*traffic.Request]string
}

func (p predictor) of(r *traffic.Request, shared bool) string {
	if !shared {
		return p.predict(r)
	}
	name, known := p.known[r]
	if !known {
		name = p.predict(r)
		p.known[r] = name
	}
	return name
}

// predict names the route that the gateway takes; "" where it answers 404.
func (s *Scenario) predict(r *traffic.Request) string {
	header := make(http.Header, len(r.Headers))
	for _, h := range r.Headers {
		header.Add(h[0], h[1])
	}
	decision := s.Table.Match(&route.Request{Port: s.Mesh.Port, Scheme: "http", Method: r.Method, Authority: r.Authority, Path: r.Path, Header: header})
	if decision.Route == nil {
		return ""
	}
	return decision.Route.Name
}

// stages are the scenario's, the warm-up first and the cool-down last.
func (s *Scenario) stages() (out []replay.Stage) {
	add := func(phase traffic.Phase, stage Stage) {
		out = append(out, replay.Stage{Phase: phase, From: stage.Rate, To: stage.To, For: stage.For})
	}
	if s.Load.Warmup != nil {
		add(traffic.PhaseWarmup, *s.Load.Warmup)
	}
	for _, stage := range s.Load.Stages {
		add(traffic.PhaseStage, stage)
	}
	if s.Load.Cooldown != nil {
		add(traffic.PhaseCooldown, *s.Load.Cooldown)
	}
	return out
}

// Count is about how many requests the plan has; 0 where CheckPlan has not read the capture that says it.
func (s *Scenario) Count() int {
	switch {
	case s.Load.Arrivals != Captured:
		return replay.CountOf(s.stages())
	case s.recorded == nil:
		return 0
	}
	return s.recorded.Count
}

// Demand is what the load asks of the machine that it comes from.
func (s *Scenario) Demand() replay.Demand {
	d, rate := replay.Demand{For: s.Duration()}, replay.TopRate(s.stages())
	if s.recorded != nil && s.Load.Arrivals == Captured {
		d.For = time.Duration(float64(s.recorded.Length) / s.Capture.Speed)
		rate = float64(s.recorded.Count) / max(d.For, time.Second).Seconds()
	}
	if s.Load.Reuse == replay.Fresh {
		d.Fresh = rate
	}
	return d
}

// CheckPlan tells what would keep the plan from being played to its end: too many requests, or a capture that is bad;
// it reads the capture whole. It must not run while a plan of the scenario is being ranged over.
func (s *Scenario) CheckPlan() error {
	if err := replay.CheckStages(s.stages()); err != nil {
		return diag.Faults{{File: s.File, Msg: "load.stages: " + err.Error()}}
	}
	if s.Capture == nil {
		return nil
	}
	recorded, err := s.readCapture()
	if err != nil {
		return err
	}
	if s.Load.Arrivals == Captured {
		if err := replay.CheckCaptured(recorded.Count, recorded.Length, s.Capture.Speed); err != nil {
			return diag.Faults{{File: s.File, Msg: "traffic.capture: " + err.Error()}}
		}
	}
	if s.Load.Ordered && recorded.Sessions == 0 {
		return diag.Faults{{File: s.File, Msg: fmt.Sprintf("traffic.capture.ordered: no request of %s names its session; leave it out", cmp.Or(s.Capture.Original, s.Capture.File))}}
	}
	if s.Load.Reuse == replay.Session && recorded.Sessions == 0 {
		return diag.Faults{{File: s.File, Msg: fmt.Sprintf("load.reuse: no request of %s names its session; use reuse: keep or fresh", cmp.Or(s.Capture.Original, s.Capture.File))}}
	}
	s.recorded = recorded
	return nil
}

// isInput tells a fault of what people wrote from one of the machine.
func isInput(err error) bool {
	var faults diag.Faults
	return errors.As(err, &faults)
}
