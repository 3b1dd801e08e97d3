//go:build e2e

package cluster_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"umbra/internal/evidence"
	"umbra/internal/traffic"
	"umbra/internal/verdict"
	"umbra/reports"
)

// scenario is one of the scenarios of these tests.
func scenario(name string) string { return filepath.Join("testdata", "e2e", name+".yaml") }

// timed tells the verdicts that depend on how fast this machine is.
func timed(name string) bool {
	return name == verdict.Impact || name == verdict.Objectives || name == verdict.Rate
}

// wantPassed wants a run whose integrity, delivery and sampling pass, and whose exit status is 0 unless a verdict on time made it another.
func wantPassed(t *testing.T, r *reports.Report, status int) {
	t.Helper()
	onTime := true
	for _, v := range r.Verdicts {
		switch {
		case v.State == verdict.Pass:
		case timed(v.Name):
			onTime = onTime && v.State == verdict.NotTested
			t.Logf("%s: %s: %s", v.Name, v.State, v.Summary)
		default:
			t.Errorf("%s: %s: %s %+v %q", v.Name, v.State, v.Summary, v.Findings, v.Warnings)
		}
	}
	if status != r.ExitStatus || status != verdict.ExitPassed && onTime || r.Partial != "" {
		t.Errorf("exit status %d, the report's is %d, partial %q", status, r.ExitStatus, r.Partial)
	}
	for _, name := range []string{verdict.Integrity, verdict.Delivery, verdict.Sampling} {
		if judged(r, name).State == "" {
			t.Errorf("no verdict on %s", name)
		}
	}
}

// judged is a verdict by its name.
func judged(r *reports.Report, name string) verdict.Verdict {
	for _, v := range r.Verdicts {
		if v.Name == name {
			return v
		}
	}
	return verdict.Verdict{}
}

// receipts reads a run's receipts of one side.
func receipts(t *testing.T, dir, file string) (all []traffic.Receipt) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r, err := range traffic.ReadReceipts(f) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// machine is the part of this machine on which a cluster of its own could leave traces: its containers and network, volumes that
// nobody uses, and the files of the user's home and of the temporary folder, both of which are this test's own. Others may use the
// engine at the same time.
type machine struct{ name, network, home, tmp string }

// trace is what is there.
type trace map[string][]string

// ownMachine gives commands of this test a network, a home and a temporary folder of their own.
func ownMachine(t *testing.T, name string) (*machine, trace) {
	t.Helper()
	needEngine(t)
	m := &machine{name: name, network: name + "-net", home: t.TempDir(), tmp: t.TempDir()}
	if os.Getenv("DOCKER_CONFIG") == "" { // the engine's address may stand there
		t.Setenv("DOCKER_CONFIG", filepath.Join(os.Getenv("HOME"), ".docker"))
	}
	t.Setenv("KUBECONFIG", "")
	t.Setenv("KIND_EXPERIMENTAL_DOCKER_NETWORK", m.network)
	t.Setenv("KIND_EXPERIMENTAL_PODMAN_NETWORK", m.network)
	t.Cleanup(func() { // a failed test's
		if _, stderr, status, err := command(context.Background(), "down", "--on", "kind", "--name", name); err != nil || status != 0 {
			t.Errorf("cluster %s is still there: %v: %s", name, err, stderr)
		}
	})
	t.Setenv("HOME", m.home)
	t.Setenv("TMPDIR", m.tmp)
	return m, m.look(t)
}

func (m *machine) look(t *testing.T) trace {
	t.Helper()
	list := func(args ...string) []string { return strings.Fields(engine(t, args...)) }
	return trace{
		"container": list("ps", "-a", "--filter", "name="+m.name, "--format", "{{.Names}}"),
		"network":   list("network", "ls", "--filter", "name="+m.network, "--format", "{{.Name}}"),
		"volume":    list("volume", "ls", "-q", "--filter", "dangling=true"),
		"file":      append(files(t, m.home), files(t, m.tmp)...),
	}
}

// stands tells whether the cluster is there.
func (m *machine) stands(t *testing.T) bool {
	t.Helper()
	return len(m.look(t)["container"]) > 0
}

