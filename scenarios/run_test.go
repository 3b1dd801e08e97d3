package scenarios

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"umbra/internal/evidence"
	"umbra/internal/mesh"
	"umbra/internal/route"
	"umbra/internal/traffic"
	"umbra/internal/verdict"
	"umbra/replay"
)

const runManifests = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: shop}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example.com]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: app, namespace: shop}
spec: {host: app, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: app, namespace: shop}
spec:
  hosts: [a.example.com]
  gateways: [gw]
  http:
  - name: writes
    match: [{method: {exact: POST}}]
    route: [{destination: {host: app, subset: v1, port: {number: 80}}}]
  - name: reads
    route: [{destination: {host: app, subset: v1, port: {number: 80}}}]
    mirror: {host: app, subset: v2, port: {number: 80}}
    mirrorPercentage: {value: 10}
`

const shadowCluster = "outbound|80|v2|app.shop.svc.cluster.local"

// runScenario parses a scenario whose traffic and load are given.
func runScenario(t *testing.T, trafficAndLoad string) *Scenario {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "istio.yaml"), []byte(runManifests), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := Parse("s.yaml", []byte(`apiVersion: umbra/v1
kind: Scenario
name: s
mesh: {manifests: [istio.yaml], host: a.example.com, versions: {primary: v1, shadow: v2}}
`+strings.ReplaceAll(trafficAndLoad, "DIR", dir)), dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func short(t *testing.T) *Scenario {
	return runScenario(t, `traffic: {mix: [{name: get, weight: 2, path: '/{{ int 1 9 }}'}, {name: post, method: POST, path: /}]}
