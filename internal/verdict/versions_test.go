package verdict

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"umbra/internal/traffic"
)

// compareBed is a run of which everything is mirrored, and whose versions answer alike.
func compareBed(n int) *bed {
	b := newBed(setup{n: n, routes: defaultRoutes(million), route: func(int) string { return reads }})
	for i := range b.receipts {
		answerAlike(&b.receipts[i])
	}
	return b
}

func answerAlike(r *traffic.Receipt) {
	r.Version, _, _ = strings.Cut(r.Pod, "-")
	r.ResponseSHA256, r.ResponseJSONSHA256 = "r"+r.ID, ""
}

// spoil changes the receipts at a cluster of the first n requests.
func (b *bed) spoil(cluster string, n int, change func(*traffic.Receipt)) {
	for i := range b.receipts {
		if r := &b.receipts[i]; slices.Contains(b.facts.Pods[cluster], r.Pod) && n > 0 {
			change(r)
			n--
		}
	}
}

func (b *bed) recon() *Recon {
	r := NewRecon()
	for i := range b.results {
		r.AddResult(&b.results[i])
	}
	for i := range b.receipts {
		r.AddReceipt(&b.receipts[i])
	}
	return r
}

func (b *bed) compare() *Versions { return b.recon().Versions(b.facts) }

func withStatus(status int) func(*traffic.Receipt) {
	return func(r *traffic.Receipt) { r.Status = status }
}

func TestVersionsStatuses(t *testing.T) {
	for name, c := range map[string]struct {
		spoil   func(*bed)
		want    StatusFigures // but for the shares
		differs int
	}{
		"alike": {func(*bed) {}, StatusFigures{BothSucceeded: 300, PValue: 1}, 0},
		"the shadow fails": {func(b *bed) { b.spoil(v2, 10, withStatus(503)) },
			StatusFigures{BothSucceeded: 290, ShadowFailed: 10, PValue: 2 * math.Pow(0.5, 10), Changes: []StatusChange{{200, 503, 10}}}, 10},
		"the primary fails": {func(b *bed) { b.spoil(v1, 3, withStatus(500)) },
			StatusFigures{BothSucceeded: 297, PrimaryFailed: 3, PValue: 0.25, Changes: []StatusChange{{500, 200, 3}}}, 3},
		"both fail": {func(b *bed) { b.spoil(v1, 5, withStatus(503)); b.spoil(v2, 5, withStatus(503)) },
			StatusFigures{BothSucceeded: 295, BothFailed: 5, PValue: 1}, 0},
		"both fail, otherwise": {func(b *bed) { b.spoil(v1, 5, withStatus(503)); b.spoil(v2, 5, withStatus(500)) },
			StatusFigures{BothSucceeded: 295, BothFailed: 5, PValue: 1, Changes: []StatusChange{{503, 500, 5}}}, 5},
		"no success of the HTTP kind, but none fails": {func(b *bed) { b.spoil(v2, 7, withStatus(404)); b.spoil(v2, 2, withStatus(499)) },
			StatusFigures{BothSucceeded: 300, PValue: 1, Changes: []StatusChange{{200, 404, 5}, {200, 499, 2}}}, 7},
		"more kinds than are told": {func(b *bed) {
			for i := range 12 {
				b.spoil(v2, 12-i, withStatus(412-i))
			}
		}, StatusFigures{BothSucceeded: 300, PValue: 1, Changes: []StatusChange{{200, 401, 1}, {200, 402, 1}, {200, 403, 1}, {200, 404, 1}, {200, 405, 1}, {200, 406, 1}, {200, 407, 1}, {200, 408, 1}, {200, 409, 1}, {200, 410, 1}}}, 12},
	} {
		t.Run(name, func(t *testing.T) {
			b := compareBed(300)
			c.spoil(b)
			v := b.compare()
			if len(v.Mirrors) != 1 || v.Mirrors[0].Pairs != 300 || v.Mirrors[0].LeftOut != 0 {
				t.Fatalf("%+v", v)
			}
			got := v.Mirrors[0].Status
			c.want.Differing = shareOf(c.differs, 300)
			if d := cmp.Diff(c.want, got, cmpopts.EquateApprox(1e-9, 0)); d != "" {
				t.Error(d)
			}
			if g := v.Mirrors[0]; g.Route != reads || g.Cluster != v2 || g.Primary != "v1" || g.Shadow != "v2" || g.Approximate || g.Noise.Why != unmeasured {
				t.Errorf("%+v", g)
			}
			if g := got.Differing; g.N != 300 || g.Count != c.differs || g.Low > g.Percent || g.High < g.Percent || g.High-g.Low > 12 {
				t.Errorf("share %+v", g)
			}
		})
	}
}

