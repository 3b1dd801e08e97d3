package runs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbra/internal/evidence"
	"umbra/internal/summary"
	"umbra/internal/verdict"
)

func whole() Run {
	return Run{Source: "runs/a", Name: "shop", Seed: 7, Digests: &Digests{Mesh: "m", Traffic: "t", Load: "l", Checks: "c", Manifests: "0123456789abcdef"},
		Record: evidence.Record{Version: "1.0", Command: []string{"/usr/bin/umbra", "run", "shop.yaml", "--out", "runs/a"}, Mesh: "kind", Machine: evidence.Machine{OS: "linux", Arch: "amd64", CPUs: 2, Go: "go1.26"},
			Stages: []verdict.Stage{{End: 10 * time.Second, Asked: 1000}}, Cluster: &evidence.ClusterFacts{Kubernetes: "v1", Istio: "1.31.0", Proxy: "1.39.0", Node: "n"}, Started: time.Unix(1000, 5)},
		Figures: summary.Figures{Planned: 1000}}
}

func TestDifferences(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Run)
		want   []Difference
	}{
		"none":       {func(r *Run) { r.Source, r.Record.Started = "runs/b", time.Unix(2000, 0) }, nil},
		"out":        {func(r *Run) { r.Record.Command = []string{"umbra", "run", "shop.yaml", "--out=elsewhere"} }, nil},
		"command":    {func(r *Run) { r.Record.Command = []string{"umbra", "run", "shop.yaml", "--nightly"} }, []Difference{{"command", "run shop.yaml", "run shop.yaml --nightly", false}}},
		"seed":       {func(r *Run) { r.Seed = 8 }, []Difference{{"seed", "7", "8", false}}},
		"manifests":  {func(r *Run) { r.Digests = &Digests{"m", "t", "l", "c", "fedcba9876543210"} }, []Difference{{"manifests", "0123456789ab", "fedcba987654", false}}},
		"versions":   {func(r *Run) { r.Record.Cluster = &evidence.ClusterFacts{Kubernetes: "v1", Istio: "1.32.0", Node: "n"} }, []Difference{{"Istio", "1.31.0", "1.32.0", false}, {"gateway proxy", "1.39.0", "not recorded", false}}},
		"load":       {func(r *Run) { r.Digests = &Digests{"m", "t", "k", "c", "0123456789abcdef"} }, []Difference{{"load", "l", "k", true}}},
		"machine":    {func(r *Run) { r.Record.Machine.CPUs = 4 }, []Difference{{"machine", "linux/amd64 with 2 CPUs", "linux/amd64 with 4 CPUs", true}}},
		"closed":     {func(r *Run) { r.Record.ClosedLoop = true }, []Difference{{"stages", "1000 in 10s", "a closed loop", true}}},
		"capture":    {func(r *Run) { r.Record.Capture = &evidence.Capture{File: "/x/shop.zst", Replayed: 9, Captured: 10} }, []Difference{{"capture", "none", "shop.zst, 9 of 10 requests", true}}},
		"no digests": {func(r *Run) { r.Digests = nil }, []Difference{{"traffic", "t", "not recorded", true}, {"load", "l", "not recorded", true}, {"mesh section of the scenario", "m", "not recorded", true}, {"checks", "c", "not recorded", true}, {"manifests", "0123456789ab", "not recorded", false}}},
	} {
		t.Run(name, func(t *testing.T) {
			b := whole()
			c.change(&b)
			if d := cmp.Diff(c.want, Differences([]Run{whole()}, []Run{b})); d != "" {
				t.Error(d)
			}
		})
	}
}

