package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"umbra/internal/traffic"
)

// progress shows a run on standard error, and keeps its steps in umbra.log: a bar on a terminal, plain lines elsewhere.
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	log   io.Writer
	span  time.Duration // of the plan; 0 where it is unknown
	bars  *mpb.Progress
	bar   *mpb.Bar
	line  atomic.Pointer[string] // what the bar says; mpb's goroutine reads it
	told  time.Time
	due   time.Duration
	ended int
	bad   int
}

// How often plain lines, and the bar, tell how far the load is.
const (
	tellEvery = 5 * time.Second
	drawEvery = 100 * time.Millisecond
)

func newProgress(out, log io.Writer, span time.Duration) *progress {
	return &progress{out: out, log: log, span: span}
}

// Step implements scenarios.Watcher.
func (p *progress) Step(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endBar()
	p.say(text)
	p.told = time.Now()
}

// Note keeps what is of no concern to who watches.
func (p *progress) Note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(text)
}

func (p *progress) say(text string) {
	fmt.Fprintln(p.out, "umbra:", text)
	p.note(text)
}

func (p *progress) note(text string) {
	fmt.Fprintln(p.log, time.Now().UTC().Format(time.RFC3339Nano), text)
}

// Results implements scenarios.Watcher.
func (p *progress) Results(rows []traffic.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended += len(rows)
	for i := range rows {
		p.due = max(p.due, rows[i].Due)
		if rows[i].Outcome != traffic.OK {
			p.bad++
		}
	}
	every := tellEvery
	bar := p.span > 0 && p.due <= p.span && isTerminal(p.out)
	if bar {
		every = drawEvery
	}
	if time.Since(p.told) < every {
		return
	}
	p.told = time.Now()
	if bar {
		p.show()
	} else {
		p.say(p.state())
	}
}

func (p *progress) state() string {
	at := p.due.Round(100 * time.Millisecond).String()
	if p.due <= p.span { // paired blocks come behind the plan
		at += fmt.Sprintf(" of %v", p.span)
	}
	return fmt.Sprintf("%d requests ended, %d of them not ok, %s", p.ended, p.bad, at)
}

func (p *progress) show() {
	state := p.state()
	p.line.Store(&state)
	if p.bar == nil {
		p.bars = mpb.New(mpb.WithOutput(p.out), mpb.WithWidth(60))
		p.bar = p.bars.New(int64(p.span), mpb.BarStyle(), mpb.BarRemoveOnComplete(),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return " " + *p.line.Load() })))
	}
	p.bar.SetCurrent(int64(p.due))
}

func (p *progress) endBar() {
	if p.bar != nil {
		p.bar.Abort(true)
		p.bar = nil
		p.bars.Wait()
		p.note(p.state())
	}
}

// Close ends the bar.
func (p *progress) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endBar()
}