func TestVersionsBodies(t *testing.T) {
	body := func(digest string) func(*traffic.Receipt) {
		return func(r *traffic.Receipt) { r.ResponseSHA256 = digest + r.Pod }
	}
	normalised := func(digest string) func(*traffic.Receipt) {
		return func(r *traffic.Receipt) { r.ResponseJSONSHA256 = digest + r.ID }
	}
	all := func(b *bed, change func(*traffic.Receipt)) { b.spoil(v1, 300, change); b.spoil(v2, 300, change) }
	for name, c := range map[string]struct {
		spoil                  func(*bed)
		n, differs, normalised int
		why                    string
	}{
		"alike":           {func(*bed) {}, 300, 0, 0, ""},
		"by their digest": {func(b *bed) { b.spoil(v2, 15, body("x")) }, 300, 15, 0, "another body"},
		"by their JSON": {func(b *bed) { all(b, normalised("n")); b.spoil(v2, 15, normalised("x")) },
			300, 15, 300, "another body, also without the ignored paths"},
		"stamps, which are ignored":     {func(b *bed) { all(b, body("stamped")); all(b, normalised("n")) }, 300, 0, 300, ""},
		"stamps, which are not ignored": {func(b *bed) { all(b, body("stamped")) }, 300, 300, 0, "another body"},
		"JSON of one alone": {func(b *bed) {
			all(b, normalised("n"))
			b.spoil(v2, 4, func(r *traffic.Receipt) { r.ResponseJSONSHA256 = "" })
		}, 300, 0, 296, ""},
		"no digest":      {func(b *bed) { b.spoil(v2, 20, func(r *traffic.Receipt) { r.ResponseSHA256 = "" }) }, 280, 0, 0, ""},
		"other statuses": {func(b *bed) { b.spoil(v2, 20, body("x")); b.spoil(v2, 12, withStatus(503)) }, 288, 8, 0, "v2 answered 503, v1 200"},
	} {
		t.Run(name, func(t *testing.T) {
			b := compareBed(300)
			c.spoil(b)
			v := b.compare()
			want := BodyFigures{Differing: shareOf(c.differs, c.n), Normalised: c.normalised}
			if d := cmp.Diff(want, v.Mirrors[0].Body); d != "" {
				t.Error(d)
			}
			if len(v.Examples) == 0 != (c.why == "") || c.why != "" && v.Examples[0].Why != c.why {
				t.Errorf("examples %+v", v.Examples)
			}
		})
	}
}

