package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"umbra/internal/evidence"
	"umbra/internal/live"
	"umbra/internal/traffic"
	"umbra/replay"
	"umbra/scenarios"
)

type replayOptions struct {
	errors           float64 // percent
	rate, stages     string
	duration         time.Duration
	warmup, cooldown time.Duration
	arrivals         string
	speed            float64
	seed             uint64

	connections, streams, queue, loops int
	reuse, overload, source            string
	timeout, quantum                   time.Duration
	h2c, precise, portable, insecure   bool

	method, body, bodyFile string
	headers                []string
	keepHost               bool

	ordered, methods string
	pick             scenarios.Selection

	results, out string
	plan, json   bool
	live         liveOptions
}

const replayHelp = `Replay a traffic file, or the one request that URL names, against any URL: an open loop at a rate
or through stages, or with --rate max a closed loop. No mesh is needed, and none is judged. Each
request is timed from the instant it was due, so a server that stops shows in the percentiles; the
report gives the latency distribution, what became of every request, and umbra's own lag. The
folder gets a row for each planned request, HDR histograms and the report. While it goes on, standard
error shows how it goes, and with --live :0 a page on loopback does.

The requests of a traffic file are sent in their order, from its begin again when it is over, to
URL's host; without --rate and --stages they are sent once, as they were captured.

For those who come from another tool:
  wrk -t2 -c50 -d30s URL        umbra replay URL --rate max --connections 50 --for 30s --loops 2
  wrk2 -R2000 -d30s URL         umbra replay URL --rate 2000 --for 30s
  wrk --latency                 always printed; all of it is in hdr/*.hgrm
  wrk -s, vegeta -targets       several requests, each with method, headers and body: a traffic file
  vegeta -rate=50 -duration=5s  --rate 50 --for 5s
  vegeta -body, hey -D          --body-file FILE, or -d @FILE
  vegeta -insecure, -laddr      --insecure, --source
  vegeta -h2c, hey -h2          --h2c; over https HTTP/2 is used where the server offers it
  vegeta -keepalive=false       --reuse fresh; so does hey -disable-keepalive
  vegeta encode, hey -o csv     results.arrows in the folder: Arrow, a row for each request
  hey -c 50 -z 30s -m PUT       --connections 50 --for 30s --rate max -X PUT
  hey -host NAME, -a USER:PASS  -H 'host: NAME', -H 'authorization: Basic …'
Redirects are not followed, and no answer is asked for again: what the server saw is what was sent.`

func replayCommand() *cobra.Command {
	var o replayOptions
	c := &cobra.Command{
		Use:   "replay [TRAFFIC] URL",
		Short: "Replay a traffic file, or one request, against any URL at a controlled rate",
		Long:  replayHelp,
		Example: `  umbra replay http://127.0.0.1:8080/api/items --rate 500 --for 10s
  umbra replay http://127.0.0.1:8080/ --stages 200:10s,200-1000:20s,500:5s --warmup 5s
  umbra replay http://127.0.0.1:8080/ --rate max --for 10s --connections 50
  umbra replay https://shop.example.com/orders --rate 20 -X POST -d @order.json -H 'content-type: application/json'
  umbra replay shop.jsonl.zst http://127.0.0.1:8080 --rate 200 --for 1m --h2c
  umbra replay shop.jsonl.zst http://127.0.0.1:8080 --speed 2 --reuse session`,
		Args: cobra.RangeArgs(1, 2),
		RunE: o.run,
	}
	c.Flags().SortFlags = false
	o.loadFlags(c)
	o.connectionFlags(c)
	o.requestFlags(c)
	return c
}

