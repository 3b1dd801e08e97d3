package reports

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"umbra/internal/verdict"
)

// chart is a picture of series over a common x axis, as data. The template "chart" draws it as SVG, with a legend and, in a part that
// opens, a table of the same figures for who does not see the picture. Colours, dashes and markers follow the order of the series, so
// that nothing rests on the colour alone. Equal charts are drawn as equal bytes.
type chart struct {
	ID     string // unique in the page
	Title  string // what it shows
	Desc   string // what it shows and how, in a sentence or two, for who does not see it; empty: made of the names
	X, Y   axis
	Series []series
	Marks  []mark
}

// axis says how values are placed.
type axis struct {
	Label  string // with the unit
	Scale  scale
	Holds  []float64            // values that the axis takes in whatever the data are, such as 0
	Format func(float64) string // of a value; nil: four significant digits
}

// scale is how an axis places values.
type scale int

const (
	linear      scale = iota
	logarithmic       // values above 0; others have no place
	nines             // percentiles from 0 to below 100, by log 1/(1−p)
)

// series is values over x in the order of x.
type series struct {
	Name   string
	Style  style
	Points []point
}

// style is how a series is drawn.
type style int

const (
	line style = iota // points joined by a line, their intervals a band around it
	step              // a value holds up to the next point, the last one to the end of the axis
	dots              // points alone, their intervals as whiskers
	band              // the intervals alone, as an area
)

// point is a value. One that is not a number, or that has no place on its axis, is a gap.
type point struct {
	X, Y     float64
	Interval *span // nil: none
}

// span is an interval of a value.
type span struct{ Low, High float64 }

// mark is a vertical line, which the legend names.
type mark struct {
	X    float64
	Name string
}

// The picture is narrow, so that it is readable on a telephone as it is; wider screens show several side by side. All is in units of the
// drawing, at the origin of which is the upper left corner.
const (
	chartWidth, chartHeight               = 400, 250
	plotLeft, plotRight, plotTop, plotEnd = 54, 378, 24, 208
)

// of is where a value lies before it is fitted to the plot; NaN where it has no place.
func (s scale) of(v float64) float64 {
	switch {
	case s == logarithmic && v > 0:
		return math.Log10(v)
	case s == nines && v >= 0 && v < 100:
		return -math.Log10(1 - v/100)
	case s == linear && !math.IsInf(v, 0):
		return v
	}
	return math.NaN()
}

// ruler places the values of an axis between two edges of the plot.
type ruler struct {
	axis
	low, high float64 // on the scale
	from, to  float64 // in units of the drawing
	ticks     []float64
}

func (r *ruler) at(v float64) float64 {
	return r.from + (r.Scale.of(v)-r.low)/(r.high-r.low)*(r.to-r.from)
}

// measure makes the ruler of an axis for values; a loose one ends at ticks.
func (a axis) measure(values []float64, from, to float64, loose bool) *ruler {
	r := &ruler{axis: a, from: from, to: to, low: math.Inf(1), high: math.Inf(-1)}
	for _, v := range slices.Concat(values, a.Holds) {
		if at := a.Scale.of(v); !math.IsNaN(at) {
			r.low, r.high = min(r.low, at), max(r.high, at)
		}
	}
	if r.low > r.high {
		r.low, r.high = 0, 1
	}
	switch {
	case a.Scale == linear && r.low == 0 && r.high == 0: // counts of nothing
		r.high = 1
	case r.high-r.low < 1e-9*max(1, math.Abs(r.high)):
		r.low, r.high = r.low-margin(a.Scale, r.low), r.high+margin(a.Scale, r.high)
	}
	switch a.Scale {
	case linear:
		r.evenly(loose)
	case logarithmic:
		r.byDecades(loose)
	case nines:
		r.byNines()
	}
	return r
}

// margin is what a single value gets to each of its sides.
func margin(s scale, v float64) float64 {
	if s == linear && v != 0 {
		return math.Abs(v) / 10
	}
	return 0.3
}

