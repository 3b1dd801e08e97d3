//go:build !linux

package replay

import (
	"context"
	"time"
)

// alarm waits until an instant, as well as the runtime's timers do.
type alarm struct {
	timer *time.Timer
	over  <-chan struct{}
}

// newAlarm makes an alarm whose waits end with ctx.
func newAlarm(ctx context.Context) (*alarm, error) {
	return &alarm{time.NewTimer(0), ctx.Done()}, nil
}

// wait returns after d, or when the context has ended.
func (a *alarm) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	a.timer.Reset(d)
	select {
	case <-a.timer.C:
	case <-a.over:
	}
}

func (a *alarm) close() { a.timer.Stop() }
