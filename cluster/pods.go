package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"umbra/cluster/internal/istio"
	"umbra/cluster/internal/kube"
	"umbra/internal/app"
	"umbra/internal/mesh"
	"umbra/internal/verdict"
)

// pods are the replicas of umbra's app. They are watched while the mesh serves: one that comes is told how to behave, and one
// that goes is asked for its receipts before it has gone.
type pods struct {
	client  *kube.Client
	spec    *mesh.Spec
	apps    []istio.App
	restore bool // the pods are the user's, who gets their settings back
	log     func(format string, args ...any)

	ctx     context.Context // of the watches and of what they begin
	cancel  context.CancelFunc
	running sync.WaitGroup
	seeing  sync.Mutex // guards restarts and appRestarts of replicas: watches and catchUp see pods

	mu       sync.Mutex
	all      map[string]*replica // by namespace/name
	told     []verdict.Restart
	conducts *conduct            // how they behave; never nil
	strayed  map[*istio.App]bool // that were told to behave otherwise than a Spec says
	dropped  []*replica          // that had ended before the run, to be closed
	served   time.Time           // what happens from then on happens during the run; zero before
}

// replica is a pod of the app.
type replica struct {
	app             *istio.App
	namespace, name string
	forward         *kube.Forward
	admin           app.Client
	telling         sync.Mutex    // held while it is told how to behave: the last to tell it has the newest to say
	restarts        int           // of all its containers, as seen last
	appRestarts     int           // of the app's own
	began           int64         // when its process was started, as it stood when the run began, Unix ns; 0: not known
	was             *app.Settings // before this run, of the user's own pods; guarded by telling
	anew            bool          // that is another process since, which was told
	ending, gone    bool          // it was told to end; it has ended
	receipts        *os.File      // fetched as it ended, without a name; nil until then
}

// farewellIn bounds the fetching of receipts from a pod that ends. Its grace period is 30 s.
const farewellIn = 25 * time.Second

func newPods(client *kube.Client, spec *mesh.Spec, apps []istio.App, log func(string, ...any)) *pods {
	p := &pods{client: client, spec: spec, apps: apps, log: log, all: map[string]*replica{}, conducts: &conduct{}, strayed: map[*istio.App]bool{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// start finds the pods that are ready, configures them, and watches from then on.
func (p *pods) start(ctx context.Context) error {
	list, err := p.list(ctx)
	if err != nil {
		return err
	}
	for i := range list {
		if ready(&list[i]) {
			p.add(&list[i])
		}
	}
	for i := range p.apps {
		if len(p.replicas(&p.apps[i])) == 0 {
			w := p.apps[i].Workload
			return fmt.Errorf("no pod of %s/%s is ready", w.Namespace, w.Name)
		}
	}
	if err := p.each(func(r *replica) error { return p.configure(ctx, r) }); err != nil {
		return err
	}
	for _, namespace := range p.namespaces() {
		p.running.Go(func() {
			if err := p.client.WatchPods(p.ctx, namespace, nil, p.see); err != nil && p.ctx.Err() == nil {
				p.happen(verdict.Restart{What: fmt.Sprintf("the pods of namespace %s were watched no more: %v", namespace, err), Lost: true})
			}
		})
	}
	return nil
}

// answer asks the app itself of every pod whether it is well, which leaves no receipt.
func (p *pods) answer(ctx context.Context) error {
	return p.each(func(r *replica) error {
		forward := p.client.Forward(r.namespace, r.name, int(r.app.Port))
		defer forward.Close()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.name+"/health", nil)
		if err != nil {
			return err
		}
		res, err := forward.RoundTrip(request)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("GET /health: %s", res.Status)
		}
		return nil
	})
}

// forget lets every pod begin its receipts anew. What happens to pods from then on is part of the run.
func (p *pods) forget(ctx context.Context) error {
	err := p.each(func(r *replica) error {
		if err := r.admin.Forget(ctx); err != nil {
			return err
		}
		status, err := r.admin.Status(ctx)
		p.mu.Lock()
		r.began = status.Started
		p.mu.Unlock()
		return err
	})
	p.dropEnded()
	return err
}

// dropEnded begins the run without the pods that end: they are an earlier run's.
func (p *pods) dropEnded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, r := range p.all {
		if r.ending {
			delete(p.all, key)
			p.dropped = append(p.dropped, r)
		}
	}
	p.served = time.Now()
}