func (o *replayOptions) loadFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.rate, "rate", "", "requests a second, or max for a closed loop")
	f.DurationVar(&o.duration, "for", 10*time.Second, "with --rate: how long")
	f.StringVar(&o.stages, "stages", "", "instead of --rate: steps and ramps, rate[-to]:duration, like 200:10s,200-1000:20s")
	f.DurationVar(&o.warmup, "warmup", 0, "load before, at the first rate; recorded apart and never judged")
	f.DurationVar(&o.cooldown, "cooldown", 0, "load behind, at the last rate; likewise")
	f.StringVar(&o.arrivals, "arrivals", "constant", "constant or poisson")
	f.Float64Var(&o.speed, "speed", 1, "with TRAFFIC as captured: how many times as fast")
	f.Uint64Var(&o.seed, "seed", 1, "of Poisson arrivals and of the ids")
	f.DurationVar(&o.timeout, "timeout", 2*time.Second, "of a request, counted from the instant it is due")
	f.StringVar(&o.overload, "overload", "queue", "a request that is due while no connection is free: queue, drop, or abort the run")
	f.IntVar(&o.queue, "queue", replay.DefaultQueue, "how many requests may wait for a connection")
	f.DurationVar(&o.quantum, "quantum", 0, "requests due within it may be sent by one wake-up, so that late (default by the rate; 0s: each on time)")
	f.BoolVar(&o.precise, "precise", false, "spin up to each instant; costs a CPU for each loop")
}

func (o *replayOptions) connectionFlags(c *cobra.Command) {
	f := c.Flags()
	f.IntVar(&o.connections, "connections", 32, "how many connections")
	f.StringVar(&o.reuse, "reuse", "keep", "keep the connections, one for each captured session, or a fresh one for each request")
	f.BoolVar(&o.h2c, "h2c", false, "HTTP/2 in the clear, with prior knowledge")
	f.IntVar(&o.streams, "streams", 100, "with HTTP/2: how many requests at once on a connection")
	f.Float64Var(&o.errors, "errors", 0.1, "how many percent of the requests may get no answer, or a status of 500 and above: more fail the run; 100 lets it pass")
	f.BoolVar(&o.insecure, "insecure", false, "with https: do not verify the server's certificate")
	f.StringVar(&o.source, "source", "", "the local IP address to connect from")
	f.IntVar(&o.loops, "loops", 1, "how many event loops, a CPU each, share the connections")
	f.BoolVar(&o.portable, "portable", false, "send by net and goroutines, also where there is a faster path")
}

func (o *replayOptions) requestFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&o.method, "method", "X", "GET", "without TRAFFIC: the method")
	f.StringArrayVarP(&o.headers, "header", "H", nil, "without TRAFFIC: a header line, \"name: value\"; once for each")
	f.StringVarP(&o.body, "body", "d", "", "without TRAFFIC: the body, or @FILE")
	f.StringVar(&o.bodyFile, "body-file", "", "without TRAFFIC: the file that holds the body")
	f.StringVar(&o.ordered, "ordered", "time", "with TRAFFIC: time, each request when it is due; session, and only behind the answer of the one before it in its session")
	f.StringVar(&o.methods, "methods", "all", "with TRAFFIC: all, safe (GET, HEAD, OPTIONS, TRACE), or a list like GET,POST; the others are left out")
	f.DurationVar(&o.pick.From, "from", 0, "with TRAFFIC: leave out what was captured before, counted from its begin")
	f.DurationVar(&o.pick.To, "to", 0, "with TRAFFIC: leave out what was captured from then on")
	f.IntVar(&o.pick.First, "first", 0, "with TRAFFIC: only so many requests from there")
	f.Float64Var(&o.pick.Sample, "sample", 0, "with TRAFFIC: only so many percent of the sessions, each whole, drawn by --seed")
	f.IntVar(&o.pick.Loops, "rounds", 1, "with TRAFFIC as captured: how often, one round behind the other")
	f.BoolVar(&o.keepHost, "keep-host", false, "with TRAFFIC: send the Host that was captured, not URL's")
	f.BoolVar(&o.plan, "plan", false, "print the plan as JSON Lines, and send nothing")
	f.StringVar(&o.results, "results", "all", "all: a row for each request in results.arrows; none: histograms and totals only")
	f.StringVar(&o.out, "out", "", "the folder for the run, new or empty (default runs/replay-<UTC time>)")
	o.live.add(c)
	jsonFlag(c, &o.json)
}