// evenly puts about five ticks at 1, 2 or 5 times a power of ten.
func (r *ruler) evenly(loose bool) {
	rough := (r.high - r.low) / 4
	power := math.Pow(10, math.Floor(math.Log10(rough)))
	gap := power * 10
	for _, m := range []float64{1, 2, 5} {
		if m*power >= rough*(1-1e-9) {
			gap = m * power
			break
		}
	}
	first, last := math.Ceil(r.low/gap-1e-9), math.Floor(r.high/gap+1e-9)
	if loose {
		first, last = math.Floor(r.low/gap+1e-9), math.Ceil(r.high/gap-1e-9)
		r.low, r.high = first*gap, last*gap
	}
	for i := first; i <= last; i++ {
		r.ticks = append(r.ticks, i*gap+0) // never −0
	}
}

// byDecades puts ticks at 1, 2 and 5 times powers of ten, or at these alone where there are many.
func (r *ruler) byDecades(loose bool) {
	var all []float64
	for e := math.Floor(r.low) - 1; e <= math.Ceil(r.high); e++ {
		for _, m := range []float64{1, 2, 5} {
			all = append(all, m*math.Pow(10, e))
		}
	}
	if loose {
		low, high := r.low, r.high
		for _, v := range all {
			switch at := math.Log10(v); {
			case at <= low+1e-9:
				r.low = at
			case at >= high-1e-9 && r.high == high:
				r.high = at
			}
		}
	}
	few := r.high-r.low > 2.5
	for _, v := range all {
		at := math.Log10(v)
		whole := math.Abs(at-math.Round(at)) < 1e-9
		if at >= r.low-1e-9 && at <= r.high+1e-9 && (whole || !few) {
			r.ticks = append(r.ticks, v)
		}
	}
}

// byNines puts ticks at 0, 50, 90, 99, 99.9 and so on.
func (r *ruler) byNines() {
	r.ticks = []float64{0, 50}
	for beyond := 10.0; scale(nines).of(100-beyond) <= r.high+1e-9; beyond /= 10 {
		r.ticks = append(r.ticks, math.Round((100-beyond)*1e9)/1e9)
	}
	r.ticks = slices.DeleteFunc(r.ticks, func(v float64) bool { at := r.Scale.of(v); return at < r.low-1e-9 || at > r.high+1e-9 })
}

// text writes a value of the axis.
func (a axis) text(v float64) string {
	if a.Format != nil {
		return a.Format(v)
	}
	return verdict.Digits(v)
}

// drawing is a chart as SVG; coordinates are strings of few decimals.
type drawing struct {
	Width, Height int
	XTicks        []tickMark
	YTicks        []tickMark
	Layers        []layer
	Marks         []string
	Left, Right   string
	Top, End      string
}

// tickMark is a tick of an axis, with its place on it.
type tickMark struct{ At, Text string }

// layer is a series as drawn: a path for its line, one for its area, and markers.
type layer struct {
	Class      string
	Line, Area outline
	Markers    []marker
}

// marker is a symbol with its text, which a pointer that rests on it shows.
type marker struct {
	Path outline
	Text string
}

// outline is what SVG draws along. It is of our own making, and never cut.
type outline string

// classes is how many different looks there are; style.css has one for each.
const classes = 6

// Class names the look of the i-th series.
func (c *chart) Class(i int) string { return fmt.Sprintf("s%d", i%classes+1) }

// Drawing draws the chart.
func (c *chart) Drawing() drawing {
	var xs, ys []float64
	for _, s := range c.Series {
		for _, p := range s.Points {
			xs = append(xs, p.X)
			if s.Style != band {
				ys = append(ys, p.Y)
			}
			if p.Interval != nil {
				ys = append(ys, p.Interval.Low, p.Interval.High)
			}
		}
	}
	for _, m := range c.Marks {
		xs = append(xs, m.X)
	}
	x, y := c.X.measure(xs, plotLeft, plotRight, false), c.Y.measure(ys, plotEnd, plotTop, true)
	d := drawing{Width: chartWidth, Height: chartHeight, Left: coordinate(plotLeft), Right: coordinate(plotRight), Top: coordinate(plotTop), End: coordinate(plotEnd)}
	d.XTicks, d.YTicks = apart(marked(x)), marked(y)
	for i, s := range c.Series {
		d.Layers = append(d.Layers, pen{x, y, s, i}.draw(c.Class(i)))
	}
	for _, m := range c.Marks {
		if at := x.at(m.X); !math.IsNaN(at) {
			d.Marks = append(d.Marks, coordinate(at))
		}
	}
	return d
}

