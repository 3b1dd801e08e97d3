package scenarios

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"umbra/internal/route"
	"umbra/internal/stats"
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

// Every route is hit, and every fraction by enough requests to be decided with power 0.9.
func TestExamplesDecide(t *testing.T) {
	for _, file := range examples(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s := mustLoad(t, file)
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
	n := 0.0
	for _, stage := range s.Load.Stages {
		n += (stage.Rate + stage.To) / 2 * stage.For.Seconds()
	}
	hits := map[string]int{}
	for i := range uint64(n) {
		name, r := s.Mix.Request(i)
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
