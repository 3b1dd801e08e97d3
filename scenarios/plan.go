package scenarios

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"time"

	"umbra/internal/diag"
	"umbra/internal/route"
	"umbra/internal/traffic"
	"umbra/replay"
)

// Plan is every request of the scenario, each with the route that the model gives it. It is pure: ranging over it
// again gives the same items, and so do equal seeds; only a capture's file is read again.
func (s *Scenario) Plan() replay.Plan {
	return func(yield func(replay.Item, error) bool) {
		var i uint64
		for planned, err := range s.arrivals() {
			if err != nil {
				yield(replay.Item{}, err)
				return
			}
			planned.ID = replay.ID(s.Load.Seed, i)
			planned.Route = s.predict(planned.Request)
			i++
			if !yield(planned, nil) {
				return
			}
		}
	}
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

// arrivals are the requests with their due times, of the scripted mix or of a capture.
func (s *Scenario) arrivals() replay.Plan {
	switch {
	case s.Load.Arrivals == Captured:
		return s.asCaptured()
	case s.Capture != nil:
		return s.staged(s.captured(true))
	}
	return s.staged(s.scripted())
}

// request is a request and the mix entry that it comes from.
type request struct {
	name string
	traffic.Request
}

func (s *Scenario) scripted() iter.Seq2[request, error] {
	return func(yield func(request, error) bool) {
		for i := uint64(0); ; i++ {
			name, r := s.Mix.Request(i)
			if !yield(request{name, r}, nil) {
				return
			}
		}
	}
}

// staged puts requests to the arrivals of the stages.
func (s *Scenario) staged(requests iter.Seq2[request, error]) replay.Plan {
	return func(yield func(replay.Item, error) bool) {
		next, stop := iter.Pull2(requests)
		defer stop()
		for a := range replay.Schedule(s.stages(), replay.Arrivals(s.Load.Arrivals), s.Load.Seed) {
			r, err, more := next()
			if !more {
				return
			}
			if !yield(replay.Item{Name: r.name, Phase: a.Phase, Due: a.Due, Request: &r.Request}, err) {
				return
			}
		}
	}
}

// stages are the scenario's, the warm-up first.
func (s *Scenario) stages() (out []replay.Stage) {
	if w := s.Load.Warmup; w != nil {
		out = append(out, replay.Stage{Phase: traffic.PhaseWarmup, From: w.Rate, To: w.To, For: w.For})
	}
	for _, stage := range s.Load.Stages {
		out = append(out, replay.Stage{Phase: traffic.PhaseStage, From: stage.Rate, To: stage.To, For: stage.For})
	}
	return out
}

// asCaptured plays a capture once, each request when it came, divided by the speed, behind the warm-up's time.
func (s *Scenario) asCaptured() replay.Plan {
	return func(yield func(replay.Item, error) bool) {
		for r, err := range s.captured(false) {
			due := time.Duration(float64(r.At) / s.Capture.Speed)
			if !yield(replay.Item{Phase: traffic.PhaseStage, Due: due, Request: &r.Request}, err) {
				return
			}
		}
	}
}

// captured reads the capture's requests, for ever where again says so, sent to the scenario's host.
func (s *Scenario) captured(again bool) iter.Seq2[request, error] {
	return func(yield func(request, error) bool) {
		for {
			read := 0
			for r, err := range Traffic(s.Capture.File) {
				read++
				r.Authority, r.Scheme = s.Mesh.Host, "http"
				if !yield(request{"", r}, err) {
					return
				}
			}
			if !again || read == 0 {
				return
			}
		}
	}
}

// Traffic reads the requests of a traffic file that can be sent. An error, the last there is, is diag.Faults with the
// line.
func Traffic(file string) iter.Seq2[traffic.Request, error] {
	return func(yield func(traffic.Request, error) bool) {
		f, err := os.Open(file)
		if err != nil {
			yield(traffic.Request{}, diag.Faults{{File: file, Msg: "cannot be read: " + reason(err).Error()}})
			return
		}
		defer f.Close()
		if err := readTraffic(f, yield); err != nil {
			var faults diag.Faults
			faults.Add(file, err)
			yield(traffic.Request{}, faults)
		}
	}
}

func readTraffic(f io.Reader, yield func(traffic.Request, error) bool) error {
	r, err := traffic.NewReader(f)
	if err != nil {
		return err
	}
	defer r.Close()
	line := 1
	for request, err := range r.Requests() {
		line++
		if err == nil {
			err = checkRequest(line, &request)
		}
		if err != nil {
			return err
		}
		if !yield(request, nil) {
			return nil
		}
	}
	return nil
}

func checkRequest(line int, r *traffic.Request) error {
	if r.Authority == "" {
		return fmt.Errorf("line %d: \"authority\" is missing: give the Host that the request had", line)
	}
	if err := replay.CheckRequest(r); err != nil {
		return fmt.Errorf("line %d: %w", line, err)
	}
	return nil
}

// CheckTraffic reads a traffic file to its end, so that no run starts with one that it cannot finish, and counts its
// requests.
func CheckTraffic(file string) (n int, err error) {
	var last time.Duration
	for r, err := range Traffic(file) {
		if err != nil {
			return n, err
		}
		if n++; r.At < last {
			return n, diag.Faults{{File: file, Line: n + 1, Msg: fmt.Sprintf("request %d was captured %v before the one in front of it: sort the lines by at_ns", n, last-r.At)}}
		}
		last = r.At
	}
	if n == 0 {
		return 0, diag.Faults{{File: file, Msg: "no requests in it: there is nothing to replay"}}
	}
	return n, nil
}

// CheckPlan tells what would keep the plan from being played to its end: too many requests, or a capture that is bad;
// it reads the capture whole.
func (s *Scenario) CheckPlan() error {
	if err := replay.CheckStages(s.stages()); err != nil {
		return diag.Faults{{File: s.File, Msg: "load.stages: " + err.Error()}}
	}
	if s.Capture == nil {
		return nil
	}
	_, err := CheckTraffic(s.Capture.File)
	return err
}

// isInput tells a fault of what people wrote from one of the machine.
func isInput(err error) bool {
	var faults diag.Faults
	return errors.As(err, &faults)
}
