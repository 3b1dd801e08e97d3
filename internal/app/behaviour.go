package app

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Behaviour is how the app behaves when nothing is wrong with it.
type Behaviour struct {
	Latency              // embedded, so that the JSON of settings is flat
	ErrorRate    float64 `json:"error_rate"` // share of requests answered with 503, 0 to 1
	ResponseSize int     `json:"size"`       // bytes; an answer is never shorter than its JSON
	// What is unset is left out, so that an app of an earlier umbra takes the settings of one that asks for none of it.
	Differ float64 `json:"differ,omitempty"` // share of requests answered with another body than other versions', 0 to 1
	Stamp  bool    `json:"stamp,omitempty"`  // answers tell when they were made
}

// Latency is a log-normal distribution given by its median and 99th percentile; constant where P99 is 0.
type Latency struct {
	P50 time.Duration `json:"latency_p50_ns"`
	P99 time.Duration `json:"latency_p99_ns"`
}

// z99 is the 0.99 quantile of the standard normal distribution.
var z99 = normalQuantile(0.99)

// normalQuantile is the inverse of the standard normal distribution function: √2·erf⁻¹(2p − 1) (NIST Digital Library
// of Mathematical Functions, 7.17 and 7.2.1).
func normalQuantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }

// At is the latency's quantile p, 0 < p < 1. The median of a log-normal variable is e^μ and its quantile
// e^(μ + σ·z(p)), so that σ = ln(P99/P50) / z(0.99) (Johnson, Kotz and Balakrishnan, Continuous Univariate
// Distributions, volume 1, chapter 14).
func (l Latency) At(p float64) time.Duration {
	if l.P99 == 0 || l.P99 == l.P50 {
		return l.P50
	}
	sigma := math.Log(float64(l.P99)/float64(l.P50)) / z99
	return time.Duration(float64(l.P50) * math.Exp(sigma*normalQuantile(p)))
}

func (l Latency) check() error {
	switch {
	case l.P50 < 0 || l.P99 < 0:
		return errors.New("latency: p50 and p99 must not be negative")
	case l.P99 != 0 && (l.P50 == 0 || l.P99 < l.P50):
		return fmt.Errorf("latency: a p99 of %v needs a p50 above 0 and not above it, not %v; leave p99 out for a constant latency", l.P99, l.P50)
	}
	return nil
}

// Check lists what is wrong with the behaviour; nil where nothing is.
func (b Behaviour) Check() error {
	faults := []error{b.Latency.check()}
	if !(b.ErrorRate >= 0 && b.ErrorRate <= 1) {
		faults = append(faults, fmt.Errorf("error rate: %v is not a share from 0 to 1", b.ErrorRate))
	}
	if !(b.Differ >= 0 && b.Differ <= 1) {
		faults = append(faults, fmt.Errorf("differ: %v is not a share from 0 to 1", b.Differ))
	}
	if b.ResponseSize < 0 {
		faults = append(faults, fmt.Errorf("response size: %d bytes is negative", b.ResponseSize))
	}
	return errors.Join(faults...)
}

// The draws of one request.
const (
	drawLatency uint64 = iota
	drawError
	drawDiffer
)

// plan is what the behaviour has in store for one request.
func (b Behaviour) plan(d Draws) (latency time.Duration, fails bool) {
	return b.Latency.At(d.Unit(drawLatency)), d.Unit(drawError) < b.ErrorRate
}

// differs tells whether one request's answer is to be another one.
func (b Behaviour) differs(d Draws) bool { return b.Differ > 0 && d.Unit(drawDiffer) < b.Differ }