// wantNoTrace wants the machine as it was.
func (m *machine) wantNoTrace(t *testing.T, before trace) {
	t.Helper()
	for what, names := range m.look(t) {
		for _, name := range names {
			if !slices.Contains(before[what], name) {
				t.Errorf("%s %s was left", what, name)
			}
		}
	}
}

func files(t *testing.T, folder string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// wantFolder wants all the evidence in a run's folder, and nothing half written.
func wantFolder(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{evidence.Scenario, evidence.Manifests, evidence.Results, evidence.PrimaryReceipts, evidence.ShadowReceipts,
		evidence.Before, evidence.After, evidence.Run, evidence.Log, evidence.Report,
		"mesh/config_dump-istio-ingressgateway-*-before.json", "mesh/config_dump-istio-ingressgateway-*-after.json", evidence.HDR + "/*.hlog", evidence.HDR + "/*.hgrm"} {
		found, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil || len(found) == 0 {
			t.Errorf("%s is not in the folder: %v", name, err)
		}
		for _, file := range found {
			if info, err := os.Stat(file); err != nil || info.Size() == 0 {
				t.Errorf("%s is empty: %v", file, err)
			}
		}
	}
	for _, file := range files(t, dir) {
		if strings.HasSuffix(file, ".part") {
			t.Errorf("%s was left", file)
		}
	}
}

// From nothing to a verdict, then gone without a trace.
func TestE2EFromNothing(t *testing.T) {
	m, before := ownMachine(t, clusterName()+"-nothing")
	dir := filepath.Join(t.TempDir(), "run")
	began := time.Now()
	_, stderr, status := umbra(t, "run", example("full"), "--on", "kind", "--name", m.name, "--json", "--out", dir)
	t.Logf("from nothing to a verdict, and gone: %.1f s", time.Since(began).Seconds())
	r := report(t, dir)
	wantPassed(t, r, status)
	wantFolder(t, dir)
	m.wantNoTrace(t, before)
	if !strings.Contains(stderr, "cluster deleted") {
		t.Error("it does not say that the cluster was deleted")
	}
	var pods []string
	for _, receipt := range receipts(t, dir, evidence.ShadowReceipts) {
		pods = append(pods, receipt.Pod)
	}
	slices.Sort(pods)
	if pods = slices.Compact(pods); len(pods) != 2 {
		t.Errorf("receipts of the shadow's pods %q, want two pods", pods)
	}
	if r.Run.Cluster == nil || r.Run.Cluster.Reused || r.Run.Cluster.Istio == "" || r.Run.Cluster.Kubernetes == "" {
		t.Errorf("the run's cluster is %+v", r.Run.Cluster)
	}
}

// background is a command under way, whose messages can be waited for.
type background struct {
	t     *testing.T
	c     *exec.Cmd
	lines chan string // of standard error; closed at its end
	log   strings.Builder
	ended bool
}

// start begins a command. It has ended when the test has.
func start(t *testing.T, args ...string) *background {
	t.Helper()
	if !underWay.TryRLock() {
		t.Fatal(errEnded)
	}
	b, stderr := &background{t: t, lines: make(chan string, 1000)}, io.Reader(nil)
	ctx, cancel := context.WithTimeout(t.Context(), commandIn)
	c, err := prepared(ctx, args...)
	if err == nil {
		stderr, err = c.StderrPipe()
	}
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		cancel()
		underWay.RUnlock()
		t.Fatal(err)
	}
	b.c = c
	forget := context.AfterFunc(ended, cancel)
	go func() { // it ends with the command
		defer underWay.RUnlock()
		defer close(b.lines)
		for in := bufio.NewScanner(stderr); in.Scan(); {
			b.lines <- in.Text()
		}
		io.Copy(io.Discard, stderr) // of a line without an end
	}()
	t.Cleanup(func() {
		forget()
		cancel()
		b.end()
	})
	return b
}

// until waits for a message.
func (b *background) until(text string) {
	b.t.Helper()
	for line := range b.lines {
		b.log.WriteString(line + "\n")
		if strings.Contains(line, text) {
			return
		}
	}
	b.t.Fatalf("it ended without %q:\n%s", text, &b.log)
}

