package reports

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

func TestTicks(t *testing.T) {
	for name, c := range map[string]struct {
		axis   axis
		values []float64
		loose  bool
		want   string
	}{
		"from 0":          {axis{Holds: []float64{0}}, []float64{130, 437}, true, "[0 200 400 600]"},
		"around 10":       {axis{}, []float64{8.7, 11.2}, true, "[8 9 10 11 12]"},
		"inside only":     {axis{}, []float64{0.5, 29.5}, false, "[10 20]"},
		"one value":       {axis{}, []float64{10}, true, "[9 9.5 10 10.5 11]"},
		"zeros":           {axis{Holds: []float64{0}}, []float64{0, 0}, true, "[0 0.5 1]"},
		"none":            {axis{}, nil, true, "[0 0.5 1]"},
		"below 0":         {axis{}, []float64{-3, 4}, true, "[-4 -2 0 2 4]"},
		"within a decade": {axis{Scale: logarithmic}, []float64{1.2, 4.1}, true, "[1 2 5]"},
		"many decades":    {axis{Scale: logarithmic}, []float64{0.4, 3000, 0, -1}, true, "[1 10 100 1000]"},
		"nines":           {axis{Scale: nines}, []float64{10, 99.99}, false, "[50 90 99 99.9 99.99]"},
		"nines from 0":    {axis{Scale: nines, Holds: []float64{0}}, []float64{99.95, 100}, false, "[0 50 90 99 99.9]"},
	} {
		got := c.axis.measure(c.values, 0, 100, c.loose)
		texts := make([]string, len(got.ticks))
		for i, v := range got.ticks {
			texts[i] = c.axis.text(v)
		}
		if fmt.Sprint(texts) != c.want {
			t.Errorf("%s: %v, want %s", name, texts, c.want)
		}
		for _, v := range c.values {
			if at := got.at(v); !math.IsNaN(at) && (at < -1e-6 || at > 100+1e-6) {
				t.Errorf("%s: %g lies at %g", name, v, at)
			}
		}
	}
}

// example is a chart of every style, with a gap.
func example() *chart {
	return &chart{ID: "c", Title: "All", X: axis{Label: "seconds"}, Y: axis{Label: "milliseconds"}, Marks: []mark{{1, "here"}},
		Series: []series{
			{"a line", line, []point{{0, 1, &span{0.5, 1.5}}, {1, 2, &span{1, 3}}, {2, math.NaN(), nil}, {3, 4, nil}}},
			{"steps", step, []point{{0, 1, nil}, {2, 3, nil}}},
			{"dots", dots, []point{{1, 2, &span{1, 3}}}},
			{"a band", band, []point{{0, 0, &span{0, 1}}, {4, 0, &span{1, 2}}}},
		}}
}

func TestDrawing(t *testing.T) {
	d := example().Drawing()
	for i, want := range []layer{
		{Class: "s1", Line: "M54 162L135 116M297 24", Area: "M54 139L135 70L135 162L54 185Z"},
		{Class: "s2", Line: "M54 162H216V70H378"},
		{Class: "s3", Line: "M132 162H138M135 162V70M132 70H138"},
		{Class: "s4", Area: "M54 162L378 116L378 162L54 208Z"},
	} {
		got := d.Layers[i]
		if got.Class != want.Class || got.Line != want.Line || got.Area != want.Area {
			t.Errorf("%d: %+v, want %+v", i, got, want)
		}
	}
	if got := len(d.Layers[0].Markers); got != 3 {
		t.Errorf("%d markers, of three points and a gap", got)
	}
	if !slices.Equal(d.Marks, []string{"135"}) {
		t.Error(d.Marks)
	}
}

// The table has what the picture shows.
func TestChartAsTable(t *testing.T) {
	got := example().Table()
	want := [][]any{
		row("0", "1 (0.5 … 1.5)", "1", "", "0 … 1"), row("1", "2 (1 … 3)", "", "2 (1 … 3)", ""), row("2", "", "3", "", ""), row("3", "4", "", "", ""), row("4", "", "", "", "1 … 2")}
	if fmt.Sprintf("%q", got.Rows) != fmt.Sprintf("%q", want) {
		t.Errorf("%q, want %q", got.Rows, want)
	}
}