func (o *replayOptions) run(c *cobra.Command, args []string) error {
	target, file, err := parseTarget(args)
	if err != nil {
		return err
	}
	if err := o.check(c, file, target); err != nil {
		return err
	}
	load, err := o.load(file, target)
	if err != nil {
		return err
	}
	how, err := o.transport(c, load, target)
	if err != nil {
		return err
	}
	if o.plan {
		return printPlan(c.Context(), c.OutOrStdout(), load.plan)
	}
	if err := how.Check(load.demand(how.Reuse)); err != nil {
		return err
	}
	if err := o.live.listen(); err != nil {
		return err
	}
	defer o.live.close()
	dir, err := newFolder(o.out, "replay")
	if err != nil {
		return err
	}
	if err := o.announce(c.ErrOrStderr(), load, how, target, dir); err != nil {
		return err
	}
	answered, err := o.play(c.Context(), load, how, target, dir, c.ErrOrStderr())
	if err != nil {
		return err
	}
	return o.conclude(c, dir, target, answered)
}

// conclude prints the report, whose verdicts decide the exit status, but where nobody answered at all.
func (o *replayOptions) conclude(c *cobra.Command, dir string, target *url.URL, answered bool) error {
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

// parseTarget reads the arguments: the traffic file, where there is one, and the URL that the load goes to.
func parseTarget(args []string) (u *url.URL, file string, err error) {
	text := args[len(args)-1]
	if len(args) == 2 {
		file = args[0]
	}
	u, err = url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, "", fmt.Errorf("%q is not a URL like http://127.0.0.1:8080/path", text)
	}
	if u.User != nil || u.Fragment != "" {
		return nil, "", fmt.Errorf("%q: user names and fragments are not sent; leave them out (-H 'authorization: …' sends one)", text)
	}
	if file != "" && (u.Path != "" && u.Path != "/" || u.RawQuery != "") {
		return nil, "", fmt.Errorf("%s: the paths come from %s; give the URL without one", u, file)
	}
	return u, file, nil
}

