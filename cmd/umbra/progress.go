package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"umbra/internal/live"
	"umbra/replay"
)

// tellEvery is how often a line tells of the load: in umbra.log, and where standard error is no terminal there too.
const tellEvery = 5 * time.Second

// progress shows a run on standard error, and keeps what it says in umbra.log. It is a scenarios.Viewer. Close it.
type progress struct {
	*live.State
	gauge replay.Gauge // for the run's transports

	mu      sync.Mutex
	out     io.Writer
	log     io.Writer
	begun   bool     // the load has
	display *display // nil: lines are told
	page    *live.Server
	stop    chan struct{} // ends the teller
	teller  sync.WaitGroup
}

// newProgress shows a run, whose gauge is the progress's own.
func newProgress(out, log io.Writer, run live.Run) *progress {
	p := &progress{out: out, log: log, stop: make(chan struct{})}
	run.Gauge = &p.gauge
	p.State = live.New(run)
	return p
}

// serve shows the run on a page, too, where there is a listener for one.
func (p *progress) serve(o *liveOptions) {
	if o.listener == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.page = live.Serve(o.listener, p.State)
	p.say("the run is shown at " + p.page.URL() + " while it goes on")
}

// Step implements scenarios.Watcher.
func (p *progress) Step(text string) {
	p.State.Step(text)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.say(live.Plain(text))
}

// Note keeps what is of no concern to who watches.
func (p *progress) Note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(text)
}

// say tells a text that is plain.
func (p *progress) say(text string) {
	line := "umbra: " + text + "\n"
	if p.display == nil || !p.display.print(line) {
		io.WriteString(p.out, line)
	}
	p.note(text)
}

func (p *progress) note(text string) {
	fmt.Fprintln(p.log, time.Now().UTC().Format(time.RFC3339Nano), text)
}

// Playing implements scenarios.Viewer. With the first load the display begins, and the telling.
func (p *progress) Playing(part live.Part) {
	p.State.Playing(part)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.begun {
		return
	}
	p.begun = true
	if terminal := drawable(p.out); terminal != nil {
		p.display = newDisplay(terminal, p.State)
	}
	p.teller.Go(p.tell)
}

// tell tells of the load until the end.
func (p *progress) tell() {
	ticks := time.NewTicker(tellEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-p.stop:
			return
		}
		x := p.Snapshot()
		p.mu.Lock()
		if p.display == nil {
			p.say(x.Line())
		} else {
			p.note(x.Line())
		}
		p.mu.Unlock()
	}
}

// Close ends the display and the page; what is said behind it are plain lines.
func (p *progress) Close() {
	p.mu.Lock()
	select {
	case <-p.stop:
		p.mu.Unlock()
		return
	default:
	}
	close(p.stop)
	p.mu.Unlock()
	p.teller.Wait()
	p.Over()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.display != nil {
		p.display.end()
		p.display = nil
	}
	if p.page != nil {
		if err := p.page.Close(); err != nil {
			p.note("the page of the run: " + err.Error())
		}
		p.page = nil
	}
	if p.begun {
		x := p.Snapshot()
		p.note(x.Line())
	}
}
