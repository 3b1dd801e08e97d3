package scenarios

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"umbra/internal/evidence"
	"umbra/internal/live"
	"umbra/internal/mesh"
	"umbra/internal/route"
	"umbra/internal/traffic"
	"umbra/replay"
)

// Watcher sees a run go on. Its methods may be called concurrently, each from one goroutine at a time.
type Watcher interface {
	Step(text string)              // a step of the run begins
	Results(rows []traffic.Result) // requests ended; the rows are not the watcher's
}

// Run is a run of a scenario on a mesh.
type Run struct {
	Scenario  *Scenario
	Mesh      Mesh
	Transport func(how replay.Options) (replay.Transport, error)
	Faults    mesh.Faults
	Looks     []string // the shadow's modes in which to look for harm
	Buffers   bool     // the mesh's gateway reads a request whole before it sends it on
	Nightly   bool     // the controls of scenarios that play them nightly are played
	Shared    bool     // client and mesh run on the same CPUs
	Dir       string   // the run folder, which exists
	Watcher   Watcher
	Counts    bool            // the gateway's counters are read once a second while the stages are played, for a Viewer
	AccessLog bool            // the gateways' logs are kept, where the mesh has such
	Record    evidence.Record // what the caller knows; the run fills in the rest

	before *mesh.State
	failed error // of the paired blocks
}

// ErrMesh marks a run that the mesh or the machine ended.
var ErrMesh = errors.New("the mesh or the machine failed")

// StartIn is how long before the first due instant the transport is started, so that its connections stand.
const StartIn = 200 * time.Millisecond

// collectIn bounds the fetching of receipts and counters, also of a run that was interrupted.
const collectIn = 2 * time.Minute

// Play is the story: provision, check that the mesh is configured as the manifests say, replay (the warm-up first), drain,
// collect, clean up. What it leaves in the folder is judged by Judge. When ctx ends the load stops and the rest goes on,
// so that what was done is judged; the record then says that the run was interrupted. Errors of the mesh or the machine
// wrap ErrMesh.
func (r *Run) Play(ctx context.Context) error {
	if err := r.begin(); err != nil {
		return err
	}
	err := r.onMesh(ctx)
	r.Record.Interrupted = ctx.Err() != nil
	r.Record.Ended = time.Now().UTC()
	r.Record.Finished = err == nil
	if err != nil {
		r.Record.Failure = err.Error()
	}
	return errors.Join(err, r.Record.Write(r.Dir))
}

// begin writes what is known before anything runs, so that a run that is killed can be judged.
func (r *Run) begin() error {
	r.Record.Started = time.Now().UTC()
	r.Record.Quantum = r.Scenario.Load.Quantum
	if r.Scenario.Load.Arrivals != Captured {
		r.Record.Stages = Stages(r.Scenario.stages())
	}
	resolved, err := r.Scenario.ResolvedIn(r.Dir)
	if err != nil {
		return err
	}
	if r.Record.Capture, err = r.Scenario.capture(); err != nil {
		return err
	}
	return broken(errors.Join(
		os.MkdirAll(filepath.Join(r.Dir, "mesh"), 0o755),
		os.WriteFile(filepath.Join(r.Dir, evidence.Scenario), resolved, 0o644),
		os.WriteFile(filepath.Join(r.Dir, evidence.Manifests), documents(r.Scenario.Manifests), 0o644),
		r.Record.Write(r.Dir)))
}

// capture is what the run replays of a capture; nil where it has none.
func (s *Scenario) capture() (*evidence.Capture, error) {
	if s.Capture == nil {
		return nil, nil
	}
	if s.recorded == nil {
		if err := s.CheckPlan(); err != nil {
			return nil, err
		}
	}
	c := s.recorded.Replay
	c.Ordered = s.Load.Ordered
	if s.Load.Arrivals == Captured {
		c.Speed = s.Capture.Speed
	}
	return &c, nil
}

// broken marks an error of the mesh or the machine.
func broken(err error) error {
	if err == nil || isInput(err) || errors.Is(err, ErrMesh) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrMesh, err)
}