// interrupt is Ctrl-C.
func (b *background) interrupt() {
	b.t.Helper()
	if err := b.c.Process.Signal(os.Interrupt); err != nil {
		b.t.Fatal(err)
	}
}

// end waits for the command's end and gives its exit status.
func (b *background) end() int {
	b.t.Helper()
	if b.ended {
		return b.c.ProcessState.ExitCode()
	}
	for line := range b.lines {
		b.log.WriteString(line + "\n")
	}
	b.ended = true
	var exit *exec.ExitError
	if err := b.c.Wait(); err != nil && !errors.As(err, &exit) {
		b.t.Error(err)
	}
	b.t.Logf("%s: exit status %d\n%s", strings.Join(b.c.Args[1:], " "), b.c.ProcessState.ExitCode(), &b.log)
	return b.c.ProcessState.ExitCode()
}

// Ctrl-C takes everything away: while the cluster is made, while the mesh is deployed into it, and during the load, of which a
// partial report is left.
func TestE2EInterrupted(t *testing.T) {
	runs := t.TempDir() // outside of the temporary folder that is looked at
	m, before := ownMachine(t, clusterName()+"-interrupt")
	for _, at := range []struct {
		name, message string
		loaded        bool
	}{
		{"while the cluster is made", "starting the mesh", false},
		{"while the mesh is deployed", "istiod ready", false},
		{"during the load", "replaying", true},
	} {
		t.Run(at.name, func(t *testing.T) {
			dir := filepath.Join(runs, at.name)
			b := start(t, "run", scenario("long"), "--on", "kind", "--name", m.name, "--json", "--out", dir)
			b.until(at.message)
			switch {
			case at.loaded:
				b.until(" ended, ")
			case at.message == "starting the mesh":
				m.await(t)
			}
			began := time.Now()
			b.interrupt()
			if status := b.end(); status != 130 {
				t.Errorf("exit status %d, want 130", status)
			}
			t.Logf("gone %.1f s after Ctrl-C", time.Since(began).Seconds())
			m.wantNoTrace(t, before)
			wantPartial(t, dir, at.loaded)
		})
	}
}