// address is host:port of u.
func address(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// check refuses what cannot be, and flags that would do nothing.
func (o *replayOptions) check(c *cobra.Command, file string, target *url.URL) error {
	if err := o.idle(c, file, target.Scheme == "https"); err != nil {
		return err
	}
	switch {
	case file == "" && o.rate == "" && o.stages == "":
		return errors.New("--rate is missing: give requests a second, or max for a closed loop, or --stages")
	case o.duration <= 0:
		return fmt.Errorf("--for %v: give a time above 0, like 10s", o.duration)
	case o.warmup < 0 || o.cooldown < 0:
		return fmt.Errorf("--warmup %v, --cooldown %v: give times above 0, or leave them out", o.warmup, o.cooldown)
	case !(o.speed > 0) || math.IsInf(o.speed, 0):
		return fmt.Errorf("--speed %g: give a number above 0; 2 plays twice as fast", o.speed)
	}
	for _, choice := range []struct {
		flag, value string
		words       []string
	}{
		{"arrivals", o.arrivals, []string{"constant", "poisson"}}, {"overload", o.overload, []string{"queue", "drop", "abort"}},
		{"reuse", o.reuse, []string{"keep", "session", "fresh"}}, {"results", o.results, []string{"all", "none"}},
	} {
		if !slices.Contains(choice.words, choice.value) {
			return fmt.Errorf("--%s %q is not one of %s", choice.flag, choice.value, strings.Join(choice.words, ", "))
		}
	}
	return cmp.Or(o.checkPick(), o.live.check(), o.checkConnections())
}

// checkPick checks what of a traffic file is replayed.
func (o *replayOptions) checkPick() error {
	switch p := &o.pick; {
	case o.ordered != "time" && o.ordered != "session":
		return fmt.Errorf("--ordered %q is not one of time, session", o.ordered)
	case p.From < 0 || p.To < 0 || p.To > 0 && p.To <= p.From:
		return fmt.Errorf("--from %v, --to %v: give times from 0, the second one later", p.From, p.To)
	case p.First < 0:
		return fmt.Errorf("--first %d: give a number of requests", p.First)
	case !(p.Sample >= 0 && p.Sample <= 100):
		return fmt.Errorf("--sample %g: give a percentage above 0, up to 100", p.Sample)
	case p.Loops < 1:
		return fmt.Errorf("--rounds %d: give at least 1", p.Loops)
	}
	o.pick.Seed = o.seed
	switch o.methods {
	case "all":
	case "safe":
		o.pick.Methods = scenarios.SafeMethods
	default:
		o.pick.Methods = strings.Split(o.methods, ",")
		if slices.Contains(o.pick.Methods, "") {
			return fmt.Errorf("--methods %q: give all, safe, or methods with commas between them", o.methods)
		}
	}
	return nil
}

func (o *replayOptions) checkConnections() error {
	switch {
	case o.connections < 1:
		return fmt.Errorf("--connections %d: give at least 1", o.connections)
	case o.streams < 1:
		return fmt.Errorf("--streams %d: give at least 1", o.streams)
	case o.queue < 1:
		return fmt.Errorf("--queue %d: give at least 1, or --overload drop", o.queue)
	case o.loops < 1 || o.loops > o.connections:
		return fmt.Errorf("--loops %d: give from 1 to the number of connections, %d, as each loop needs one", o.loops, o.connections)
	case !(o.errors >= 0 && o.errors <= 100):
		return fmt.Errorf("--errors %g: give a percentage from 0 to 100", o.errors)
	case o.timeout <= 0:
		return fmt.Errorf("--timeout %v: give a time above 0, like 2s", o.timeout)
	case o.quantum < 0 || o.quantum >= o.timeout:
		return fmt.Errorf("--quantum %v: give a time from 0s to below --timeout, %v, as requests may wait that long before they are sent", o.quantum, o.timeout)
	}
	return nil
}

// idle refuses flags that would do nothing, and says where each belongs.
func (o *replayOptions) idle(c *cobra.Command, file string, secure bool) error {
	asCaptured := o.rate == "" && o.stages == ""
	for _, rule := range []struct {
		idle  bool
		flags []string
		why   string
	}{
		{file != "", []string{"method", "header", "body", "body-file"}, "goes only without TRAFFIC, whose requests are sent as they are"},
		{file == "", []string{"keep-host", "speed", "ordered", "methods", "from", "to", "first", "sample", "rounds"}, "goes only with TRAFFIC"},
		{!asCaptured, []string{"speed", "rounds"}, "goes only without --rate and --stages"},
		{o.stages != "", []string{"rate", "for"}, "and --stages do not go together: stages have their own rates and times"},
		{asCaptured && file != "", []string{"for", "arrivals", "warmup", "cooldown"}, "goes only with --rate or --stages: without them the traffic file is sent once, as it was captured"},
		{o.rate == "max", []string{"ordered", "arrivals", "warmup", "cooldown", "quantum", "precise", "overload", "queue", "plan"},
			"goes only with a --rate in requests a second, or --stages: a closed loop sends whenever a connection is free"},
		{o.overload != string(replay.QueueUp), []string{"queue"}, "goes only with --overload queue"},
		{secure, []string{"h2c"}, "is HTTP/2 in the clear, and the URL is https: leave it out, and HTTP/2 is used where the server offers it"},
		{!secure, []string{"insecure"}, "goes only with an https URL"},
		{!secure && !o.h2c, []string{"streams"}, "goes only with HTTP/2: add --h2c, or give an https URL"},
		{o.reuse == string(replay.Fresh), []string{"streams"}, "goes only without --reuse fresh, whose connections have one request each"},
		{c.Flags().Changed("quantum") && o.quantum > 0, []string{"precise"}, "sends each request at its instant, and --quantum several at once: give one"},
		{o.body != "", []string{"body-file"}, "and --body do not go together: give one"},
		{o.plan, []string{"out", "json", "results", "live"}, "goes only without --plan, which sends nothing and makes no folder"},
	} {
		for _, name := range rule.flags {
			if rule.idle && c.Flags().Changed(name) {
				return fmt.Errorf("--%s %s", name, rule.why)
			}
		}
	}
	if o.reuse == string(replay.Session) && file == "" {
		return errors.New("--reuse session goes only with TRAFFIC: a single request has no sessions; use keep or fresh")
	}
	return nil
}

// offer is the load: what is to be sent, and when.
type offer struct {
	plan    replay.Plan
	stages  []replay.Stage    // what it was made of; none in a closed loop, and as captured
	capture *evidence.Capture // nil without a traffic file
	what    string            // the requests, in words
	when    string            // the arrivals, in words
	count   int               // of requests, about; 0 where nobody can know
	rate    float64           // the highest, in requests a second; 0 where nobody can know
	span    time.Duration     // from the first due instant to the end; 0 likewise
}

// demand is what the load asks of the machine.
func (l *offer) demand(reuse replay.Reuse) replay.Demand {
	e := replay.Demand{For: l.span}
	if reuse == replay.Fresh {
		e.Fresh = l.rate
	}
	return e
}

// load checks everything before the start, so that a run that begins can end.
func (o *replayOptions) load(file string, target *url.URL) (*offer, error) {
	if file != "" {
		return o.recorded(file, target)
	}
	r, err := o.single(target)
	if err != nil {
		return nil, err
	}
	l := &offer{what: fmt.Sprintf("%s %s", r.Method, r.Path)}
	return l, o.paced(l, replay.Repeat(r))
}

// recorded is the load of a traffic file.
func (o *replayOptions) recorded(file string, target *url.URL) (*offer, error) {
	t, err := scenarios.ReadSelection(file, o.pick, func(r *traffic.Request) {
		r.Scheme = target.Scheme
		if !o.keepHost {
			r.Authority = target.Host
		}
	})
	if err != nil {
		return nil, err
	}
	if o.reuse == string(replay.Session) && t.Sessions == 0 {
		return nil, fmt.Errorf("--reuse session: no request of %s names its session; use keep or fresh", file)
	}
	if o.ordered == "session" && t.Sessions == 0 {
		return nil, fmt.Errorf("--ordered session: no request of %s names its session; leave it out", file)
	}
	c := t.Replay
	c.Ordered = o.ordered == "session"
	l := &offer{what: fmt.Sprintf("the %d requests of %s", t.Count, file), capture: &c}
	if o.rate != "" || o.stages != "" {
		return l, o.paced(l, t.Requests(true))
	}
	if err := replay.CheckCaptured(t.Count, t.Length, o.speed); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	c.Speed = o.speed
	l.plan = replay.PlanAsCaptured(o.speed, o.seed, t.Requests(false))
	l.when, l.count, l.span = fmt.Sprintf("once, as captured × %g", o.speed), t.Count, time.Duration(float64(t.Length)/o.speed)
	if l.span > 0 {
		l.rate = float64(t.Count) / l.span.Seconds()
	}
	return l, nil
}

// paced puts requests to the arrivals that the flags ask for.
func (o *replayOptions) paced(l *offer, requests replay.Requests) error {
	if o.rate == "max" {
		l.plan = replay.PlanAt(replay.ClosedLoop, o.seed, requests)
		l.when, l.span = "in a closed loop", o.duration
		return nil
	}
	stages, err := o.steps()
	if err != nil {
		return err
	}
	var arrivals iter.Seq[replay.Arrival] = replay.Schedule(stages, replay.Arrivals(o.arrivals), o.seed)
	l.plan, l.stages = replay.PlanAt(arrivals, o.seed, requests), stages
	l.count, l.rate, l.span = replay.CountOf(stages), replay.TopRate(stages), replay.Duration(stages)
	l.when = fmt.Sprintf("at %g a second, %s arrivals", l.rate, o.arrivals)
	if o.stages != "" {
		l.when = fmt.Sprintf("in stages of %s, %s arrivals", o.stages, o.arrivals)
	}
	return nil
}

// steps are the stages that the flags ask for, the warm-up first and the cool-down last.
func (o *replayOptions) steps() ([]replay.Stage, error) {
	flag, stages, err := "--stages", []replay.Stage(nil), error(nil)
	if o.stages != "" {
		stages, err = replay.ParseStages(o.stages)
	} else {
		flag = "--rate"
		stages, err = o.constant()
	}
	if err != nil {
		return nil, fmt.Errorf("%s %w", flag, err)
	}
	if o.warmup > 0 {
		stages = append([]replay.Stage{aside(traffic.PhaseWarmup, stages[0].From, o.warmup)}, stages...)
	}
	if o.cooldown > 0 {
		stages = append(stages, aside(traffic.PhaseCooldown, stages[len(stages)-1].To, o.cooldown))
	}
	if err := replay.CheckStages(stages); err != nil {
		return nil, fmt.Errorf("%s with --warmup and --cooldown, which last as long as they say at its first and last rate: %w", flag, err)
	}
	return stages, nil
}

func aside(phase traffic.Phase, rate float64, d time.Duration) replay.Stage {
	return replay.Stage{Phase: phase, From: rate, To: rate, For: d}
}

// constant is the one stage of --rate.
func (o *replayOptions) constant() ([]replay.Stage, error) {
	rate, err := strconv.ParseFloat(o.rate, 64)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q is neither a number of requests a second nor max", o.rate)
	case !(rate > 0) || math.IsInf(rate, 0):
		return nil, fmt.Errorf("%s: give a positive number of requests a second, or max", o.rate)
	}
	stages := []replay.Stage{{Phase: traffic.PhaseStage, From: rate, To: rate, For: o.duration}}
	return stages, replay.CheckStages(stages)
}

