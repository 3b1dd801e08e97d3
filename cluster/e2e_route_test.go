//go:build e2e

package cluster_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	meshes "umbra/cluster"
	"umbra/internal/mesh"
	"umbra/internal/route"
	"umbra/internal/sample"
	"umbra/internal/traffic"
	"umbra/scenarios"
)

const (
	perTable  = 2000 // requests for each set of manifests
	atLeast   = 10   // of them on each route
	routeSeed = 11   // of the requests
	drainIn   = time.Minute
)

// TestE2ERoutes sends the same requests to a real Istio's gateway and to the embedded mesh, for the manifests of every example and
// for some that ask for everything a route can do. Both answer alike, the same version serves where a route has one, and the shadows
// get what the model says that they can get.
func TestE2ERoutes(t *testing.T) {
	name := cluster(t)
	app, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	settings := meshes.FromEnvironment(os.Getenv)
	settings.Name, settings.AppBinary, settings.Wait = name, app, 2*time.Minute
	for _, c := range tables(t) {
		t.Run(c.name, func(t *testing.T) { c.compare(t, settings) })
	}
}

// table is a set of manifests under test.
type table struct {
	name, host string
	spec       mesh.Spec
}

// tables gives those of the examples, each once, and the one of this test. Those with the same workloads follow each other, so
// that the cluster's pods stay.
func tables(t *testing.T) (all []table) {
	t.Helper()
	if err := sample.Make(filepath.Dir(example(""))); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(example("*"))
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, everyRule(t))
	seen := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "-istio.yaml") {
			continue
		}
		s, err := scenarios.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		spec := s.Spec()
		spec.App = nil // all behave alike, and answer at once
		if key := content(spec.Manifests); !seen[key] {
			seen[key] = true
			all = append(all, table{s.Name, s.Mesh.Host, spec})
		}
	}
	if len(all) < 18 {
		t.Fatalf("%d sets of manifests", len(all))
	}
	byWorkloads(all)
	return all
}

// content tells manifests apart by what they say.
func content(m *route.Manifests) string {
	var b strings.Builder
	for _, o := range m.Objects {
		b.Write(o.Raw)
	}
	return b.String()
}

// byWorkloads brings the largest group with equal workloads to the front, and keeps groups together.
func byWorkloads(all []table) {
	key := func(c table) string {
		var names []string
		for _, w := range c.spec.Workloads {
			names = append(names, fmt.Sprintf("%s/%s/%d/%t", w.Namespace, w.Name, w.Replicas, w.Added))
		}
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	many := map[string]int{}
	for _, c := range all {
		many[key(c)]++
	}
	slices.SortStableFunc(all, func(a, b table) int {
		return cmp.Or(cmp.Compare(many[key(b)], many[key(a)]), cmp.Compare(key(b), key(a)))
	})
}

// compare plays the requests on both meshes and holds them against each other and against the model.
func (c *table) compare(t *testing.T, settings meshes.Settings) {
	began := time.Now()
	kind := &meshes.Kind{Settings: settings}
	istio := c.play(t, kind)
	ready := time.Since(began)
	embedded := c.play(t, meshes.Embedded{})
	c.covered(t)
	wrong := differences{t: t}
	for i, r := range istio.sent {
		d := c.spec.Table.Match(r.model(c.spec.Port))
		wrong.answer(r, &d, istio.answers[i], embedded.answers[i])
		for _, s := range []*side{istio, embedded} {
			c.primary(&wrong, r, &d, s.answers[i], s)
			c.mirrors(&wrong, r, &d, s)
		}
		c.sameReceipt(&wrong, r, istio, embedded)
	}
	for _, s := range []*side{istio, embedded} {
		c.delivered(t, s)
	}
	t.Logf("%d requests on %d routes, %d of them mirrored by Istio, in %.1f s (Istio's mesh: %.1f s)", len(istio.sent), len(c.spec.Table.Routes()),
		istio.mirrored(), time.Since(began).Seconds(), ready.Seconds())
}

// side is what came of the requests on one mesh.
type side struct {
	name     string
	sent     []*request
	answers  []answer
	receipts map[string]map[string][]traffic.Receipt // by the request's id and the version
	counted  map[string]uint64                       // what the gateway's counters rose by
}

// play stands a mesh up, sends the requests, and collects what is known of them.
func (c *table) play(t *testing.T, m scenarios.Mesh) *side {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandIn)
	defer cancel()
	running, err := m.Up(ctx, c.spec)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := running.Close(); err != nil {
			t.Error(err)
		}
	}()
	s := &side{name: strings.TrimPrefix(fmt.Sprintf("%T", m), "*"), sent: c.requests()}
	before := c.drained(ctx, t, running)
	if s.answers, err = sendAll(ctx, running.Address(), s.sent); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	s.counted = c.drained(ctx, t, running)
	for name, n := range before {
		s.counted[name] -= n
	}
	if s.receipts, err = collect(ctx, running); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	return s
}