load: {arrivals: constant, timeout: 20s, stages: [{rate: 300, for: 200ms}]}
drain: 300ms
`)
}

// fake is a mesh and a running mesh: a server that answers, and whatever State the test wants.
type fake struct {
	server   *httptest.Server
	upErr    error
	state    func(n int) *mesh.State // of the n-th call
	calls    int
	served   atomic.Int64
	onServe  func()
	polled   error // of Counters
	receipts func(f func(version, pod string, stream io.Reader) error) error
	closed   bool
	spec     mesh.Spec
}

func newFake(t *testing.T, s *Scenario) *fake {
	f := &fake{state: func(int) *mesh.State { return stateOf(s, 0) }}
	f.server = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		f.served.Add(1)
		if f.onServe != nil {
			f.onServe()
		}
	}))
	t.Cleanup(f.server.Close)
	f.receipts = func(yield func(string, string, io.Reader) error) error {
		return errors.Join(yield("v1", "app-v1-0", stream(t, "v1")), yield("v2", "app-v2-0", stream(t, "v2")))
	}
	return f
}

// stateOf is a gateway that is configured as the manifests say, with active mirrors.
func stateOf(s *Scenario, active uint64) *mesh.State {
	state := &mesh.State{Endpoints: map[string][]string{shadowCluster: {"app-v2-0"}}, Counters: map[string]uint64{"cluster." + shadowCluster + ".upstream_rq_active": active}}
	for _, r := range s.Table.Routes() {
		state.Routes = append(state.Routes, mesh.Route{Name: r.Name, Mirrors: mesh.Programmed(r)})
	}
	return state
}

func stream(t *testing.T, version string) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := traffic.NewReceiptWriter(&b)
	if err := errors.Join(w.Write(&traffic.Receipt{ID: version, Version: version, Arrived: time.Now()}), w.Close()); err != nil {
		t.Fatal(err)
	}
	return &b
}

func (f *fake) Up(_ context.Context, spec mesh.Spec) (Running, error) {
	f.spec = spec
	return f, f.upErr
}
func (f *fake) Address() string { return f.server.Listener.Addr().String() }
func (f *fake) State(context.Context) (*mesh.State, error) {
	f.calls++
	return f.state(f.calls), nil
}
func (f *fake) Counters(context.Context) (map[string]uint64, error) {
	f.calls++
	return f.state(f.calls).Counters, f.polled
}
func (f *fake) Receipts(_ context.Context, yield func(version, pod string, stream io.Reader) error) error {
	return f.receipts(yield)
}
func (f *fake) Reroute(context.Context, *route.Manifests, *route.Table) error { return nil }
func (f *fake) Conduct(context.Context, mesh.Conduct) error                   { return nil }
func (f *fake) Close() error                                                  { f.closed = true; return nil }

type silent struct{}

func (silent) Step(string)              {}
func (silent) Results([]traffic.Result) {}

func playOn(ctx context.Context, t *testing.T, s *Scenario, f *fake) (dir string, err error) {
	t.Helper()
	dir = t.TempDir()
	run := Run{Scenario: s, Mesh: f, Dir: dir, Watcher: silent{}, Faults: mesh.Faults{Shadow: "slow"}, Transport: transportOf()}
	return dir, run.Play(ctx)
}

func transportOf() func(replay.Options) (replay.Transport, error) {
	return func(how replay.Options) (replay.Transport, error) { return replay.New(how) }
}

func TestRunLeavesItsEvidence(t *testing.T) {
	s := short(t)
	f := newFake(t, s)
	dir, err := playOn(t.Context(), t, s, f)
	if err != nil {
		t.Fatal(err)
	}
	if f.served.Load() != 60 || !f.closed || f.spec.Faults.Shadow != "slow" || len(f.spec.Workloads) != 2 {
		t.Errorf("served %d, closed %v, spec %+v", f.served.Load(), f.closed, f.spec)
	}
	record, err := evidence.ReadRecord(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !record.Finished || record.Interrupted || !record.Drained || record.Planned != 60 || record.Partial() != "" {
		t.Errorf("record %+v", record)
	}
	j, err := Judge(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if j.Figures.OK != 60 || len(j.Doubts) != 0 || j.Scenario.Name != "s" {
		t.Errorf("judgement %+v", j)
	}
	// No receipt of any request came, so integrity must not pass.
	if v := j.Verdicts[0]; v.Name != verdict.Integrity || v.State != verdict.Fail {
		t.Errorf("%+v", v)
	}
	for file, want := range map[string]string{evidence.PrimaryReceipts: "v1", evidence.ShadowReceipts: "v2"} {
		data, err := os.Open(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		defer data.Close()
		for r, err := range traffic.ReadReceipts(data) {
			if err != nil || r.Version != want {
				t.Errorf("%s holds %q, %v", file, r.Version, err)
			}
		}
	}
}

func TestRunRefusesAMeshThatIsConfiguredOtherwise(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*mesh.State)
		want   string
	}{
		"another fraction": {func(s *mesh.State) { s.Routes[1].Mirrors[0].Numerator = 120000 }, "120000"},
		"no mirror":        {func(s *mesh.State) { s.Routes[1].Mirrors = nil }, "the gateway has []"},
		"a mirror more":    {func(s *mesh.State) { s.Routes[0].Mirrors = s.Routes[1].Mirrors }, "route shop/app/writes"},
		"no route":         {func(s *mesh.State) { s.Routes = s.Routes[:1] }, "no route shop/app/reads"},
	} {
		t.Run(name, func(t *testing.T) {
			s := short(t)
			f := newFake(t, s)
			f.state = func(int) *mesh.State {
				state := stateOf(s, 0)
				c.change(state)
				return state
			}
			dir, err := playOn(t.Context(), t, s, f)
			if !errors.Is(err, ErrMesh) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "istio.yaml:") {
				t.Errorf("error %v, want ErrMesh with %q and the place", err, c.want)
			}
			if f.served.Load() != 0 || !f.closed {
				t.Errorf("served %d requests, closed %v", f.served.Load(), f.closed)
			}
			if record, err := evidence.ReadRecord(dir); err != nil || !strings.Contains(record.Partial(), "the run failed") {
				t.Errorf("record %+v, %v", record, err)
			}
		})
	}
}

func TestRunWhereTheMirrorsDoNotEnd(t *testing.T) {
	s := short(t)
	f := newFake(t, s)
	f.state = func(int) *mesh.State { return stateOf(s, 3) }
	dir, err := playOn(t.Context(), t, s, f)
	if err != nil {
		t.Fatal(err)
	}
	if record, err := evidence.ReadRecord(dir); err != nil || record.Drained || !record.Finished {
		t.Errorf("record %+v, %v", record, err)
	}
}

// Counts that still rise are not a drained mirror, though nothing is active at the instant of asking.
func TestDrainWaitsUntilCountsStandStill(t *testing.T) {
	s := short(t)
	f := newFake(t, s)
	f.state = func(n int) *mesh.State {
		state := stateOf(s, 0)
		state.Counters["cluster."+shadowCluster+".upstream_rq_total"] = uint64(min(n, 10))
		return state
	}
	state, drained, err := drain(t.Context(), f, []string{shadowCluster}, time.Minute)
	if err != nil || !drained || state.Counter(shadowCluster, "upstream_rq_total") != 10 || f.calls < 10+standStill {
		t.Errorf("drained %v after %d calls at %d, %v", drained, f.calls, state.Counter(shadowCluster, "upstream_rq_total"), err)
	}
}

func TestRunThatIsInterruptedIsCollected(t *testing.T) {
	s := runScenario(t, "traffic: {mix: [{name: get, path: /}]}\nload: {timeout: 20s, stages: [{rate: 100, for: 1h}]}\n")
	f := newFake(t, s)
	ctx, interrupt := context.WithCancel(t.Context())
	f.onServe = func() {
		if f.served.Load() == 5 {
			interrupt()
		}
	}
	dir, err := playOn(ctx, t, s, f)
	if err != nil {
		t.Fatal(err)
	}
	record, err := evidence.ReadRecord(dir)
	if err != nil || !record.Interrupted || record.Partial() == "" {
		t.Errorf("record %+v, %v", record, err)
	}
	j, err := Judge(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if f := j.Figures; f.Planned != record.Planned || f.Unsent == 0 || f.OK < 5 || f.OK+f.Unsent != f.Planned {
		t.Errorf("figures %+v of %d planned", f, record.Planned)
	}
}

func TestRunFailures(t *testing.T) {
	down := errors.New("no engine")
	for name, c := range map[string]func(*fake){
		"up":       func(f *fake) { f.upErr = down },
		"receipts": func(f *fake) { f.receipts = func(func(string, string, io.Reader) error) error { return down } },
		"a receipt stream that is cut": func(f *fake) {
			f.receipts = func(yield func(string, string, io.Reader) error) error {
				return yield("v2", "app-v2-0", strings.NewReader("no Arrow"))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := short(t)
			f := newFake(t, s)
			c(f)
			dir, err := playOn(t.Context(), t, s, f)
			if !errors.Is(err, ErrMesh) {
				t.Errorf("error %v, want ErrMesh", err)
			}
			if record, err := evidence.ReadRecord(dir); err != nil || record.Finished || record.Failure == "" {
				t.Errorf("record %+v, %v", record, err)
			}
			if j, err := Judge(dir, nil); err != nil || !j.Record.Finished && len(j.Doubts) == 0 {
				t.Errorf("judging what is left: %+v, %v", j, err)
			}
		})
	}
}

// A gateway that goes away during the run takes no receipts with it.
func TestReceiptsAreCollectedWithoutAGateway(t *testing.T) {
	s := short(t)
	f := newFake(t, s)
	f.polled = errors.New("gateway gw-0 does not answer")
	dir, err := playOn(t.Context(), t, s, f)
	if !errors.Is(err, ErrMesh) || !errors.Is(err, f.polled) {
		t.Errorf("error %v", err)
	}
	if record, err := evidence.ReadRecord(dir); err != nil || record.Drained || len(record.Collected) != 2 {
		t.Errorf("record %+v, %v", record, err)
	}
}

func items(t *testing.T, plan replay.Plan) (out []replay.Item) {
	t.Helper()
	for item, err := range plan {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, item)
	}
	return out
}

func TestPlanIsPure(t *testing.T) {
	s := runScenario(t, `traffic: {mix: [{name: get, weight: 2, path: '/{{ uuid }}'}, {name: post, method: POST, path: /}]}
