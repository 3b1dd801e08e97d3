// Package pause waits, as precisely as the system can: apps and the embedded gateway play latencies that differ by a
// tenth of a millisecond, and the runtime's own timers round what is left of a wait on an idle process up to a
// millisecond (golang/go#44343).
package pause

import (
	"context"
	"time"
)

// lead is how much of a wait is not left to the runtime's timer: the millisecond that it may be late by, and as much
// again for the scheduler.
const lead = 2 * time.Millisecond

// For waits for d, and not less. It reports false where the context ended first, which ends the wait at once while more
// than lead is left, and is seen at its end else. For may be called concurrently.
func For(ctx context.Context, d time.Duration) bool {
	begin := time.Now()
	if d > lead && !coarse(ctx, d-lead) {
		return false
	}
	if ctx.Err() != nil {
		return false
	}
	if left := d - time.Since(begin); left > 0 {
		fine(left)
	}
	return ctx.Err() == nil
}

// coarse waits by the runtime's timer.
func coarse(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