func marked(r *ruler) (out []tickMark) {
	for _, v := range r.ticks {
		out = append(out, tickMark{coordinate(r.at(v)), r.text(v)})
	}
	return out
}

// apart leaves out the ticks whose texts would run into the one before.
func apart(ticks []tickMark) (out []tickMark) {
	const character = 7.0
	end := math.Inf(-1)
	for _, t := range ticks {
		at, _ := strconv.ParseFloat(t.At, 64)
		half := character * float64(len([]rune(t.Text))) / 2
		if at-half > end {
			out, end = append(out, t), at+half+character/2
		}
	}
	return out
}

// pen draws a series.
type pen struct {
	x, y *ruler
	series
	index int
}

func (p pen) draw(class string) layer {
	l := layer{Class: class}
	if p.Style == line || p.Style == step {
		l.Line = p.line()
	}
	if p.Style == line || p.Style == band {
		l.Area = p.area()
	}
	if p.Style == dots {
		l.Line = p.whiskers()
	}
	if p.Style != band {
		l.Markers = p.markers()
	}
	return l
}

// place is where a value lies; ok is false where it has no place.
func (p pen) place(x, y float64) (at [2]float64, ok bool) {
	at = [2]float64{p.x.at(x), p.y.at(y)}
	return at, !math.IsNaN(at[0]) && !math.IsNaN(at[1])
}

// line is the path of a line or of steps, in several parts where there are gaps.
func (p pen) line() outline {
	var b strings.Builder
	under := false
	for i, v := range p.Points {
		at, ok := p.place(v.X, v.Y)
		switch {
		case !ok:
		case !under:
			fmt.Fprintf(&b, "M%s %s", coordinate(at[0]), coordinate(at[1]))
		case p.Style == step:
			fmt.Fprintf(&b, "V%s", coordinate(at[1]))
		default:
			fmt.Fprintf(&b, "L%s %s", coordinate(at[0]), coordinate(at[1]))
		}
		if ok && p.Style == step {
			end := p.x.to
			if i+1 < len(p.Points) {
				end = p.x.at(p.Points[i+1].X)
			}
			fmt.Fprintf(&b, "H%s", coordinate(end))
		}
		under = ok
	}
	return outline(b.String())
}

// area is the path around the intervals, one part for each run of points that have one.
func (p pen) area() outline {
	var b strings.Builder
	var upper, lower [][2]float64
	end := func() {
		slices.Reverse(lower)
		for i, at := range slices.Concat(upper, lower) {
			fmt.Fprintf(&b, "%c%s %s", "ML"[min(i, 1)], coordinate(at[0]), coordinate(at[1]))
		}
		if len(upper) > 0 {
			b.WriteByte('Z')
		}
		upper, lower = nil, nil
	}
	for _, v := range p.Points {
		if v.Interval == nil {
			end()
			continue
		}
		high, ok := p.place(v.X, v.Interval.High)
		low, also := p.place(v.X, v.Interval.Low)
		if !ok || !also {
			end()
			continue
		}
		upper, lower = append(upper, high), append(lower, low)
	}
	end()
	return outline(b.String())
}

// whiskers are the intervals of points, each a line with an end to both sides.
func (p pen) whiskers() outline {
	var b strings.Builder
	for _, v := range p.Points {
		if v.Interval == nil {
			continue
		}
		low, ok := p.place(v.X, v.Interval.Low)
		high, also := p.place(v.X, v.Interval.High)
		if ok && also {
			left, right := coordinate(low[0]-3), coordinate(low[0]+3)
			fmt.Fprintf(&b, "M%s %sH%sM%s %sV%sM%s %sH%s", left, coordinate(low[1]), right, coordinate(low[0]), coordinate(low[1]), coordinate(high[1]), left, coordinate(high[1]), right)
		}
	}
	return outline(b.String())
}

