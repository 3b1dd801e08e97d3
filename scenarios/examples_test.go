package scenarios

import (
	"flag"
	"iter"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"umbra/capture"
	"umbra/internal/route"
	"umbra/internal/sample"
	"umbra/internal/stats"
	"umbra/internal/traffic"
)

// examples are the runnable scenarios.
func examples(t *testing.T) []string {
	var out []string
	for _, file := range glob(t, exampleFiles) {
		if isScenario(file) {
			out = append(out, file)
		}
	}
	return out
}

// Every example says what it shows and how to run it, and loads without a warning.
func TestExamplesLoad(t *testing.T) {
	comment := regexp.MustCompile(`^(# .+\n){2,4}apiVersion: `)
	for _, file := range examples(t) {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !comment.Match(text) || !strings.Contains(string(text), "# umbra run scenarios/examples/"+name+".yaml\n") {
				t.Error("two to four lines of comment should say what it shows and how to run it")
			}
			s := mustLoad(t, file)
			if s.Name != name {
				t.Errorf("its name is %s", s.Name)
			}
			if w := s.Table.Warnings(); len(w) > 0 {
				t.Errorf("warnings: %v", w)
			}
			for _, c := range s.Table.Clusters() {
				if c.Missing != "" {
					t.Errorf("cluster %s: %s", c.Name, c.Missing)
				}
			}
			if s.Checks.Fraction == nil || len(s.Checks.Objectives) == 0 {
				t.Error("it should check the fraction and objectives")
			}
		})
	}
}

// TestMain makes the captures that some examples replay.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := sample.Make("examples"); err != nil {
		log.Fatal(err)
	}
	os.Exit(m.Run())
}

// ingest makes a traffic file of a capture, as the command does.
func ingest(t *testing.T, s *Scenario) {
	if s.Capture == nil || !s.Capture.Raw {
		return
	}
	file := filepath.Join(t.TempDir(), "traffic.jsonl.zst")
	w := capture.NewWriter(file, s.Capture.File, nil, capture.Rotation{})
	err := capture.Read(t.Context(), s.Capture.File, nil, capture.Options{}, w)
	if _, closed := w.Close(); err != nil || closed != nil {
		t.Fatal(err, closed)
	}
	s.Capture.File, s.Capture.Raw = file, false
}

// Every route is hit, and every fraction by enough requests to be decided with power 0.9.
func TestExamplesDecide(t *testing.T) {
	for _, file := range examples(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s := mustLoad(t, file)
			ingest(t, s)
			hits := requestsByRoute(t, s)
			for _, r := range s.Table.RoutesAt(s.Mesh.Port, s.Mesh.Host) {
				if hits[r.Name] == 0 {
					t.Errorf("route %s gets no request", r.Name)
				}
				for _, m := range r.Mirrors {
					if m.Numerator == 0 || m.Numerator == 1e6 {
						continue
					}
					p0 := float64(m.Numerator) / 1e6
					if need := stats.SampleSize(p0, s.Checks.Fraction.Within/100, 0.9); hits[r.Name] < need {
						t.Errorf("route %s, mirror %s: %d requests, want %d", r.Name, m.Cluster, hits[r.Name], need)
					}
				}
			}
		})
	}
}

// requestsByRoute counts the stages' requests, as many as the rates say, by the route that takes each.
func requestsByRoute(t *testing.T, s *Scenario) map[string]int {
	hits := map[string]int{}
	for name, r := range exampleRequests(t, s) {
		header := http.Header{}
		for _, h := range r.Headers {
			header.Add(h[0], h[1])
		}
		d := s.Table.Match(&route.Request{Port: s.Mesh.Port, Scheme: r.Scheme, Method: r.Method, Authority: r.Authority, Path: r.Path, Header: header})
		if d.Route == nil {
			t.Fatalf("%s %s of %s has no route", r.Method, r.Path, name)
		}
		hits[d.Route.Name]++
	}
	return hits
}

// exampleRequests are the requests of a scenario's stages, or of its capture, by the mix entry's name.
func exampleRequests(t *testing.T, s *Scenario) iter.Seq2[string, *traffic.Request] {
	return func(yield func(string, *traffic.Request) bool) {
		if s.Capture != nil {
			for item, err := range s.Plan() {
				if err != nil {
					t.Fatal(err)
				}
				if !yield(item.Name, item.Request) {
					return
				}
			}
			return
		}
		n := 0.0
		for _, stage := range s.Load.Stages {
			n += (stage.Rate + stage.To) / 2 * stage.For.Seconds()
		}
		for i := range uint64(n) {
			if name, r := s.Mix.Request(i); !yield(name, r) {
				return
			}
		}
	}
}
