//go:build !linux

package replay

import "time"

// alarm tells on C when an instant has come.
type alarm struct {
	C     <-chan time.Time
	timer *time.Timer
}

func newAlarm() (*alarm, error) {
	timer := time.NewTimer(time.Hour)
	return &alarm{timer.C, timer}, nil
}

func (a *alarm) set(d time.Duration) { a.timer.Reset(d) }

func (a *alarm) close() { a.timer.Stop() }