// await waits until the engine has the cluster's container.
func (m *machine) await(t *testing.T) {
	t.Helper()
	eventually(t, "the container of "+m.name, func() bool { return m.stands(t) })
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(commandIn)
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("waited %v for %s", commandIn, what)
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

// wantPartial wants what an interrupted run leaves: its record, and the report of what was done where the load had begun.
func wantPartial(t *testing.T, dir string, loaded bool) {
	t.Helper()
	record, err := evidence.ReadRecord(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !record.Interrupted || record.Partial() == "" {
		t.Errorf("the record says interrupted %v, partial %q", record.Interrupted, record.Partial())
	}
	if !loaded {
		return
	}
	r := report(t, dir)
	wantFolder(t, dir)
	if r.Partial == "" || r.ExitStatus == verdict.ExitPassed || r.Figures.OK == 0 {
		t.Errorf("partial %q, exit status %d, %d requests answered", r.Partial, r.ExitStatus, r.Figures.OK)
	}
	if v := judged(r, verdict.Integrity); v.State != verdict.Inconclusive || len(v.Findings) > 0 {
		t.Errorf("%s: %s: %s %+v", v.Name, v.State, v.Summary, v.Findings)
	}
}

// sampled wants the figures of one mirror of a report: at least so many eligible requests, of which the fraction was mirrored.
type sampled struct {
	route, cluster string
	percent        float64
	atLeast        int
}

func wantSampled(t *testing.T, r *reports.Report, wanted ...sampled) {
	t.Helper()
	items := judged(r, verdict.Sampling).Items
	for _, w := range wanted {
		i := slices.IndexFunc(items, func(i verdict.Item) bool {
			return i.Sampling != nil && strings.Contains(i.Route, w.route) && strings.Contains(i.Cluster, w.cluster)
		})
		if i < 0 {
			t.Errorf("no sampling of %s to %s among %+v", w.route, w.cluster, items)
			continue
		}
		f := items[i].Sampling
		t.Logf("%s to %s: %d of %d, %.2f %% to %.2f %%", w.route, w.cluster, f.Mirrored, f.Eligible, f.LowPercent, f.HighPercent)
		if f.Eligible < w.atLeast || f.Numerator != uint32(w.percent*1e4) || items[i].State != verdict.Pass {
			t.Errorf("%s to %s: %s, n %d, want at least %d; numerator %d, want %v", w.route, w.cluster, items[i].State, f.Eligible, w.atLeast, f.Numerator, w.percent*1e4)
		}
		if w.percent == 100 && f.Mirrored != f.Eligible {
			t.Errorf("%s to %s: %d of %d mirrored", w.route, w.cluster, f.Mirrored, f.Eligible)
		}
	}
}

// wantShadow wants receipts of the shadow that all are allowed, and some of each kind.
func wantShadow(t *testing.T, dir string, kind func(traffic.Receipt) (name string, allowed bool), kinds ...string) {
	t.Helper()
	seen := map[string]int{}
	for _, r := range receipts(t, dir, evidence.ShadowReceipts) {
		name, allowed := kind(r)
		if seen[name]++; !allowed {
			t.Errorf("%s %s (%s) reached %s", r.Method, r.Path, r.ID, r.Version)
		}
	}
	t.Logf("the shadow's receipts: %v", seen)
	for _, name := range kinds {
		if seen[name] == 0 {
			t.Errorf("no %s reached the shadow", name)
		}
	}
}

// No percentage is 100 %, 0 is nothing at all, and 10 % is 10 %, each by enough requests to be sure.
func TestE2EFractions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	r, status := runIn(t, dir, scenario("fractions"))
	wantPassed(t, r, status)
	wantSampled(t, r, sampled{"absent", "v2", 100, 200}, sampled{"all", "v2", 100, 200}, sampled{"tenth", "v2", 10, 22_200})
	wantShadow(t, dir, func(r traffic.Receipt) (string, bool) {
		first, _, _ := strings.Cut(strings.TrimPrefix(r.Path, "/"), "/")
		return first, first != "none"
	}, "absent", "all", "api")
}

// Rules by header, method and prefix take what they say, 50 % is 50 %, and no write reaches v2 where only reads are mirrored.
func TestE2ERules(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	r, status := runIn(t, dir, scenario("rules"))
	wantPassed(t, r, status)
	wantSampled(t, r, sampled{"marked", "v2", 100, 200}, sampled{"reads", "v2", 100, 500}, sampled{"half", "v2", 50, 15_350})
	wantShadow(t, dir, func(r traffic.Receipt) (string, bool) {
		switch {
		case strings.HasPrefix(r.Path, "/carts/"):
			return r.Method, slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, r.Method)
		case strings.HasPrefix(r.Path, "/plain/"):
			return "unmarked", false
		case strings.HasPrefix(r.Path, "/api/v2/marked/"):
			return "marked", true
		}
		return "half", strings.HasPrefix(r.Path, "/api/v2/")
	}, http.MethodGet, http.MethodHead, http.MethodOptions, "marked", "half")
}

// Two mirrors of one route, each with its fraction.
func TestE2ETwoMirrors(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	r, status := runIn(t, dir, scenario("mirrors"))
	wantPassed(t, r, status)
	wantSampled(t, r, sampled{"both", "v2", 10, 3_850}, sampled{"both", "v3", 50, 3_850}, sampled{"marked", "v2", 10, 1_500})
	wantShadow(t, dir, func(r traffic.Receipt) (string, bool) {
		return r.Version, r.Version == "v2" || r.Version == "v3" && strings.HasPrefix(r.Path, "/api/items/")
	}, "v2", "v3")
}

// The example of reads: every one of them reaches the shadow, and no write.
func TestE2EReadsOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	r, status := runIn(t, dir, example("reads-only"))
	wantPassed(t, r, status)
	wantShadow(t, dir, func(r traffic.Receipt) (string, bool) {
		return r.Method, slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, r.Method)
	}, http.MethodGet, http.MethodHead, http.MethodOptions)
}