// single is the one request that the command line gives.
func (o *replayOptions) single(target *url.URL) (*traffic.Request, error) {
	body, err := o.readBody()
	if err != nil {
		return nil, err
	}
	r := &traffic.Request{Method: o.method, Scheme: target.Scheme, Authority: target.Host, Path: target.RequestURI(), Body: body}
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
	return r, replay.CheckRequest(r)
}

// readBody is the body as given, or what its file holds, byte for byte.
func (o *replayOptions) readBody() ([]byte, error) {
	file, isFile := strings.CutPrefix(o.body, "@")
	switch {
	case o.bodyFile != "":
		file = o.bodyFile
	case !isFile:
		return []byte(o.body), nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("the body: %w; give a file that can be read", err)
	}
	return data, nil
}

// transport says how the load is sent.
func (o *replayOptions) transport(c *cobra.Command, l *offer, target *url.URL) (replay.Options, error) {
	how := replay.Options{Address: address(target), Protocol: replay.HTTP1, Connections: o.connections, Reuse: replay.Reuse(o.reuse),
		Timeout: o.timeout, Overload: replay.Overload(o.overload), Quantum: o.quantum, Precise: o.precise, Loops: o.loops, Portable: o.portable, Ordered: o.ordered == "session"}
	switch {
	case target.Scheme == "https":
		how.Protocol = replay.ALPN
		how.TLS = &tls.Config{ServerName: target.Hostname(), InsecureSkipVerify: o.insecure}
	case o.h2c:
		how.Protocol = replay.H2C
	}
	if how.Protocol != replay.HTTP1 && how.Reuse != replay.Fresh {
		how.Streams = o.streams
	}
	if how.Overload == replay.QueueUp {
		how.Queue = o.queue
	}
	switch {
	case o.rate == "max":
		how.Until = o.duration
	case !c.Flags().Changed("quantum") && !o.precise:
		how.Quantum = min(replay.DefaultQuantum(l.rate), o.timeout/2)
	}
	if o.source == "" {
		return how, nil
	}
	source, err := netip.ParseAddr(o.source)
	if err != nil {
		return how, fmt.Errorf("--source %q is not an IP address of this machine, like 127.0.0.1 or ::1", o.source)
	}
	how.Source = source
	return how, nil
}