// documents puts the manifests into one file.
func documents(m *route.Manifests) []byte {
	var b bytes.Buffer
	for i, o := range m.Objects {
		if i > 0 {
			b.WriteString("---\n")
		}
		b.Write(bytes.TrimSpace(o.Raw))
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func (r *Run) onMesh(ctx context.Context) (err error) {
	r.Watcher.Step("starting the mesh")
	spec := r.Scenario.Spec()
	spec.Faults = r.Faults
	running, err := r.Mesh.Up(ctx, spec)
	if err != nil {
		return broken(err)
	}
	defer func() { err = errors.Join(err, broken(running.Close())) }()
	before, err := running.State(ctx)
	if err != nil {
		return broken(err)
	}
	r.before = before
	r.told(running)
	if err := errors.Join(evidence.WriteJSON(r.Dir, evidence.Before, before), dumps(ctx, r.Dir, running, "before"), mesh.Differences(r.Scenario.Table, before)); err != nil {
		return broken(err)
	}
	if err := r.replay(ctx, running); err != nil {
		return broken(err)
	}
	return broken(errors.Join(r.failed, r.collect(ctx, running)))
}

// Spec is what the scenario asks a mesh to stand up, without faults.
func (s *Scenario) Spec() mesh.Spec {
	return mesh.Spec{Manifests: s.Manifests, Table: s.Table, Workloads: route.Workloads(s.Manifests, s.Table), Port: s.Mesh.Port,
		App: s.Mesh.App, Ignore: s.Checks.ignore(), Seed: s.Load.Seed}
}

// told lets a mesh write into the record what it is and what happened to it.
func (r *Run) told(running Running) {
	if m, ok := running.(interface{ Tell(*evidence.Record) }); ok {
		m.Tell(&r.Record)
	}
}

// dumps keeps each gateway's configuration, where the mesh has such: mesh/config_dump-POD-WHEN.json.
func dumps(ctx context.Context, dir string, running Running, when string) error {
	m, ok := running.(interface {
		Dumps(ctx context.Context) (map[string][]byte, error)
	})
	if !ok {
		return nil
	}
	all, err := m.Dumps(ctx)
	for pod, dump := range all {
		name := filepath.Join(dir, "mesh", "config_dump-"+pod+"-"+when+".json")
		err = errors.Join(err, os.WriteFile(name, dump, 0o644))
	}
	return err
}

// cpuUse is the mean of the cores that each container used between the measurements of two states. One that was started in between
// is left out, as its count began anew, and one that was not measured again since.
func cpuUse(before, after *mesh.State) (out []evidence.CPUUse) {
	was := map[string]mesh.Pod{}
	for _, pod := range before.Pods {
		was[pod.Namespace+"/"+pod.Name] = pod
	}
	for _, pod := range after.Pods {
		old, there := was[pod.Namespace+"/"+pod.Name]
		if !there || old.Restarts != pod.Restarts {
			continue
		}
		for _, container := range slices.Sorted(maps.Keys(pod.CPU)) {
			begin, end := old.CPU[container], pod.CPU[container]
			if took := end.At.Sub(begin.At); !begin.At.IsZero() && took > 0 {
				out = append(out, evidence.CPUUse{Namespace: pod.Namespace, Pod: pod.Name, Container: container, Version: pod.Version,
					Cores: (end.Seconds - begin.Seconds) / took.Seconds(), Over: took})
			}
		}
	}
	return out
}

// replay plays the stages, and then the paired blocks.
func (r *Run) replay(ctx context.Context, running Running) error {
	r.Watcher.Step(fmt.Sprintf("replaying %s through the gateway at %s", r.Scenario.Describe(), running.Address()))
	transport, err := r.Transport(r.Scenario.Load.Options(running.Address()))
	if err != nil {
		return err
	}
	k, err := keepIn(r.Dir, &r.Record, time.Now().Add(StartIn), r.Watcher.Results)
	if err != nil {
		return err
	}
	r.playing(live.PartOf(k.start, 0, r.Scenario.stages(), r.Scenario.Demand().For))
	stop := r.count(ctx, running)
	err = k.play(ctx, transport, r.Scenario.Plan(), k.recording)
	stop()
	r.playing(live.Part{})
	if err == nil && ctx.Err() == nil {
		r.failed = r.experiment(ctx, running, k) // what was played is collected all the same
	}
	_, closed := k.close()
	return errors.Join(err, closed)
}

// collect waits for the mirrors and fetches the evidence. It has its own bound: an interrupted run is collected too.
func (r *Run) collect(ctx context.Context, running Running) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), collectIn+r.Scenario.Drain)
	defer cancel()
	r.Watcher.Step("waiting until the mirrors have ended")
	after, drained, failed := drain(ctx, running, mirrorClusters(r.Scenario.Table), r.Scenario.Drain)
	r.Record.Drained = drained && failed == nil
	if failed == nil {
		r.counted(after.Counters)
	}
	r.Watcher.Step("collecting receipts")
	err := errors.Join(failed, r.receipts(ctx, running)) // a gateway that has gone takes no receipts with it
	r.told(running)
	if err != nil {
		return err
	}
	r.Record.CPU = cpuUse(r.before, after)
	return errors.Join(evidence.WriteJSON(r.Dir, evidence.After, after), dumps(ctx, r.Dir, running, "after"), r.accessLogs(ctx, running))
}

