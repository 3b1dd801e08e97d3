package host

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// File is the name of the run folder's file of seconds, one JSON object a line.
const File = "client.jsonl"

// Second is a second of a run on the client's side. Its Usage may be of a little more or less than a second, as readings
// come late on a busy machine.
type Second struct {
	Second     int64            `json:"second"` // from the start of the run, from 0; rows that came before it are in it
	Rows       int64            `json:"rows"`   // that were recorded in it
	Lag        Lag              `json:"lag"`    // of these rows, sent − max(due, ready)
	ReadLagMax time.Duration    `json:"read_lag_max_ns"`
	Response   time.Duration    `json:"response_p99_ns,omitempty"` // of these rows; 0 where it is not known
	Errors     map[string]int64 `json:"errors,omitempty"`          // of these rows, by class
	Usage
}

// Lag sums up the generator's lateness.
type Lag struct {
	P50 time.Duration `json:"p50_ns"`
	P99 time.Duration `json:"p99_ns"`
	Max time.Duration `json:"max_ns"`
}

// Write appends s to client.jsonl, as one write.
func Write(w io.Writer, s *Second) error {
	line, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// longestLine bounds a line of client.jsonl: a machine has no more loops than fit.
const longestLine = 1 << 20

// Read reads client.jsonl. A last line without an end, as a killed run leaves it, is left out; any other line that is no
// Second is an error that names it, beside the seconds before it.
func Read(r io.Reader) (seconds []Second, err error) {
	lines := bufio.NewReaderSize(r, longestLine)
	for n := 1; ; n++ {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return seconds, nil
		case errors.Is(err, bufio.ErrBufferFull):
			return seconds, fmt.Errorf("line %d has more than %d bytes: it is no second of a client; was the file changed?", n, longestLine)
		case err != nil:
			return seconds, fmt.Errorf("line %d: %w", n, err)
		}
		s, err := parseSecond(line)
		if err == nil && len(seconds) > 0 && s.Second <= seconds[len(seconds)-1].Second {
			err = fmt.Errorf("second %d follows second %d: was the file changed?", s.Second, seconds[len(seconds)-1].Second)
		}
		if err != nil {
			return seconds, fmt.Errorf("line %d: %w", n, err)
		}
		seconds = append(seconds, s)
	}
}

func parseSecond(line []byte) (s Second, err error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, fmt.Errorf("not a second of a client (%w): was the file changed?", err)
	}
	if d.More() {
		return s, errors.New("more than one JSON value: was the file changed?")
	}
	if s.Second < 0 || s.Rows < 0 || s.For < 0 || s.Lag.Max < 0 || s.ReadLagMax < 0 {
		return s, errors.New("a negative figure: was the file changed?")
	}
	return s, nil
}