// announce says before the start what will be sent, where to, how, and what it will leave; it is an error where that will
// not fit.
func (o *replayOptions) announce(w io.Writer, l *offer, how replay.Options, target *url.URL, dir string) error {
	leaves := "histograms and totals only"
	if o.results != "none" {
		space, err := replay.CheckSpace(dir, l.count, traffic.RowBytes)
		if err != nil {
			return broken(err)
		}
		leaves = "results " + space
	}
	_, err := fmt.Fprintf(w, "umbra: %s to %s, %s, for %v\numbra: %s; time-out %v%s\numbra: sent by %s%s\numbra: to %s: %s\n",
		l.what, target, l.when, l.span.Round(time.Millisecond), connections(how), how.Timeout, overload(how),
		replay.PathName(how.Portable), pacing(how), dir, leaves)
	return broken(err)
}

// connections says what the connections are.
func connections(how replay.Options) string {
	protocol := map[replay.Protocol]string{replay.HTTP1: "HTTP/1.1", replay.H2C: "HTTP/2 (h2c)", replay.ALPN: "TLS with HTTP/2 or HTTP/1.1"}[how.Protocol]
	if how.Streams > 0 {
		protocol += fmt.Sprintf(", up to %d streams each", how.Streams)
	}
	if how.TLS != nil && how.TLS.InsecureSkipVerify {
		protocol += ", certificates not verified"
	}
	kept := map[replay.Reuse]string{replay.Keep: "%d connections", replay.Session: "a connection for each session, up to %d at once", replay.Fresh: "a fresh connection for each request, up to %d at once"}
	return fmt.Sprintf(kept[how.Reuse], how.Connections) + ", " + protocol
}