// conduct has the pods behave otherwise, also those that come later.
func (p *pods) conduct(ctx context.Context, c *conduct) error {
	p.mu.Lock()
	p.conducts = c
	for i := range p.apps {
		if a := &p.apps[i]; c.modeFor(&a.Workload) != "" || c.delay[a.Workload.Version] > 0 {
			p.strayed[a] = true
		}
	}
	p.mu.Unlock()
	return p.each(func(r *replica) error { return p.configure(ctx, r) })
}

// configure tells a pod how to behave, after it was asked, the first time, what it had been told before where that is to be put back.
func (p *pods) configure(ctx context.Context, r *replica) error {
	r.telling.Lock()
	defer r.telling.Unlock()
	if p.restore && r.was == nil {
		was, err := r.admin.Settings(ctx)
		if err != nil {
			return err
		}
		r.was = &was
	}
	p.mu.Lock()
	c := p.conducts
	p.mu.Unlock()
	return r.admin.Configure(ctx, c.settings(p.spec, &r.app.Workload))
}

// allReady wants every pod to be ready, but those that end.
func (p *pods) allReady(ctx context.Context) error {
	list, err := p.list(ctx)
	if err != nil {
		return err
	}
	at := map[string]*corev1.Pod{}
	for i := range list {
		at[list[i].Namespace+"/"+list[i].Name] = &list[i]
	}
	return p.each(func(r *replica) error {
		if pod := at[r.namespace+"/"+r.name]; pod != nil && pod.DeletionTimestamp == nil && !ready(pod) {
			return errors.New("it is not ready")
		}
		return nil
	})
}

func (p *pods) namespaces() []string {
	set := map[string]bool{}
	for i := range p.apps {
		set[p.apps[i].Workload.Namespace] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// list asks the cluster for the pods of the apps.
func (p *pods) list(ctx context.Context) (all []corev1.Pod, err error) {
	for _, namespace := range p.namespaces() {
		list, err := p.client.Pods(ctx, namespace, nil)
		if err != nil {
			return nil, err
		}
		all = append(all, slices.DeleteFunc(list, func(pod corev1.Pod) bool { return p.appOf(&pod) == nil })...)
	}
	return all, nil
}

// appOf is the app that a pod belongs to; nil where it is none of ours.
func (p *pods) appOf(pod *corev1.Pod) *istio.App {
	for i := range p.apps {
		w := &p.apps[i].Workload
		if w.Namespace == pod.Namespace && has(pod.Labels, w.Labels) {
			return &p.apps[i]
		}
	}
	return nil
}

func has(labels, wanted map[string]string) bool {
	for k, v := range wanted {
		if labels[k] != v {
			return false
		}
	}
	return true
}

// knows tells whether a pod has served this mesh.
func (p *pods) knows(pod *corev1.Pod) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[pod.Namespace+"/"+pod.Name] != nil
}

func (p *pods) version(pod *corev1.Pod) string {
	if a := p.appOf(pod); a != nil {
		return a.Workload.Version
	}
	return ""
}

func (p *pods) add(pod *corev1.Pod) *replica {
	a := p.appOf(pod)
	forward := p.client.Forward(pod.Namespace, pod.Name, int(a.AdminPort))
	r := &replica{app: a, namespace: pod.Namespace, name: pod.Name, forward: forward, restarts: restarts(pod), appRestarts: appRestarts(pod, a),
		admin: app.Client{Transport: forward, Base: "http://" + pod.Name}}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[pod.Namespace+"/"+pod.Name] = r
	return r
}

func (p *pods) replicas(of *istio.App) (out []*replica) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(p.all)) {
		if r := p.all[key]; of == nil || r.app == of {
			out = append(out, r)
		}
	}
	return out
}

// each asks all pods at once, but those that end.
func (p *pods) each(do func(*replica) error) error {
	all := slices.DeleteFunc(p.replicas(nil), p.ends)
	faults := make([]error, len(all))
	var group sync.WaitGroup
	for i, r := range all {
		group.Go(func() {
			if err := do(r); err != nil {
				faults[i] = fmt.Errorf("pod %s/%s: %w", r.namespace, r.name, err)
			}
		})
	}
	group.Wait()
	return errors.Join(faults...)
}

