package reports

import (
	"fmt"
	"strings"

	"umbra/internal/verdict"
)

// diagram is the mesh as a drawing: the client, the gateway under it, and from a trunk below the gateway each route's lanes, the
// primaries and then the mirrors. All is in units of the drawing.
type diagram struct {
	Desc         string
	Height, Foot int // of the drawing, and where the trunk ends
	Load, Host   string
	Routes       []branch
	More         string // how many routes are left out
}

// branch is a route.
type branch struct {
	Y     int
	Name  string
	Lanes []lane
}

// lane is an arrow from the trunk to a box.
type lane struct {
	Y            int    // of its middle
	Mirror       bool   // a mirror's, else a primary's
	Above, Under string // beside the arrow
	Kind, To     string // in the box
}

const (
	diagramTop             = 128 // where the first route begins
	branchHead, laneHeight = 24, 52
	boxShown, nameShownIn  = 31, 52 // characters in a box and in a route's name
)

// Diagram draws the mesh.
func (v *view) Diagram() *diagram {
	f := &v.Figures
	d := &diagram{Load: fmt.Sprintf("%d planned, %d answered", f.Planned, f.OK), Host: middle(inert(v.Mesh.Host), 44)}
	said := []string{fmt.Sprintf("The client planned %d requests, %d of which were answered, through the gateway host %s.", f.Planned, f.OK, inert(v.Mesh.Host))}
	routes, more := bounded(v.Mesh.Routes, drawn)
	d.More = more
	y := diagramTop
	for i := range routes {
		b := v.branch(&routes[i], y)
		d.Routes = append(d.Routes, b)
		d.Foot = b.Lanes[len(b.Lanes)-1].Y
		y = d.Foot + laneHeight/2 + 10
		said = append(said, b.words())
	}
	d.Height, d.Desc = y, strings.Join(said, " ")
	return d
}

func (v *view) branch(r *Route, y int) branch {
	b := branch{Y: y, Name: middle(inert(r.Name), nameShownIn)}
	add := func(l lane) {
		l.Y, l.To = y+branchHead+laneHeight/2+len(b.Lanes)*laneHeight, middle(inert(l.To), boxShown)
		b.Lanes = append(b.Lanes, l)
	}
	to, _ := bounded(r.To, drawn)
	for i, cluster := range to {
		l := lane{Kind: "primary", To: verdict.ShortCluster(cluster)}
		if c := r.Counts; c != nil && i == 0 {
			l.Above, l.Under = fmt.Sprintf("%d sent", c.Sent), fmt.Sprintf("%d arrived", c.Arrived)
			if len(r.To) > 1 {
				l.Above += " in all"
			}
		}
		add(l)
	}
	if len(to) == 0 {
		l := lane{Kind: "no upstream", To: "answered at the gateway"}
		if c := r.Counts; c != nil {
			l.Above = fmt.Sprintf("%d sent", c.Sent)
		}
		add(l)
	}
	mirrors, _ := bounded(r.Mirrors, drawn)
	for i := range mirrors {
		m := &mirrors[i]
		l := lane{Mirror: true, Kind: "shadow", To: verdict.ShortCluster(m.Cluster), Above: verdict.Digits(m.Programmed) + " % mirrored"}
		if c := m.Counts; c != nil {
			l.Under = fmt.Sprintf("%d of %d", c.Mirrored, c.Eligible)
		}
		if item := v.item(verdict.Delivery, "", m.Cluster); item != nil && item.Delivery != nil {
			l.Kind = fmt.Sprintf("shadow: %d copies arrived", item.Delivery.Arrived)
		}
		add(l)
	}
	return b
}

// words are a branch for who does not see it.
func (b *branch) words() string {
	said := make([]string, len(b.Lanes))
	for i, l := range b.Lanes {
		said[i] = joined("", l.Kind) + " " + l.To + joined(", ", l.Above) + joined(", ", l.Under)
	}
	return fmt.Sprintf("Route %s: %s.", b.Name, strings.Join(said, "; "))
}

// NameY and so on are where the parts of a branch and a lane are.
func (b branch) NameY() int { return b.Y + 16 }

func (l lane) AboveY() int { return l.Y - 6 }
func (l lane) UnderY() int { return l.Y + 16 }
func (l lane) BoxY() int   { return l.Y - 19 }
func (l lane) KindY() int  { return l.Y - 4 }
func (l lane) ToY() int    { return l.Y + 12 }

// Configured is the table of the mesh.
func (v *view) Configured() *grid {
	g := &grid{Caption: "Routes and mirrors", Head: []string{"route", "to", "mirror", "configured, %", "programmed, of 1,000,000"}, Right: 3}
	for _, r := range v.Mesh.Routes {
		to := make([]string, len(r.To))
		for i, c := range r.To {
			to[i] = verdict.ShortCluster(c)
		}
		primary := or(strings.Join(to, ", "), "answered at the gateway")
		for _, m := range r.Mirrors {
			g.Rows = append(g.Rows, row(r.Name, primary, verdict.ShortCluster(m.Cluster), verdict.Digits(m.Percent), fmt.Sprint(m.Numerator)))
		}
		if len(r.Mirrors) == 0 {
			g.Rows = append(g.Rows, row(r.Name, primary, "none", "", ""))
		}
	}
	return g.bound()
}
