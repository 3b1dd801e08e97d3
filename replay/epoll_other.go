//go:build !linux

package replay

import (
	"errors"
	"time"
)

// fastName is empty: this system has the portable path alone.
const fastName = ""

func newFast(time.Time, int, bool, bool) (reactor, error) {
	return nil, errors.New("this system has no fast path")
}