// see takes an event of a watch, or a pod as catchUp finds it.
func (p *pods) see(event string, pod *corev1.Pod) {
	if p.appOf(pod) == nil {
		return
	}
	p.seeing.Lock()
	defer p.seeing.Unlock()
	p.mu.Lock()
	r := p.all[pod.Namespace+"/"+pod.Name]
	p.mu.Unlock()
	if r == nil {
		if event != kube.Deleted && ready(pod) {
			p.came(p.add(pod), started(pod))
		}
		return
	}
	if restarts(pod) > r.restarts {
		p.restarted(r, pod)
	}
	switch {
	case event == kube.Deleted:
		p.ended(r)
	case pod.DeletionTimestamp != nil:
		p.leave(r)
	}
}

// restarted tells that containers of a pod began anew. Beside the app's own none has receipts to lose.
func (p *pods) restarted(r *replica, pod *corev1.Pod) {
	own := appRestarts(pod, r.app)
	lost := own > r.appRestarts
	r.restarts, r.appRestarts = restarts(pod), own
	p.mu.Lock()
	known := lost && r.anew
	r.anew = r.anew || lost
	p.mu.Unlock()
	if !known || !lost {
		p.tell(r, fmt.Sprintf("restarted (%s)", lastEnd(pod)), lost)
	}
}

// tell notes what happened to a pod.
func (p *pods) tell(r *replica, what string, lost bool) {
	p.happen(verdict.Restart{Pod: r.name, Version: r.app.Workload.Version, What: what, Lost: lost})
}

func (p *pods) happen(what verdict.Restart) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(what)
}

// note is happen for who holds the lock.
func (p *pods) note(what verdict.Restart) {
	what.At = time.Now().UTC()
	if !p.served.IsZero() || what.Pod == "" {
		p.told = append(p.told, what)
	}
}

// came tells a pod that came how to behave. What it may have from before the run is dropped.
func (p *pods) came(r *replica, began time.Time) {
	p.mu.Lock()
	older := p.served.IsZero() || began.Before(p.served)
	p.mu.Unlock()
	p.tell(r, "began", older)
	p.running.Go(func() {
		err := p.configure(p.ctx, r)
		if older {
			err = errors.Join(err, r.admin.Forget(p.ctx))
		}
		if err != nil {
			p.log("pod %s/%s began and could not be told how to behave: %v", r.namespace, r.name, err)
		}
	})
}

// ends tells whether a pod ends or has ended.
func (p *pods) ends(r *replica) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return r.ending || r.gone
}