// What is no pair is left out, and counted where it was mirrored.
func TestVersionsPairs(t *testing.T) {
	result := func(change func(*traffic.Result)) func(*bed) { return func(b *bed) { change(&b.results[0]) } }
	copied := func(change func(*traffic.Receipt)) func(*bed) { return func(b *bed) { b.spoil(v2, 1, change) } }
	primary := func(change func(*traffic.Receipt)) func(*bed) { return func(b *bed) { b.spoil(v1, 1, change) } }
	again := func(cluster string) func(*bed) {
		return func(b *bed) { r, _ := b.first(cluster); b.receipts = append(b.receipts, *r) }
	}
	for name, c := range map[string]struct {
		spoil          func(*bed)
		pairs, leftOut int
	}{
		"all":                       {func(*bed) {}, 100, 0},
		"timed out":                 {result(func(r *traffic.Result) { r.Outcome = traffic.Timeout }), 99, 0},
		"warm-up":                   {result(func(r *traffic.Result) { r.Phase = traffic.PhaseWarmup }), 99, 0},
		"cool-down":                 {result(func(r *traffic.Result) { r.Phase = traffic.PhaseCooldown }), 99, 0},
		"in a block":                {result(func(r *traffic.Result) { r.Phase, r.Arm, r.Block = traffic.PhaseBlock, "off", 0 }), 100, 0},
		"no row":                    {func(b *bed) { b.results = b.results[1:] }, 99, 0},
		"a row twice":               {func(b *bed) { b.results = append(b.results, b.results[0]) }, 99, 0},
		"no copy":                   {func(b *bed) { b.lose(v2) }, 99, 0},
		"no primary receipt":        {func(b *bed) { b.lose(v1) }, 99, 1},
		"two copies":                {again(v2), 99, 1},
		"two primaries":             {again(v1), 99, 1},
		"unfinished copy":           {copied(func(r *traffic.Receipt) { r.Duration, r.Status = traffic.Never, 0 }), 99, 1},
		"unfinished primary":        {primary(func(r *traffic.Receipt) { r.Duration, r.Status = traffic.Never, 0 }), 99, 1},
		"a copy without an answer":  {copied(withStatus(0)), 99, 1},
		"a primary without one":     {primary(withStatus(0)), 99, 1},
		"a receipt without an id":   {copied(func(r *traffic.Receipt) { r.ID = "" }), 99, 0},
		"a copy elsewhere":          {copied(func(r *traffic.Receipt) { r.Pod = "v3-a" }), 99, 0},
		"a row without a route":     {result(func(r *traffic.Result) { r.Route = "" }), 99, 0},
		"a row of an unknown route": {result(func(r *traffic.Result) { r.Route = "gone" }), 99, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := compareBed(100)
			c.spoil(b)
			g := b.compare().Mirrors[0]
			if g.Pairs != c.pairs || g.LeftOut != c.leftOut || g.Status.Differing.N != c.pairs {
				t.Errorf("%d pairs and %d left out, want %d and %d", g.Pairs, g.LeftOut, c.pairs, c.leftOut)
			}
		})
	}
}

