package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/cupwriter"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"umbra/internal/live"
)

// How the display is drawn.
const (
	drawEvery = 200 * time.Millisecond
	barWidth  = 60
	mostRows  = 7 // below the bar, one for each of live.Snapshot's
)

// The least terminal that the display is drawn on.
const (
	leastColumns = 20
	leastLines   = mostRows + 4
)

// drawable gives the terminal that a display can be drawn on; nil where there is none that can move its cursor and has the room.
func drawable(w io.Writer) *os.File {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return nil
	}
	columns, lines, err := term.GetSize(int(f.Fd()))
	if err != nil || columns < leastColumns || lines < leastLines {
		return nil
	}
	return f
}

// display draws what is known of a run several times a second, over and over in one place: a bar of what is played, and a row for each
// figure. Its frames are drawn by one goroutine.
type display struct {
	state   *live.State
	colours bool
	bars    *mpb.Progress
	bar     *mpb.Bar

	share float64 // of what is played, in this frame
	known bool
	rows  []live.Row
}

// newDisplay begins to draw on a terminal.
func newDisplay(out *os.File, state *live.State) *display {
	console := cupwriter.New(leftmost{out}, false)
	console.SetTermFd(int(out.Fd()))
	d := &display{state: state, colours: colours(out), bars: mpb.New(mpb.WithConsoleWriter(console), mpb.WithWidth(barWidth), mpb.WithRefreshRate(drawEvery))}
	var rows []mpb.BarFiller
	for i := range mostRows {
		rows = append(rows, mpb.BarFillerFunc(func(w io.Writer, at decor.Statistics) error { return d.row(w, i, at.AvailableWidth) }))
	}
	style := mpb.BarStyle().Build()
	bar := mpb.BarFillerFunc(func(w io.Writer, at decor.Statistics) error {
		if !d.known {
			return nil
		}
		const whole = 1000
		at.Total, at.Current = whole, int64(d.share*whole)
		return style.Fill(w, at)
	})
	// The bar's end is not its total: the run says when it is over.
	d.bar, _ = d.bars.Add(0, bar, mpb.AppendDecorators(decor.Any(d.begin)), mpb.BarBtmExtender(rows...)) // only a container that has ended refuses it
	return d
}

// leftmost has each frame begin in the first column: a terminal that shows a Ctrl-C as ^C leaves its cursor behind that.
type leftmost struct{ to io.Writer }

// Write implements io.Writer.
func (l leftmost) Write(frame []byte) (int, error) {
	if _, err := io.WriteString(l.to, "\r"); err != nil {
		return 0, err
	}
	return l.to.Write(frame)
}

// begin takes what a frame shows, and gives what stands behind the bar. A frame begins with it.
func (d *display) begin(decor.Statistics) string {
	x := d.state.Snapshot()
	d.rows, d.share, d.known = x.Rows(), 0, false
	if x.Place != nil {
		d.share, d.known = x.Place.Share()
	}
	if !d.known {
		return ""
	}
	return fmt.Sprintf("%3.0f %%", 100*d.share)
}

// row writes a frame's i-th row, cut where the terminal ends; nothing where there is none.
func (d *display) row(w io.Writer, i, width int) error {
	if i >= len(d.rows) {
		return nil
	}
	row := d.rows[i]
	text := runewidth.Truncate(fmt.Sprintf("  %-9s %s", row.Name, row.Value), width-1, "…")
	if row.Bad && d.colours {
		text = "\x1b[31m" + text + "\x1b[0m"
	}
	_, err := io.WriteString(w, text+"\n")
	return err
}

// print puts lines above the display; false where that has ended, as the terminal has gone.
func (d *display) print(lines string) bool {
	_, err := d.bars.Write([]byte(lines))
	return err == nil
}

// end takes the display away, and waits for its goroutines.
func (d *display) end() {
	d.bar.Abort(true)
	d.bars.Wait()
}