// leave fetches the receipts of a pod that was told to end.
func (p *pods) leave(r *replica) {
	p.mu.Lock()
	begun := r.ending
	r.ending = true
	p.mu.Unlock()
	if begun {
		return
	}
	p.running.Go(func() {
		ctx, cancel := context.WithTimeout(p.ctx, farewellIn)
		defer cancel()
		file, err := p.farewell(ctx, r)
		if err != nil {
			p.log("pod %s/%s ended and its receipts could not be fetched: %v", r.namespace, r.name, err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		r.receipts, r.gone = file, true
		if p.all[r.namespace+"/"+r.name] != r {
			return // an earlier run's
		}
		p.note(verdict.Restart{Pod: r.name, Version: r.app.Workload.Version, What: "ended", Lost: file == nil})
	})
}

// ended notes that a pod has gone. Where nobody had been told that it ends, its receipts went with it.
func (p *pods) ended(r *replica) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !r.ending {
		r.ending, r.gone = true, true
		p.note(verdict.Restart{Pod: r.name, Version: r.app.Workload.Version, What: "ended at once", Lost: true})
	}
}

// farewell fetches what a pod has after its last request, into a file that has no name.
func (p *pods) farewell(ctx context.Context, r *replica) (*os.File, error) {
	if err := p.same(ctx, r); err != nil {
		return nil, err
	}
	stream, err := r.admin.LastReceipts(ctx)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	file, err := os.CreateTemp("", "umbra-receipts-")
	if err != nil {
		return nil, err
	}
	err = os.Remove(file.Name())
	if err == nil {
		_, err = io.Copy(file, stream)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// same tells where a pod's app is another process than the one that the run began with, whatever the watch has seen: what that one had
// not written down is lost.
func (p *pods) same(ctx context.Context, r *replica) error {
	status, err := r.admin.Status(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	other := r.began != 0 && status.Started != r.began && !r.anew
	r.anew = r.anew || other
	p.mu.Unlock()
	if other {
		p.tell(r, "restarted (its app began anew at "+time.Unix(0, status.Started).UTC().Format(time.RFC3339)+")", true)
	}
	return nil
}

// catchUp sees what the watch has not told yet, or never will.
func (p *pods) catchUp(ctx context.Context) error {
	list, err := p.list(ctx)
	if err != nil {
		return err
	}
	live := map[string]bool{}
	for i := range list {
		live[list[i].Namespace+"/"+list[i].Name] = true
		p.see(kube.Modified, &list[i])
	}
	for _, r := range p.replicas(nil) {
		if !live[r.namespace+"/"+r.name] {
			p.ended(r)
		}
	}
	return nil
}

// receipts gives those of every pod that there is or was, pod by pod. A pod that went without its receipts is left out: happened
// tells of it.
func (p *pods) receipts(ctx context.Context, f func(version, pod string, stream io.Reader) error) error {
	if err := p.catchUp(ctx); err != nil {
		return err
	}
	for _, r := range p.replicas(nil) {
		if err := p.receiptsOf(ctx, r, f); err != nil {
			return fmt.Errorf("receipts of pod %s/%s: %w", r.namespace, r.name, err)
		}
	}
	return nil
}

func (p *pods) receiptsOf(ctx context.Context, r *replica, f func(version, pod string, stream io.Reader) error) error {
	if err := p.settled(ctx, r); err != nil {
		return err
	}
	p.mu.Lock()
	file, gone := r.receipts, r.gone
	p.mu.Unlock()
	switch {
	case file != nil:
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		return f(r.app.Workload.Version, r.name, file)
	case gone:
		return nil
	}
	stream, err := r.admin.Receipts(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	if err := f(r.app.Workload.Version, r.name, stream); err != nil {
		return err
	}
	return p.same(ctx, r)
}

// settled waits for a pod that ends.
func (p *pods) settled(ctx context.Context, r *replica) error {
	again := time.NewTicker(pollEvery)
	defer again.Stop()
	for {
		p.mu.Lock()
		waiting := r.ending && !r.gone
		p.mu.Unlock()
		if !waiting {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// happened tells what happened to pods since the run began.
func (p *pods) happened() []verdict.Restart {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.told)
}

// close ends what watches the pods, and has those that were told to misbehave behave again.
func (p *pods) close() error {
	p.cancel()
	p.running.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), answerIn)
	defer cancel()
	p.mu.Lock()
	p.conducts = &conduct{}
	strayed := maps.Clone(p.strayed)
	p.mu.Unlock()
	again := p.each(func(r *replica) error {
		switch {
		case p.restore:
			return r.restore(ctx)
		case strayed[r.app]:
			return p.configure(ctx, r)
		}
		return nil
	})
	if again != nil {
		p.log("not every pod could be told to behave as before: %v", again)
	}
	var faults []error
	for _, r := range append(p.replicas(nil), p.dropped...) {
		faults = append(faults, r.forward.Close())
		if r.receipts != nil {
			faults = append(faults, r.receipts.Close())
		}
	}
	return errors.Join(faults...)
}

// restore tells a pod what it had been told before the run.
func (r *replica) restore(ctx context.Context) error {
	r.telling.Lock()
	defer r.telling.Unlock()
	if r.was == nil { // it was told nothing
		return nil
	}
	return r.admin.Configure(ctx, *r.was)
}

func ready(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func started(pod *corev1.Pod) time.Time {
	if pod.Status.StartTime == nil {
		return time.Time{}
	}
	return pod.Status.StartTime.UTC()
}

// containers are the states of all of a pod's containers that run beside each other, sidecars that are init containers among them.
func containers(pod *corev1.Pod) []corev1.ContainerStatus {
	return slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
}

func restarts(pod *corev1.Pod) (n int) {
	for _, c := range containers(pod) {
		n += int(c.RestartCount)
	}
	return n
}

// appRestarts counts those of the app's own container.
func appRestarts(pod *corev1.Pod, a *istio.App) int {
	for _, c := range containers(pod) {
		if c.Name == a.Container {
			return int(c.RestartCount)
		}
	}
	return 0
}

// imageOf is the image of a pod's container; empty where it has none of that name.
func imageOf(pod *corev1.Pod, container string) string {
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name == container {
			return c.Image
		}
	}
	return ""
}

// lastEnd says why the container of a pod that restarted last did so.
func lastEnd(pod *corev1.Pod) string {
	why, at := "unknown why", time.Time{}
	for _, c := range containers(pod) {
		if end := c.LastTerminationState.Terminated; end != nil && end.FinishedAt.After(at) {
			why, at = fmt.Sprintf("container %s: %s, exit code %d", c.Name, or(end.Reason, "ended"), end.ExitCode), end.FinishedAt.Time
		}
	}
	return why
}
