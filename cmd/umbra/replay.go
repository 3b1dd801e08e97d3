package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"umbra/internal/evidence"
	"umbra/internal/traffic"
	"umbra/replay"
	"umbra/scenarios"
)

type replayOptions struct {
	rate        string
	duration    time.Duration
	arrivals    string
	speed       float64
	connections int
	timeout     time.Duration
	seed        uint64
	method      string
	headers     []string
	body        string
	keepHost    bool
	out         string
	json        bool
}

func replayCommand() *cobra.Command {
	var o replayOptions
	c := &cobra.Command{
		Use:   "replay [TRAFFIC] URL",
		Short: "Replay a traffic file, or one request, against any URL at a controlled rate",
		Long: `Replay a traffic file, or the one request that URL names, against any URL: an open loop at a rate,
or with --rate max a closed loop. No mesh is needed, and none is judged. Each request is timed from
the instant it was due; the folder gets a row for each planned request, HDR histograms and the
report.

The requests of a traffic file are sent in their order, from its begin again when it is over, to
URL's host; without --rate they are sent once, as they were captured.`,
		Example: `  umbra replay http://127.0.0.1:8080/api/items --rate 500 --for 10s
  umbra replay shop.jsonl.zst http://127.0.0.1:8080 --rate 200 --for 1m
  umbra replay shop.jsonl.zst http://127.0.0.1:8080 --speed 2`,
		Args: cobra.RangeArgs(1, 2),
		RunE: o.run,
	}
	f := c.Flags()
	f.StringVar(&o.rate, "rate", "", "requests a second, or max for a closed loop")
	f.DurationVar(&o.duration, "for", 10*time.Second, "how long")
	f.StringVar(&o.arrivals, "arrivals", "constant", "constant or poisson")
	f.Float64Var(&o.speed, "speed", 1, "without --rate: how many times as fast as captured")
	f.IntVar(&o.connections, "connections", 32, "how many connections")
	f.DurationVar(&o.timeout, "timeout", 2*time.Second, "of a request, counted from the instant it is due")
	f.Uint64Var(&o.seed, "seed", 1, "of Poisson arrivals and of the ids")
	f.StringVarP(&o.method, "method", "X", "GET", "without TRAFFIC: the method")
	f.StringArrayVarP(&o.headers, "header", "H", nil, "without TRAFFIC: a header line, \"name: value\"")
	f.StringVarP(&o.body, "body", "d", "", "without TRAFFIC: the body")
	f.BoolVar(&o.keepHost, "keep-host", false, "with TRAFFIC: send the Host that was captured, not URL's")
	f.StringVar(&o.out, "out", "", "the folder for the run, new or empty (default runs/replay-<UTC time>)")
	jsonFlag(c, &o.json)
	return c
}

func (o *replayOptions) run(c *cobra.Command, args []string) error {
	target, err := parseTarget(args[len(args)-1])
	if err != nil {
		return err
	}
	file := ""
	if len(args) == 2 {
		file = args[0]
	}
	if err := o.idle(c, file); err != nil {
		return err
	}
	plan, err := o.plan(file, target)
	if err != nil {
		return err
	}
	dir, err := newFolder(o.out, "replay")
	if err != nil {
		return err
	}
	answered, err := o.play(c.Context(), plan, target, dir, c.ErrOrStderr())
	if err != nil {
		return err
	}
	status, err := conclude(c, dir, o.json)
	switch {
	case err != nil:
		return err
	case c.Context().Err() != nil:
		return exit(exitInterrupted)
	case !answered:
		return statusError{exitMesh, fmt.Errorf("no request was answered by %s", target)}
	}
	return exit(status)
}

// idle refuses flags that would do nothing.
func (o *replayOptions) idle(c *cobra.Command, file string) error {
	var unused []string
	why := "goes only without TRAFFIC, whose requests are sent as they are"
	switch {
	case file != "":
		unused = []string{"method", "header", "body"}
	default:
		unused, why = []string{"keep-host", "speed"}, "goes only with TRAFFIC"
	}
	for _, name := range unused {
		if c.Flags().Changed(name) {
			return fmt.Errorf("--%s %s", name, why)
		}
	}
	switch {
	case o.rate == "" && c.Flags().Changed("for"):
		return errors.New("--for goes only with --rate: without it the traffic file is sent once")
	case (o.rate == "" || o.rate == "max") && c.Flags().Changed("arrivals"):
		return errors.New("--arrivals goes only with a --rate in requests a second")
	case o.rate != "" && c.Flags().Changed("speed"):
		return errors.New("--speed goes only without --rate")
	}
	return nil
}

// parseTarget reads the URL that the load goes to.
func parseTarget(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is not a URL like http://127.0.0.1:8080/path", text)
	}
	if u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("%q: user names and fragments are not sent; leave them out", text)
	}
	return u, nil
}