load: {arrivals: poisson, seed: 9, warmup: {rate: 50, for: 1s}, stages: [{rate: 100, to: 300, for: 2s}], cooldown: {rate: 300, to: 10, for: 1s}}
`)
	first := items(t, s.Plan())
	if diff := cmp.Diff(first, items(t, s.Plan())); diff != "" {
		t.Error(diff)
	}
	phases, routes := map[traffic.Phase]int{}, map[string]int{}
	for _, item := range first {
		phases[item.Phase]++
		routes[item.Name+" "+item.Route]++
		if (item.Phase == traffic.PhaseWarmup) != (item.Due < time.Second) || (item.Phase == traffic.PhaseCooldown) != (item.Due >= 3*time.Second) ||
			item.Request.Authority != "a.example.com" {
			t.Fatalf("%+v", item)
		}
	}
	if len(phases) != 3 || len(routes) != 2 || routes["get shop/app/reads"] == 0 || routes["post shop/app/writes"] == 0 {
		t.Errorf("phases %v, routes %v", phases, routes)
	}
}

func captureFile(t *testing.T, requests ...traffic.Request) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.jsonl.zst")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := traffic.NewWriter(f, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range requests {
		if err := w.Write(&r); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func captured(at time.Duration, path string) traffic.Request {
	return traffic.Request{At: at, Method: "GET", Scheme: "https", Authority: "other.example.com", Path: path}
}

func TestPlanOfACapture(t *testing.T) {
	file := captureFile(t, captured(0, "/0"), captured(100*time.Millisecond, "/1"), captured(time.Second, "/2"))
	s := runScenario(t, "traffic: {capture: {file: "+file+", speed: 2}}\nload: {arrivals: captured}\n")
	got := items(t, s.Plan())
	if len(got) != 3 || got[1].Due != 50*time.Millisecond || got[2].Due != 500*time.Millisecond || got[2].Request.Authority != "a.example.com" {
		t.Errorf("%+v", got)
	}
	s = runScenario(t, "traffic: {capture: {file: "+file+"}}\nload: {arrivals: constant, stages: [{rate: 10, for: 700ms}]}\n")
	var paths string
	for _, item := range items(t, s.Plan()) {
		paths += item.Request.Path
	}
	if paths != "/0/1/2/0/1/2/0" {
		t.Errorf("a capture that is shorter than the stages gives %s", paths)
	}
}

// A capture that CheckPlan kept in memory gives the plan that reading its file again gives, and shares its requests.
func TestPlanOfAKeptCapture(t *testing.T) {
	file := captureFile(t, captured(0, "/0"), captured(time.Second, "/1"))
	s := runScenario(t, "traffic: {capture: {file: "+file+"}}\nload: {arrivals: constant, stages: [{rate: 10, for: 500ms}]}\n")
	read := items(t, s.Plan())
	if err := s.CheckPlan(); err != nil {
		t.Fatal(err)
	}
	kept := items(t, s.Plan())
	if diff := cmp.Diff(read, kept); diff != "" {
		t.Error(diff)
	}
	if kept[0].Request != kept[2].Request {
		t.Error("requests are not shared where the file is kept")
	}
	if once := items(t, replay.PlanAsCaptured(1, 1, s.recorded.Requests(false))); len(once) != 2 || once[1].Due != time.Second {
		t.Errorf("played once: %+v", once)
	}
}

// A traffic file too long to keep is read again while it is played.
func TestLongTrafficIsNotKept(t *testing.T) {
	file := captureFile(t, captured(0, "/0"), captured(1, "/1"), captured(2, "/2"), captured(3, "/3"))
	r, err := readTraffic(file, Selection{}, func(r *traffic.Request) { r.Authority = "b" }, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if r.Count != 4 || r.kept != nil {
		t.Fatalf("%d requests, %d of them kept", r.Count, len(r.kept))
	}
	next, stop := r.Requests(true)()
	defer stop()
	for i := range 10 {
		if item, err := next(); err != nil || item.Request.Authority != "b" || item.Request.Path != fmt.Sprintf("/%d", i%4) {
			t.Fatalf("%+v, %v", item, err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	next, gone := r.Requests(false)()
	defer gone()
	if _, err := next(); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("a file that is gone gives %v", err)
	}
}

// What a load asks of the machine and of the disk is known before it starts.
func TestWhatALoadAsksFor(t *testing.T) {
	file := captureFile(t, captured(0, "/0"), captured(1, "/1"), captured(4*time.Second, "/2"))
	mix := "traffic: {mix: [{name: get, path: /}]}\nload: "
	capture := "traffic: {capture: {file: " + file + ", speed: 2}}\nload: "
	for load, want := range map[string]struct {
		count  int
		demand replay.Demand
		how    replay.Options
	}{
		mix + "{stages: [{rate: 10, to: 30, for: 2s}], warmup: {rate: 5, for: 1s}, cooldown: {rate: 5, for: 1s}}\n": {50, replay.Demand{For: 4 * time.Second},
			replay.Options{Protocol: replay.HTTP1, Connections: 32, Reuse: replay.Keep, Overload: replay.QueueUp, Timeout: 2 * time.Second}},
		mix + "{stages: [{rate: 10, to: 30, for: 2s}], reuse: fresh, protocol: h2c, overload: drop, quantum: 1ms}\n": {40, replay.Demand{For: 2 * time.Second, Fresh: 30},
			replay.Options{Protocol: replay.H2C, Connections: 32, Reuse: replay.Fresh, Overload: replay.Drop, Timeout: 2 * time.Second, Quantum: time.Millisecond}},
		capture + "{reuse: fresh}\n": {3, replay.Demand{For: 2 * time.Second, Fresh: 1.5},
			replay.Options{Protocol: replay.HTTP1, Connections: 32, Reuse: replay.Fresh, Overload: replay.QueueUp, Timeout: 2 * time.Second}},
		capture + "{protocol: h2c, streams: 7, connections: 3}\n": {3, replay.Demand{For: 2 * time.Second},
			replay.Options{Protocol: replay.H2C, Streams: 7, Connections: 3, Reuse: replay.Keep, Overload: replay.QueueUp, Timeout: 2 * time.Second}},
	} {
		s := runScenario(t, load)
		if err := s.CheckPlan(); err != nil {
			t.Fatal(err)
		}
		want.how.Address = "127.0.0.1:80"
		if got := s.Load.Options("127.0.0.1:80"); s.Count() != want.count || s.Demand() != want.demand || !cmp.Equal(got, want.how, cmpopts.EquateComparable(netip.Addr{})) {
			t.Errorf("%s%d requests, %+v, %+v", load, s.Count(), s.Demand(), got)
		}
		how := s.Load.Options("127.0.0.1:80")
		if err := how.Check(s.Demand()); err != nil {
			t.Errorf("%s%v", load, err)
		}
	}
}

func TestSessionsMustBeNamed(t *testing.T) {
	load := "\nload: {arrivals: captured, reuse: session}\n"
	s := runScenario(t, "traffic: {capture: {file: "+captureFile(t, captured(0, "/"))+"}}"+load)
	if err := s.CheckPlan(); err == nil || !strings.Contains(err.Error(), "no request of") {
		t.Errorf("a capture without sessions gives %v", err)
	}
	named := captured(0, "/")
	named.Session = "a"
	s = runScenario(t, "traffic: {capture: {file: "+captureFile(t, named)+"}}"+load)
	if err := s.CheckPlan(); err != nil || s.recorded.Sessions != 1 {
		t.Errorf("%v, %+v", err, s.recorded)
	}
}

func TestReadTraffic(t *testing.T) {
	bad := captured(0, "/a b")
	nobody := captured(0, "/")
	nobody.Authority = ""
	for name, c := range map[string]struct {
		requests []traffic.Request
		want     string
	}{
		"good":         {[]traffic.Request{captured(0, "/"), captured(0, "/"), captured(1, "/")}, ""},
		"empty":        {nil, "no requests in it"},
		"out of order": {[]traffic.Request{captured(5, "/"), captured(4, "/")}, ""},
		"bad path":     {[]traffic.Request{captured(0, "/"), bad}, "line 3: path"},
		"no authority": {[]traffic.Request{nobody}, "line 2: \"authority\" is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ReadTraffic(captureFile(t, c.requests...), func(*traffic.Request) {})
			if c.want == "" {
				if err != nil || r.Count != len(c.requests) || r.Length != 1 {
					t.Errorf("%+v, %v", r, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}

// talker is a mesh on a cluster: it says what it is, and its gateway has a configuration and a log.
type talker struct{ *fake }

func (m talker) Up(ctx context.Context, spec mesh.Spec) (Running, error) {
	_, err := m.fake.Up(ctx, spec)
	return m, err
}
func (talker) Tell(r *evidence.Record) { r.Changes = []string{"one"} }
func (talker) Dumps(context.Context) (map[string][]byte, error) {
	return map[string][]byte{"gw-0": []byte("{}")}, nil
}
func (talker) AccessLogs(_ context.Context, since time.Time, f func(pod string) (io.WriteCloser, error)) error {
	w, err := f("gw-0")
	if err != nil || since.IsZero() {
		return errors.Join(err, errors.New("since when?"))
	}
	_, err = io.WriteString(w, "GET /")
	return errors.Join(err, w.Close())
}

func TestPlayKeepsWhatAClusterSays(t *testing.T) {
	s := short(t)
	f := newFake(t, s)
	begun := time.Now()
	f.state = func(n int) *mesh.State {
		state := stateOf(s, 0)
		used := mesh.CPU{Seconds: float64(n), At: begun.Add(time.Duration(n) * 2 * time.Second)}
		state.Pods = []mesh.Pod{{Namespace: "shop", Name: "app-v1-0", Version: "v1", CPU: map[string]mesh.CPU{"app": used, "stale": {Seconds: 1, At: begun}}},
			{Namespace: "shop", Name: "app-v2-0", Restarts: n, CPU: map[string]mesh.CPU{"app": used}}}
		return state
	}
	run := Run{Scenario: s, Mesh: talker{f}, Dir: t.TempDir(), Watcher: silent{}, AccessLog: true, Transport: transportOf()}
	if err := run.Play(t.Context()); err != nil {
		t.Fatal(err)
	}
	record, err := evidence.ReadRecord(run.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"one"}, record.Changes); diff != "" {
		t.Error(diff)
	}
	want := []evidence.CPUUse{{Namespace: "shop", Pod: "app-v1-0", Container: "app", Version: "v1", Cores: 0.5}}
	if diff := cmp.Diff(want, record.CPU, cmpopts.IgnoreFields(evidence.CPUUse{}, "Over")); diff != "" {
		t.Error(diff)
	}
	for name, text := range map[string]string{"config_dump-gw-0-before.json": "{}", "config_dump-gw-0-after.json": "{}", "access-gw-0.log": "GET /"} {
		if got, err := os.ReadFile(filepath.Join(run.Dir, "mesh", name)); string(got) != text || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// Where the gateway becomes another during the run, or is configured otherwise, nothing passes.
func TestAGatewayThatChangedDuringTheRun(t *testing.T) {
	gateway := func(name string, restarts int) []mesh.Pod {
		return []mesh.Pod{{Namespace: "istio-system", Name: name, Restarts: restarts}}
	}
	for name, c := range map[string]struct {
		before, after func(*mesh.State)
		doubt         string
	}{
		"its mirrors": {func(*mesh.State) {}, func(s *mesh.State) { s.Routes[1].Mirrors = []mesh.Mirror{{Cluster: shadowCluster, Numerator: 200_000}} },
			"the gateway's routes changed during the run"},
		"all its routes are gone":   {func(*mesh.State) {}, func(s *mesh.State) { s.Routes = nil }, "the gateway's routes changed during the run"},
		"something else of a route": {func(*mesh.State) {}, func(s *mesh.State) { s.Doubt = "route a, time-out: 1 s, 2 s" }, "route a, time-out: 1 s, 2 s"},
		"it restarted": {func(s *mesh.State) { s.Pods = gateway("gw-0", 0) }, func(s *mesh.State) { s.Pods = gateway("gw-0", 1) },
			"the gateway's pods changed during the run, so that their counters are not whole: gw-0 (restarted 0 times) before, gw-0 (restarted 1 times) after"},
		"another came": {func(s *mesh.State) { s.Pods = gateway("gw-0", 0) }, func(s *mesh.State) { s.Pods = append(gateway("gw-1", 0), gateway("gw-0", 0)...) },
			"gw-0 (restarted 0 times) before, gw-0 (restarted 0 times), gw-1 (restarted 0 times) after"},
	} {
		t.Run(name, func(t *testing.T) {
			s := short(t)
			f := newFake(t, s)
			f.state = func(n int) *mesh.State {
				state := stateOf(s, 0)
				if n == 1 {
					c.before(state)
				} else {
					c.after(state)
				}
				return state
			}
			dir, err := playOn(t.Context(), t, s, f)
			if err != nil {
				t.Fatal(err)
			}
			j, err := Judge(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(strings.Join(j.Doubts, "\n"), c.doubt) {
				t.Errorf("doubts %q", j.Doubts)
			}
			for _, v := range j.Verdicts {
				if v.State == verdict.Pass {
					t.Errorf("%s passes", v.Name)
				}
			}
		})
	}
}

// A mirror whose requests in flight the gateway does not show is not known to have ended.
func TestDrainOfWhatIsNotShown(t *testing.T) {
	s := short(t)
	f := newFake(t, s)
	f.state = func(int) *mesh.State {
		state := stateOf(s, 0)
		state.Counters = map[string]uint64{}
		return state
	}
	dir, err := playOn(t.Context(), t, s, f)
	if err != nil {
		t.Fatal(err)
	}
	if record, err := evidence.ReadRecord(dir); err != nil || record.Drained {
		t.Errorf("drained %v, %v", record.Drained, err)
	}
}