func TestVersionsWithoutPairs(t *testing.T) {
	for name, spoil := range map[string]func(*bed){
		"no mirror":    func(b *bed) { b.facts.Routes[0].Mirrors = nil },
		"mirrors of 0": func(b *bed) { b.facts.Routes[0].Mirrors[0].Numerator = 0 },
		"no receipts":  func(b *bed) { b.receipts = nil },
		"no rows":      func(b *bed) { b.results = nil },
		"no facts":     func(b *bed) { b.facts = Facts{} },
		"no answers":   func(b *bed) { b.spoil(v2, 100, withStatus(0)) },
	} {
		b := compareBed(100)
		spoil(b)
		if v := b.compare(); v != nil {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// Each mirror of each route is compared for itself; one whose pods are the primary's too, approximately.
func TestVersionsOfSeveralMirrors(t *testing.T) {
	const v3 = "outbound|80|v3|app"
	routes := defaultRoutes(million)
	routes[0].Mirrors = append(routes[0].Mirrors, MirrorFact{v3, 50, 500_000})
	routes[1].Mirrors = []MirrorFact{{v1, 100, million}}
	b := newBed(setup{n: 400, routes: routes, pods: map[string][]string{v1: {"v1-a"}, v2: {"v2-a", "v4-a"}, v3: {"v3-a"}}})
	for i := range b.receipts {
		answerAlike(&b.receipts[i])
	}
	b.spoil(v3, 2, withStatus(503))
	got := b.compare().Mirrors
	if len(got) != 3 {
		t.Fatalf("%+v", got)
	}
	for i, want := range []VersionFigures{{Route: reads, Cluster: v2, Primary: "v1", Shadow: "v2, v4", Pairs: 300}, {Route: reads, Cluster: v3, Primary: "v1", Shadow: "v3", Pairs: b.at(v3)},
		{Route: writer, Cluster: v1, Primary: "v1", Shadow: "v1", Approximate: true, Pairs: 100}} {
		g := got[i]
		if g.Route != want.Route || g.Cluster != want.Cluster || g.Primary != want.Primary || g.Shadow != want.Shadow || g.Approximate != want.Approximate || g.Pairs != want.Pairs || g.Body.Differing.Count != 0 {
			t.Errorf("%+v, want %+v", g, want)
		}
		if failed := g.Status.ShadowFailed; failed != map[string]int{v3: 2}[g.Cluster] {
			t.Errorf("%s: %d failed", g.Cluster, failed)
		}
	}
}

// blockBed has quadruples of four blocks of n requests each, all mirrored; the blocks of a quadruple have equal requests.
func blockBed(quadruples, n int) *bed {
	b := compareBed(4 * quadruples * n)
	b.facts.Experiment = &Experiment{}
	for i := range b.results {
		r := &b.results[i]
		r.Phase, r.Arm, r.Block = traffic.PhaseBlock, "on", i/n
		r.Path = fmt.Sprintf("/%d/%d", i/(4*n), i%n)
		if i%n == 0 {
			b.facts.Experiment.Blocks = append(b.facts.Experiment.Blocks, Block{Index: i / n, Quadruple: i / (4 * n)})
		}
	}
	for i := range b.receipts {
		r := &b.receipts[i]
		r.Path = b.result(r.ID).Path
		r.BodySHA256, r.ResponseSHA256 = "same", "r"+r.Path
	}
	return b
}

func TestVersionsNoise(t *testing.T) {
	for name, c := range map[string]struct {
		spoil           func(*bed)
		pairs           int
		statuses        int
		bodies          int
		explains        bool // the bodies' difference
		why             string
		differingBodies int // of v2 against v1
	}{
		"none":      {func(*bed) {}, 2 * 3 * 50, 0, 0, false, "", 0},
		"no blocks": {func(b *bed) { b.facts.Experiment = nil }, 0, 0, 0, false, unmeasured, 0},
		"stamps": {func(b *bed) {
			for i := range b.receipts {
				b.receipts[i].ResponseSHA256 = fmt.Sprint(i)
			}
		}, 300, 0, 300, true, "", 400},
		"the versions differ, v1 does not": {func(b *bed) { b.spoil(v2, 400, func(r *traffic.Receipt) { r.ResponseSHA256 += "x" }) }, 300, 0, 0, false, "", 400},
		"one answer of v1":                 {func(b *bed) { b.spoil(v1, 1, withStatus(404)) }, 300, 1, 0, false, "", 0},
		"in another order":                 {func(b *bed) { slices.Reverse(b.results); slices.Reverse(b.facts.Experiment.Blocks) }, 300, 0, 0, false, "", 0},
		"cut":                              {func(b *bed) { b.results = b.results[:390] }, 290, 0, 0, false, "", 0},
		"a block is missing": {func(b *bed) {
			b.results = slices.DeleteFunc(b.results, func(r traffic.Result) bool { return r.Block == 1 })
		}, 200, 0, 0, false, "", 0},
		"one was not answered": {func(b *bed) { b.spoil(v1, 1, withStatus(0)) }, 299, 0, 0, false, "", 0},
		"one timed out":        {func(b *bed) { b.results[60].Outcome = traffic.Timeout }, 300, 0, 0, false, "", 0},
		"one has no receipt":   {func(b *bed) { b.lose(v1) }, 299, 0, 0, false, "", 0},
		"other requests": {func(b *bed) {
			for i := range b.receipts {
				b.receipts[i].Path += b.receipts[i].ID
			}
		}, 0, 0, 0, false, "the blocks of a quadruple did not have the same requests", 0},
		"single blocks": {func(b *bed) {
			for i := range b.facts.Experiment.Blocks {
				b.facts.Experiment.Blocks[i].Quadruple = i
			}
		}, 0, 0, 0, false, "no request was answered in two blocks of a quadruple, one behind the other", 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := blockBed(2, 50)
			c.spoil(b)
			g := b.compare().Mirrors[0]
			n := g.Noise
			if n.Pairs != c.pairs || n.Status.Count != c.statuses || n.Body.Differing.Count != c.bodies || n.Why != c.why || n.ExplainsBody != c.explains || n.ExplainsStatus != (c.statuses > 0) {
				t.Errorf("%+v", n)
			}
			if n.Status.N != c.pairs || n.Body.Differing.N != c.pairs-c.statuses || g.Body.Differing.Count != c.differingBodies {
				t.Errorf("%+v beside %+v", n, g.Body)
			}
		})
	}
}

func TestNoiseExplains(t *testing.T) {
	for name, c := range map[string]struct {
		noise, differing Share
		want             bool
	}{
		"as often":            {shareOf(50, 1000), shareOf(52, 1000), true},
		"more often":          {shareOf(90, 1000), shareOf(52, 1000), true},
		"far less often":      {shareOf(5, 1000), shareOf(52, 1000), false},
		"too few to tell":     {shareOf(0, 3), shareOf(52, 1000), false},
		"nothing to explain":  {shareOf(50, 1000), shareOf(0, 1000), false},
		"nothing to do it by": {Share{}, shareOf(1, 1), false},
	} {
		if got := explains(c.noise, c.differing); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A planted ratio lies within its interval, or by chance beside it, but no farther than that is wide; and only quantiles with
// enough pairs beyond them are told.
func TestVersionsTimes(t *testing.T) {
	spread := func(b *bed, ratio float64) {
		for i := range b.receipts {
			r := &b.receipts[i]
			r.Duration = time.Duration(2e6 * math.Exp(0.4*b.random.NormFloat64()))
			if r.Version == "v2" {
				r.Duration = time.Duration(ratio * float64(r.Duration))
			}
		}
	}
	for _, c := range []struct {
		n     int
		ratio float64
		told  []float64
	}{
		{39, 2, nil}, {40, 2, []float64{50}}, {199, 2, []float64{50}}, {200, 2, []float64{50, 90}}, {1999, 1.1, []float64{50, 90}}, {2000, 1, []float64{50, 90, 99}},
		{2000, 1.5, []float64{50, 90, 99}}, {4000, 0.5, []float64{50, 90, 99}},
	} {
		t.Run(fmt.Sprintf("%d pairs, %v times", c.n, c.ratio), func(t *testing.T) {
			b := compareBed(c.n)
			spread(b, c.ratio)
			g := b.compare().Mirrors[0]
			if len(g.Times) != len(c.told) || len(g.Times)+len(g.TimesLeftOut) != 3 {
				t.Fatalf("%+v, %v", g.Times, g.TimesLeftOut)
			}
			for i, p := range g.Times {
				wide := p.High / p.Low
				if p.Quantile != c.told[i] || p.Pairs != c.n || p.Low/wide > c.ratio || p.High*wide < c.ratio || p.Low > p.Ratio || p.High < p.Ratio {
					t.Errorf("%+v", p)
				}
				if exact := float64(p.ShadowNS) / float64(p.PrimaryNS); math.Abs(exact/p.Ratio-1) > 1e-6 {
					t.Errorf("%v is not %v", p.Ratio, exact)
				}
				if c.n >= 2000 && p.Quantile < 99 && wide > 1.2 {
					t.Errorf("the interval is %v wide", wide)
				}
			}
		})
	}
}

// Requests that depend on their neighbours make the interval wider than as many that do not.
func TestVersionsTimesThatDrift(t *testing.T) {
	width := func(stuck int) float64 {
		b := compareBed(2000)
		factor, at := 1.0, 0
		for i := range b.receipts {
			r := &b.receipts[i]
			if r.Version != "v2" {
				continue
			}
			if at%stuck == 0 {
				factor = math.Exp(0.5 * b.random.NormFloat64())
			}
			at++
			r.Duration = time.Duration(factor * float64(r.Duration))
		}
		p := b.compare().Mirrors[0].Times[0]
		return p.High / p.Low
	}
	if alone, stuck := width(1), width(50); stuck < 1+2*(alone-1) {
		t.Errorf("%v with neighbours, %v without", stuck, alone)
	}
}

// Failures first, then other statuses, then bodies, then times; ten in all, some of each kind, and the earlier ones of a kind.
func TestVersionsExamples(t *testing.T) {
	b := compareBed(100)
	b.spoil(v2, 60, func(r *traffic.Receipt) { r.Duration *= 3 })
	b.spoil(v2, 9, func(r *traffic.Receipt) { r.ResponseSHA256 = "other" })
	b.spoil(v2, 5, withStatus(404))
	b.spoil(v2, 2, withStatus(503))
	last := &b.receipts[len(b.receipts)-1]
	last.Duration *= 7
	v := b.compare()
	var got []string
	for _, e := range v.Examples {
		got = append(got, e.ID[6:]+" "+e.Why)
	}
	want := []string{"00 v2 answered 503, v1 200", "01 v2 answered 503, v1 200", "02 v2 answered 404, v1 200", "03 v2 answered 404, v1 200", "04 v2 answered 404, v1 200",
		"05 another body", "06 another body", "07 another body", "63 v2 took 7 times as long", "09 v2 took 3 times as long"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	e := v.Examples[0]
	if e.Method != "GET" || e.Path != "" || e.Route != reads || e.Cluster != v2 || e.Primary.Version != "v1" || e.Primary.Status != 200 || e.Shadow.Status != 503 ||
		e.Primary.Took != time.Millisecond || e.Shadow.Took.Round(time.Microsecond) != 3*time.Millisecond {
		t.Errorf("%+v", e)
	}
	b.spoil(v2, 12, withStatus(500))
	v = b.compare()
	kinds := map[string]int{}
	for _, e := range v.Examples {
		kinds[fmt.Sprint(e.Shadow.Status, " ", strings.Fields(e.Why)[1])]++
	}
	if d := cmp.Diff(map[string]int{"500 answered": 8, "200 took": 2}, kinds); d != "" || v.Examples[7].ID != "00000007" {
		t.Errorf("%+v\n%s", v.Examples, d)
	}
}

// The files tell what the examples are, and when they have told all of it.
func TestVersionsExamplesAreCompleted(t *testing.T) {
	b := compareBed(50)
	b.spoil(v2, 2, func(r *traffic.Receipt) { r.ResponseSHA256, r.ResponseJSONSHA256 = "other", "n" })
	b.results[1].Name = "list"
	v := b.compare()
	told := -1
	for i := range b.results {
		if v.TellResult(&b.results[i]) && told < 0 {
			told = i
		}
	}
	if told != 1 || v.Examples[1].Name != "list" || v.Examples[1].Path != "/api/items" || v.Examples[1].Method != "GET" {
		t.Errorf("told by row %d: %+v", told, v.Examples)
	}
	stranger := b.receipts[0]
	stranger.Arrived = stranger.Arrived.Add(1)
	if told = -1; v.TellReceipt(&stranger) {
		t.Error("a receipt of another arrival tells all")
	}
	for i := range b.receipts {
		if v.TellReceipt(&b.receipts[i]) && told < 0 {
			told = i
		}
	}
	if e := v.Examples[0]; told != 3 || e.Primary.ResponseSHA256 != "r"+e.ID || e.Shadow.ResponseSHA256 != "other" || e.Shadow.ResponseJSONSHA256 != "n" || e.Shadow.Took != time.Millisecond {
		t.Errorf("told by receipt %d: %+v", told, e)
	}
}

// It is data, the same each time, and changes no verdict.
func TestVersionsAgain(t *testing.T) {
	b := blockBed(3, 200)
	b.spoil(v2, 30, withStatus(503))
	b.spoil(v2, 90, func(r *traffic.Receipt) { r.ResponseSHA256 = "other" })
	r := b.recon()
	before, err := r.Judge(b.facts, b.options)
	if err != nil {
		t.Fatal(err)
	}
	first, second := marshalled(t, r.Versions(b.facts)), marshalled(t, r.Versions(b.facts))
	after, _ := r.Judge(b.facts, b.options)
	if first != second || marshalled(t, before) != marshalled(t, after) {
		t.Errorf("%s\nthen\n%s", first, second)
	}
	var back Versions
	if err := json.Unmarshal([]byte(first), &back); err != nil || marshalled(t, &back) != first {
		t.Errorf("%s\nbecame\n%s, %v", first, marshalled(t, &back), err)
	}
}

func marshalled(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// BenchmarkVersions compares a million requests of which a tenth is mirrored.
func BenchmarkVersions(b *testing.B) {
	facts, r := newBed(setup{}).facts, reconMillion(1_000_000)
	for b.Loop() {
		if v := r.Versions(facts); v.Mirrors[0].Pairs != 100_000 {
			b.Fatal(v.Mirrors[0].Pairs)
		}
	}
}