// accessLogs keeps what the gateways logged since the run began: mesh/access-POD.log.
func (r *Run) accessLogs(ctx context.Context, running Running) error {
	m, ok := running.(interface {
		AccessLogs(ctx context.Context, since time.Time, f func(pod string) (io.WriteCloser, error)) error
	})
	if !ok || !r.AccessLog {
		return nil
	}
	return m.AccessLogs(ctx, r.Record.Started, func(pod string) (io.WriteCloser, error) {
		return os.Create(filepath.Join(r.Dir, "mesh", "access-"+pod+".log"))
	})
}

// mirrorClusters are the clusters that some route mirrors to, and that the gateway has.
func mirrorClusters(t *route.Table) []string {
	clusters := map[string]bool{}
	for _, r := range t.Routes() {
		for _, m := range r.Mirrors {
			if c := t.Cluster(m.Cluster); c != nil && c.Missing == "" {
				clusters[m.Cluster] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(clusters))
}

const (
	pollEvery  = 50 * time.Millisecond
	standStill = 4 // polls in a row with equal counts
)

// drain polls until the clusters have nothing active or pending and their counts stand still, at most for atMost. It
// gives the last state and whether that was reached.
func drain(ctx context.Context, running Running, clusters []string, atMost time.Duration) (*mesh.State, bool, error) {
	deadline := time.Now().Add(atMost)
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	var last []uint64
	for same := 0; ; {
		counters, err := running.Counters(ctx)
		if err != nil {
			return nil, false, err
		}
		counts, idle := activity(&mesh.State{Counters: counters}, clusters)
		if same++; !idle || !slices.Equal(counts, last) {
			same = 0
		}
		last = counts
		if drained := same >= standStill; drained || time.Now().After(deadline) {
			state, err := running.State(ctx)
			return state, drained, err
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}

// activity reads the clusters' counts, and whether nothing is under way. What the gateway does not show is not known to have ended.
func activity(state *mesh.State, clusters []string) (counts []uint64, idle bool) {
	idle = true
	for _, c := range clusters {
		counts = append(counts, state.Counter(c, "upstream_rq_total"), state.Counter(c, "upstream_rq_completed"))
		_, shown := state.Counters["cluster."+c+".upstream_rq_active"]
		idle = idle && shown && state.Counter(c, "upstream_rq_active") == 0 && state.Counter(c, "upstream_rq_pending_active") == 0
	}
	return counts, idle
}

// receipts copies every replica's stream into one file for the primary and one for all else.
func (r *Run) receipts(ctx context.Context, running Running) error {
	primary, err := newReceipts(r.Dir, evidence.PrimaryReceipts)
	if err != nil {
		return err
	}
	shadow, err := newReceipts(r.Dir, evidence.ShadowReceipts)
	if err != nil {
		return errors.Join(err, primary.close())
	}
	err = running.Receipts(ctx, func(version, pod string, stream io.Reader) error {
		to := shadow
		if version == r.Scenario.Mesh.Primary {
			to = primary
		}
		if err := to.copy(stream); err != nil {
			return fmt.Errorf("receipts of pod %s: %w", pod, err)
		}
		r.Record.Collected = append(r.Record.Collected, pod)
		return nil
	})
	return errors.Join(err, primary.close(), shadow.close())
}

type receipts struct {
	file   *os.File
	writer *traffic.ReceiptWriter
}

func newReceipts(dir, name string) (*receipts, error) {
	file, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	return &receipts{file, traffic.NewReceiptWriter(file)}, nil
}

func (r *receipts) copy(stream io.Reader) error {
	for receipt, err := range traffic.ReadReceipts(stream) {
		if err != nil {
			return err
		}
		if err := r.writer.Write(&receipt); err != nil {
			return err
		}
	}
	return nil
}

func (r *receipts) close() error { return errors.Join(r.writer.Close(), r.file.Close()) }

// Duration is how long the stages last, the warm-up among them; 0 where a capture says when it ends.
func (s *Scenario) Duration() time.Duration { return replay.Duration(s.stages()) }

// Describe says in a few words what is played.
func (s *Scenario) Describe() string {
	what := "a scripted mix"
	if s.Capture != nil {
		what = filepath.Base(s.Capture.File)
	}
	if s.Load.Arrivals == Captured {
		return fmt.Sprintf("%s as captured × %g", what, s.Capture.Speed)
	}
	return fmt.Sprintf("%s for %v", what, s.Duration())
}