// address is host:port of u.
func address(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// plan checks everything before the start, so that a run that begins can end.
func (o *replayOptions) plan(file string, target *url.URL) (replay.Plan, error) {
	if o.connections < 1 || o.timeout <= 0 || o.duration <= 0 || !(o.speed > 0) {
		return nil, errors.New("--connections, --timeout, --for and --speed must be above 0")
	}
	requests, err := o.requests(file, target)
	if err != nil {
		return nil, err
	}
	dues, err := o.dues(file)
	if err != nil {
		return nil, err
	}
	return func(yield func(replay.Item, error) bool) {
		next, stop := iter.Pull2(requests)
		defer stop()
		var i uint64
		for due := range dues {
			r, err, more := next()
			if !more {
				return
			}
			if due == asCaptured {
				due = time.Duration(float64(r.At) / o.speed)
			}
			if !yield(replay.Item{ID: replay.ID(o.seed, i), Phase: traffic.PhaseStage, Due: due, Request: &r}, err) {
				return
			}
			i++
		}
	}, nil
}

// asCaptured stands for the due time that the request brings along.
const asCaptured time.Duration = -2

// dues gives the due times, endless ones where something else ends the plan.
func (o *replayOptions) dues(file string) (iter.Seq[time.Duration], error) {
	switch o.rate {
	case "max":
		return forever(replay.AsSoonAsPossible), nil
	case "":
		if file == "" {
			return nil, errors.New("--rate is missing: give requests a second, or max for a closed loop")
		}
		return forever(asCaptured), nil
	}
	rate, err := strconv.ParseFloat(o.rate, 64)
	if err != nil {
		return nil, fmt.Errorf("--rate %q is neither a number of requests a second nor max", o.rate)
	}
	if o.arrivals != string(replay.Constant) && o.arrivals != string(replay.Poisson) {
		return nil, fmt.Errorf("--arrivals %q is neither constant nor poisson", o.arrivals)
	}
	stages := []replay.Stage{{Phase: traffic.PhaseStage, From: rate, To: rate, For: o.duration}}
	if err := replay.CheckStages(stages); err != nil {
		return nil, fmt.Errorf("--rate: %w", err)
	}
	return func(yield func(time.Duration) bool) {
		for a := range replay.Schedule(stages, replay.Arrivals(o.arrivals), o.seed) {
			if !yield(a.Due) {
				return
			}
		}
	}, nil
}

func forever(due time.Duration) iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		for yield(due) {
		}
	}
}

// requests gives the requests in their order: once where they are sent as captured, else again and again.
func (o *replayOptions) requests(file string, target *url.URL) (iter.Seq2[traffic.Request, error], error) {
	if file == "" {
		return o.single(target)
	}
	if target.Path != "" && target.Path != "/" || target.RawQuery != "" {
		return nil, fmt.Errorf("%s: the paths come from %s; give the URL without one", target, file)
	}
	if _, err := scenarios.CheckTraffic(file); err != nil {
		return nil, err
	}
	return func(yield func(traffic.Request, error) bool) {
		for {
			for r, err := range scenarios.Traffic(file) {
				if !o.keepHost {
					r.Authority = target.Host
				}
				if !yield(r, err) {
					return
				}
			}
			if o.rate == "" {
				return
			}
		}
	}, nil
}

// single is the one request that the command line gives, for ever.
func (o *replayOptions) single(target *url.URL) (iter.Seq2[traffic.Request, error], error) {
	r := traffic.Request{Method: o.method, Scheme: target.Scheme, Authority: target.Host, Path: target.RequestURI(), Body: []byte(o.body)}
	for _, line := range o.headers {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("--header %q is not \"name: value\"", line)
		}
		if strings.EqualFold(name, "host") {
			r.Authority = strings.TrimSpace(value)
			continue
		}
		r.Headers = append(r.Headers, traffic.Header{name, strings.TrimSpace(value)})
	}
	if err := replay.CheckRequest(&r); err != nil {
		return nil, err
	}
	return func(yield func(traffic.Request, error) bool) {
		for yield(r, nil) {
		}
	}, nil
}

// play sends the plan and leaves the rows in the folder; answered says whether any request was.
func (o *replayOptions) play(ctx context.Context, plan replay.Plan, target *url.URL, dir string, stderr io.Writer) (answered bool, err error) {
	transport := &replay.Portable{Address: address(target), Connections: o.connections, Timeout: o.timeout}
	if target.Scheme == "https" {
		transport.TLS = &tls.Config{ServerName: target.Hostname(), NextProtos: []string{"http/1.1"}}
	}
	var span time.Duration
	if o.rate != "" {
		span = o.duration
	}
	if o.rate == "max" {
		transport.Until = o.duration
	}
	log, err := openLog(dir)
	if err != nil {
		return false, err
	}
	defer log.Close()
	watch := newProgress(stderr, log, span)
	defer watch.Close()
	rec := record(evidence.NoMesh, transport.Name())
	start := time.Now().Add(200 * time.Millisecond)
	rec.Started = start.UTC()
	if err := rec.Write(dir); err != nil {
		return false, broken(err)
	}
	file, err := os.Create(filepath.Join(dir, evidence.Results))
	if err != nil {
		return false, broken(err)
	}
	watch.Step(fmt.Sprintf("replaying against %s", target))
	played, err := replay.Record(ctx, transport, plan, file, start, func(r *traffic.Result) {
		answered = answered || r.Status != 0
		watch.Result(r)
	})
	rec.Planned = played.Planned
	rec.Ended, rec.Finished, rec.Interrupted = time.Now().UTC(), err == nil, ctx.Err() != nil
	return answered, broken(errors.Join(err, file.Close(), rec.Write(dir)))
}