// Where there are more points than maxMarkers, about so many have a marker; those of other series have it elsewhere.
const maxMarkers = 24

func (p pen) markers() (out []marker) {
	every := 1
	if p.Style != dots {
		every = 1 + len(p.Points)/maxMarkers
	}
	for i, v := range p.Points {
		if at, ok := p.place(v.X, v.Y); ok && i%every == p.index%every {
			out = append(out, marker{symbol(p.index, at), p.Name + ", " + p.x.text(v.X) + ": " + p.cell(v)})
		}
	}
	return out
}

// cell is a point in figures.
func (p pen) cell(v point) string { return (&chart{Y: p.y.axis}).value(&p.series, v) }

// symbols are the markers, by the index of the series: circle, square, triangle, diamond, cross, upright cross.
var symbols = [classes]string{"m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0", "m-2-2h4v4h-4z", "m0-3l3 5h-6z", "m0-3l3 3l-3 3l-3-3z", "m-2-2l4 4m-4 0l4-4", "m-3 0h6m-3-3v6"}

func symbol(index int, at [2]float64) outline {
	return outline(fmt.Sprintf("M%s %s%s", coordinate(at[0]), coordinate(at[1]), symbols[index%classes]))
}

// Sample is the marker of the i-th series for the legend, in the middle of a box of 30 by 12.
func (c *chart) Sample(i int) outline { return symbol(i, [2]float64{15, 6}) }

// IsBand tells whether the i-th series is an area.
func (c *chart) IsBand(i int) bool { return c.Series[i].Style == band }

// HasLine tells whether the i-th series has a line through its points.
func (c *chart) HasLine(i int) bool { return c.Series[i].Style == line || c.Series[i].Style == step }

// Described is the description.
func (c *chart) Described() string {
	if c.Desc != "" {
		return c.Desc
	}
	names := make([]string, len(c.Series))
	for i, s := range c.Series {
		names[i] = s.Name
	}
	return fmt.Sprintf("%s of %s, by %s. The table below has the same figures.", c.Y.Label, strings.Join(names, ", "), c.X.Label)
}

// MarkText names a mark with its place.
func (c *chart) MarkText(m mark) string { return fmt.Sprintf("at %s: %s", c.X.text(m.X), m.Name) }

// Table is the same figures as a table: a row for each x, a column for each series.
func (c *chart) Table() *grid {
	g := &grid{Caption: c.Title + ", in figures (" + c.Y.Label + ")", Head: []string{c.X.Label}}
	rows := map[float64][]any{}
	for i, s := range c.Series {
		g.Head = append(g.Head, s.Name)
		for _, p := range s.Points {
			if rows[p.X] == nil {
				rows[p.X] = row(append([]string{c.X.text(p.X)}, make([]string, len(c.Series))...)...)
			}
			rows[p.X][i+1] = c.value(&s, p)
		}
	}
	xs := make([]float64, 0, len(rows))
	for x := range rows {
		xs = append(xs, x)
	}
	slices.Sort(xs)
	for _, x := range xs {
		g.Rows = append(g.Rows, rows[x])
	}
	return g
}

// value is a point of a series in figures, with its interval.
func (c *chart) value(s *series, p point) string {
	text := ""
	if s.Style != band && !math.IsNaN(c.Y.Scale.of(p.Y)) {
		text = c.Y.text(p.Y)
	}
	switch {
	case p.Interval == nil:
		return text
	case text == "":
		return c.Y.text(p.Interval.Low) + " … " + c.Y.text(p.Interval.High)
	}
	return fmt.Sprintf("%s (%s … %s)", text, c.Y.text(p.Interval.Low), c.Y.text(p.Interval.High))
}

// coordinate writes one decimal at the most.
func coordinate(v float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(math.Round(v*10)/10, 'f', 1, 64), ".0")
}