// What a side is not alike in itself is a difference, and so is what nobody recorded.
func TestDifferencesWithin(t *testing.T) {
	other, blank := whole(), whole()
	other.Seed, blank.Digests = 9, nil
	want := []Difference{{"seed", "7 or 9", "7 or 9", false}}
	if d := cmp.Diff(want, Differences([]Run{whole(), other}, []Run{other, whole()})); d != "" {
		t.Error(d)
	}
	if got := Differences([]Run{blank}, []Run{blank}); len(got) != 4 || !got[0].Apart {
		t.Errorf("%+v", got)
	}
	blank.Record.Mesh = evidence.NoMesh // which has no scenario
	if got := Differences([]Run{blank}, []Run{blank}); got != nil {
		t.Errorf("%+v", got)
	}
}

func TestKey(t *testing.T) {
	a, b := whole(), whole()
	b.Digests, b.Seed, b.Record.Version = &Digests{"other", "t", "l", "other", "other"}, 9, "2.0"
	if a.Key() != b.Key() {
		t.Error("what may change within a series makes another one")
	}
	b.Digests.Load = "other"
	if a.Key() == b.Key() {
		t.Error("another load is in the same series")
	}
}

func TestSame(t *testing.T) {
	a, b := whole(), whole()
	b.Source = "copied"
	if !a.Same(&b) {
		t.Error("a copy is another run")
	}
	b.Record.Started = b.Record.Started.Add(1)
	if a.Same(&b) {
		t.Error("another instant is the same run")
	}
	a.Record.Started, a.Source = time.Time{}, "x/../y"
	if b.Source = "y"; !a.Same(&b) {
		t.Error("one path is two runs")
	}
}

const resolved = `apiVersion: umbra/v1
kind: Scenario
name: shop
mesh:
  manifests: [manifests.yaml]
  host: shop.example.com
traffic:
  capture: {file: /tmp/one.zst, sample: 100%}
load:
  arrivals: poisson
  seed: 7
  stages: [{rate: 100, for: 10s}]
checks:
  fraction: {within: 1}
`

func TestDigests(t *testing.T) {
	dir := t.TempDir()
	if d, err := DigestFolder(dir); d != nil || err != nil {
		t.Errorf("a folder without a scenario: %v, %v", d, err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	of := func(scenario string) Digests {
		write(evidence.Scenario, scenario)
		d, err := DigestFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		return *d
	}
	write(evidence.Manifests, "kind: Gateway\n")
	base := of(resolved)
	for name, c := range map[string]struct {
		from, to string
		want     func(*Digests) string // nil: all alike
	}{
		"seed":    {"seed: 7", "seed: 8", nil},
		"file":    {"one.zst", "two.zst", nil},
		"order":   {"  arrivals: poisson\n  seed: 7\n", "  seed: 7\n  arrivals: poisson\n", nil},
		"writing": {"{rate: 100, for: 10s}", "{for: \"10s\", rate: 100}", nil},
		"rate":    {"rate: 100", "rate: 101", func(d *Digests) string { return d.Load }},
		"host":    {"shop.example.com", "other.example.com", func(d *Digests) string { return d.Mesh }},
		"sample":  {"sample: 100%", "sample: 50%", func(d *Digests) string { return d.Traffic }},
		"checks":  {"within: 1", "within: 2", func(d *Digests) string { return d.Checks }},
	} {
		text := replaced(t, resolved, c.from, c.to)
		got := of(text)
		if c.want == nil {
			if got != base {
				t.Errorf("%s makes a difference", name)
			}
		} else if c.want(&got) == c.want(&base) {
			t.Errorf("%s makes no difference", name)
		}
	}
	write(evidence.Manifests, "kind: Service\n")
	if got := of(resolved); got.Manifests == base.Manifests || got.Load != base.Load {
		t.Error("other manifests make no difference, or another load")
	}
	write(evidence.Scenario, ":")
	if _, err := DigestFolder(dir); err == nil {
		t.Error("a damaged scenario has digests")
	}
}

func replaced(t *testing.T, text, from, to string) string {
	t.Helper()
	if !strings.Contains(text, from) {
		t.Fatalf("%s is not in the scenario", from)
	}
	return strings.Replace(text, from, to, 1)
}