// overload says what becomes of a request without a free connection.
func overload(how replay.Options) string {
	switch {
	case how.Until > 0:
		return ""
	case how.Overload == replay.QueueUp:
		return fmt.Sprintf("; up to %d requests wait for a connection", how.Queue)
	}
	return "; without a free connection: " + string(how.Overload)
}

// pacing says how instants are kept.
func pacing(how replay.Options) (text string) {
	switch {
	case how.Until > 0:
		return ""
	case how.Quantum > 0:
		text = fmt.Sprintf(", one wake-up for all that falls due within %v", how.Quantum)
	default:
		text = ", a wake-up for each request"
	}
	if how.Precise {
		text += ", spinning"
	}
	return text
}

// plannedLine is a line of --plan.
type plannedLine struct {
	ID        string           `json:"id"`
	Due       time.Duration    `json:"due_ns"`
	Phase     traffic.Phase    `json:"phase"`
	Name      string           `json:"name"`
	Method    string           `json:"method"`
	Authority string           `json:"authority"`
	Path      string           `json:"path"`
	Headers   []traffic.Header `json:"headers"`
	Body      []byte           `json:"body,omitempty"` // base64
}

// printPlan writes a plan as JSON Lines: the same bytes for equal seeds.
func printPlan(ctx context.Context, w io.Writer, plan replay.Plan) error {
	buffered := bufio.NewWriter(w)
	lines := json.NewEncoder(buffered)
	lines.SetEscapeHTML(false)
	for item, err := range plan {
		if err != nil {
			return err
		}
		r := item.Request
		line := plannedLine{item.ID, item.Due, item.Phase, item.Name, r.Method, r.Authority, r.Path, r.Headers, r.Body}
		if line.Headers == nil {
			line.Headers = []traffic.Header{}
		}
		if err := lines.Encode(line); err != nil {
			return broken(err)
		}
		if ctx.Err() != nil {
			return exit(exitInterrupted)
		}
	}
	return broken(buffered.Flush())
}

// play sends the plan and leaves the evidence in the folder; answered says whether any request was.
func (o *replayOptions) play(ctx context.Context, l *offer, how replay.Options, target *url.URL, dir string, stderr io.Writer) (answered bool, err error) {
	log, err := openLog(dir)
	if err != nil {
		return false, err
	}
	defer log.Close()
	watch := newProgress(stderr, log, live.Run{Title: "replay against " + target.String(), Folder: dir})
	defer watch.Close()
	watch.serve(&o.live)
	how.Gauge = &watch.gauge
	transport, err := replay.New(how)
	if err != nil {
		return false, err
	}
	rec := o.record(l, how, transport.Name())
	start := time.Now().Add(scenarios.StartIn)
	rec.Started = start.UTC()
	if err := rec.Write(dir); err != nil {
		return false, broken(err)
	}
	watch.Step(fmt.Sprintf("replaying against %s", target))
	part := live.PartOf(start, 0, l.stages, l.span)
	part.Closed = how.Until > 0
	watch.Playing(part)
	figures, err := scenarios.Keep(ctx, dir, &rec, transport, l.plan, start, watch.Results)
	rec.Ended, rec.Finished, rec.Interrupted = time.Now().UTC(), err == nil, ctx.Err() != nil
	return len(figures.Statuses) > 0, broken(errors.Join(err, rec.Write(dir)))
}

// record is what is known of the run before it begins.
func (o *replayOptions) record(l *offer, how replay.Options, transport string) evidence.Record {
	rec := record(evidence.NoMesh, transport)
	rec.ClosedLoop, rec.Errors = o.rate == "max", &o.errors
	rec.Stages, rec.Quantum, rec.Capture = scenarios.Stages(l.stages), how.Quantum, l.capture
	if o.results == evidence.NoRows {
		rec.Results = evidence.NoRows
	}
	if o.insecure {
		rec.Warnings = append(rec.Warnings, "--insecure: the server's certificate was not verified, so anybody may have answered")
	}
	return rec
}