func (c *table) requests() []*request {
	draw := rand.New(rand.NewPCG(routeSeed, 0))
	all := make([]*request, perTable)
	for i := range all {
		all[i] = draws{draw, c.host}.request(fmt.Sprintf("%s-%d", c.name, i))
	}
	return all
}

// covered sees that the requests reach each route, so that a rule that nobody aims at is not taken for tested.
func (c *table) covered(t *testing.T) {
	t.Helper()
	reached := map[string]int{}
	for _, r := range c.requests() {
		if d := c.spec.Table.Match(r.model(c.spec.Port)); d.Route != nil {
			reached[d.Route.Name]++
		}
	}
	for _, r := range c.spec.Table.Routes() {
		if reached[r.Name] < atLeast {
			t.Errorf("route %s is reached by %d requests: aim at its rule", r.Name, reached[r.Name])
		}
	}
}

// drained awaits that nothing is under way and gives the counters, which stand still then.
func (c *table) drained(ctx context.Context, t *testing.T, running mesh.Running) map[string]uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, drainIn)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	var last map[string]uint64
	for {
		now, err := running.Counters(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if last != nil && maps.Equal(now, last) && idle(now) {
			return now
		}
		last = now
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("the mirrored requests did not end within %v: %v", drainIn, now)
		}
	}
}

func idle(counters map[string]uint64) bool {
	for name, n := range counters {
		if n > 0 && (strings.HasSuffix(name, ".upstream_rq_active") || strings.HasSuffix(name, ".upstream_rq_pending_active")) {
			return false
		}
	}
	return true
}

func collect(ctx context.Context, running mesh.Running) (map[string]map[string][]traffic.Receipt, error) {
	all := map[string]map[string][]traffic.Receipt{}
	err := running.Receipts(ctx, func(version, _ string, stream io.Reader) error {
		for r, err := range traffic.ReadReceipts(stream) {
			if err != nil {
				return err
			}
			if all[r.ID] == nil {
				all[r.ID] = map[string][]traffic.Receipt{}
			}
			all[r.ID][version] = append(all[r.ID][version], r)
		}
		return nil
	})
	return all, err
}

// differences tells each kind of difference with the request that shows it, the first few times.
type differences struct {
	t *testing.T
	n int
}

// enough bounds what is told of one set of manifests.
const enough = 12

func (w *differences) add(r *request, format string, args ...any) {
	w.t.Helper()
	if w.n++; w.n > enough {
		w.t.Fail()
		return
	}
	w.t.Errorf("%s\n%q", fmt.Sprintf(format, args...), r.raw())
}

// answer compares what both gateways answered, and with the model.
func (w *differences) answer(r *request, d *route.Decision, istio, embedded answer) {
	if istio.status != embedded.status {
		w.add(r, "Istio answers %d, the embedded mesh %d, the model says %d", istio.status, embedded.status, d.Status)
		return
	}
	if d.Status != 0 && istio.status != d.Status {
		w.add(r, "both answer %d, the model says %d", istio.status, d.Status)
	}
	if istio.location != embedded.location || d.Status != 0 && istio.location != d.Location {
		w.add(r, "Istio redirects to %q, the embedded mesh to %q, the model to %q", istio.location, embedded.location, d.Location)
	}
	if istio.route != embedded.route {
		w.add(r, "Istio sets the header %s to %q, the embedded mesh to %q", routeHeader, istio.route, embedded.route)
	}
	if istio.body != embedded.body && istio.status != http.StatusBadRequest { // who refuses a request words it freely
		w.add(r, "Istio answers %q, the embedded mesh %q", istio.body, embedded.body)
	}
	if (istio.version == "") != (embedded.version == "") || istio.version != embedded.version && !several(d) {
		w.add(r, "version %q served at Istio, %q in the embedded mesh", istio.version, embedded.version)
	}
}

// several tells whether the gateway draws among destinations.
func several(d *route.Decision) bool {
	return d.Route != nil && len(d.Route.Destinations) > 1
}

// forwards tells whether a decision leads to a pod. The faults of these manifests befall every request or none.
func (c *table) forwards(d *route.Decision) bool {
	return d.Route != nil && d.Route.Kind == route.Forward && (d.Route.Fault == nil || d.Route.Fault.AbortNumerator == 0)
}

// versions are those that a cluster's pods have.
func (c *table) versions(cluster string) (all []string) {
	for _, w := range c.spec.Workloads {
		if k := c.spec.Table.Cluster(cluster); k.Missing == "" && k.Selects(w) {
			all = append(all, w.Version)
		}
	}
	return all
}

// primary holds what served a request, and its receipt there, against the model.
func (c *table) primary(w *differences, r *request, d *route.Decision, a answer, s *side) {
	receipts := s.receipts[r.id]
	if !c.forwards(d) {
		if a.version != "" || len(receipts) > 0 {
			w.add(r, "%s: the model does not forward it, and version %q answered; receipts %+v", s.name, a.version, receipts)
		}
		return
	}
	to := slices.IndexFunc(d.Route.Destinations, func(to route.Destination) bool { return slices.Contains(c.versions(to.Cluster), a.version) })
	if to < 0 {
		w.add(r, "%s: route %s has no destination of version %q, which answered %d", s.name, d.Route.Name, a.version, a.status)
		return
	}
	own := receipts[a.version]
	if len(own) == 0 || len(own) > 1 && s.sum("upstream_rq_retry") == 0 {
		w.add(r, "%s: %d receipts of version %s, which answered", s.name, len(own), a.version)
	}
	for _, got := range own {
		c.receipt(w, r, d, &d.Route.Destinations[to], &got, s)
	}
}

// receipt holds what reached a pod against the model.
func (c *table) receipt(w *differences, r *request, d *route.Decision, to *route.Destination, got *traffic.Receipt, s *side) {
	if authority := d.AuthorityFor(to); got.Method != r.method || got.Path != d.Path || got.Authority != authority || got.BodyBytes != int64(len(r.body)) || got.BodyCut {
		w.add(r, "%s: version %s got %s %q of %q with %d bytes, and the model says %s %q of %q with %d", s.name, got.Version,
			got.Method, got.Path, got.Authority, got.BodyBytes, r.method, d.Path, authority, len(r.body))
	}
}

// mirrors holds the shadows' receipts against the model: none where no mirror was possible, one where it was certain, and nested
// where it is drawn.
func (c *table) mirrors(w *differences, r *request, d *route.Decision, s *side) {
	if !c.forwards(d) {
		return
	}
	expected := map[string]bool{}
	for _, to := range d.Route.Destinations {
		for _, v := range c.versions(to.Cluster) {
			expected[v] = true
		}
	}
	nested := uint32(0) // the largest fraction that the request was not drawn for
	for _, m := range d.Route.Mirrors {
		for _, v := range c.versions(m.Cluster) {
			expected[v] = true
			got := s.receipts[r.id][v]
			if len(got) > 1 || len(got) == 1 && m.Numerator <= nested || len(got) == 0 && m.Numerator == 1_000_000 {
				w.add(r, "%s: route %s mirrors %d per million to %s, where %d receipts are; a mirror of %d per million has none", s.name, d.Route.Name,
					m.Numerator, v, len(got), nested)
			}
			if len(got) == 0 {
				nested = max(nested, m.Numerator)
			}
			for _, shadow := range got {
				c.receipt(w, r, d, &d.Route.Destinations[0], &shadow, s)
			}
		}
	}
	for v := range s.receipts[r.id] {
		if !expected[v] {
			w.add(r, "%s: version %s, which route %s does not lead to, has a receipt", s.name, v, d.Route.Name)
		}
	}
}

// sameReceipt compares the client's own headers and the body as they reached the app in both meshes, wherever it is.
func (c *table) sameReceipt(w *differences, r *request, istio, embedded *side) {
	var all []traffic.Receipt
	for _, s := range []*side{istio, embedded} {
		for _, v := range slices.Sorted(maps.Keys(s.receipts[r.id])) {
			all = append(all, s.receipts[r.id][v]...)
		}
	}
	for _, got := range all {
		if got.HeaderSHA256 != all[0].HeaderSHA256 && got.Version == all[0].Version || got.BodySHA256 != all[0].BodySHA256 {
			w.add(r, "the receipts differ: %+v and %+v", all[0], got)
			return
		}
	}
}

// delivered holds what the gateway says that it mirrored against the receipts.
func (c *table) delivered(t *testing.T, s *side) {
	t.Helper()
	primaries, mirrors := map[string]bool{}, map[string]bool{}
	for _, r := range c.spec.Table.Routes() {
		for _, to := range r.Destinations {
			primaries[to.Cluster] = true
		}
		for _, m := range r.Mirrors {
			mirrors[m.Cluster] = true
		}
	}
	for cluster := range mirrors {
		if primaries[cluster] {
			t.Fatalf("cluster %s is a primary too: this test tells shadows by their version", cluster)
		}
		sent, got := s.counted["cluster."+cluster+".upstream_rq_total"], 0
		for _, versions := range s.receipts {
			for _, v := range c.versions(cluster) {
				got += min(1, len(versions[v]))
			}
		}
		if sent != uint64(got) {
			t.Errorf("%s: the gateway sent %d requests to %s, and %d have a receipt there", s.name, sent, cluster, got)
		}
	}
}

// mirrored counts the requests that reached a shadow.
func (s *side) mirrored() (n int) {
	for i, r := range s.sent {
		others := len(s.receipts[r.id])
		if s.answers[i].version != "" {
			others--
		}
		n += min(1, others)
	}
	return n
}

// sum adds up a counter over the clusters.
func (s *side) sum(counter string) (n uint64) {
	for name, value := range s.counted {
		if strings.HasSuffix(name, "."+counter) {
			n += value
		}
	}
	return n
}
