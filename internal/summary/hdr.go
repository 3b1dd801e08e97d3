package summary

import (
	"errors"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"umbra/internal/traffic"
)

// Metrics are the names of the histograms that a run has.
var Metrics = []string{"response", "service", "lag"}

// scale divides values in .hgrm tables: nanoseconds become milliseconds.
const scale = 1e6

// metric is one histogram over a run: an interval log, and the sum of the stages.
type metric struct {
	log     *hdrhistogram.HistogramLogWriter
	total   *hdrhistogram.Histogram
	current map[traffic.Phase]*hdrhistogram.Histogram
}

// HDR writes HdrHistogram V2 interval logs, an interval a second, tagged with the phase, and then percentile tables of
// the stages. Values are nanoseconds; a log's Interval_Max is in milliseconds, as the format's readers expect. A row
// enters the interval in which it ended, or the one being filled where that one is over (rows come nearly in order), so
// memory does not grow with the length of the run.
type HDR struct {
	metrics map[string]*metric
	start   time.Time
	second  int64
}

// NewHDR starts the logs of a run that began at start; open makes the file of each metric.
func NewHDR(start time.Time, open func(metric string) (io.Writer, error)) (*HDR, error) {
	h := &HDR{metrics: map[string]*metric{}, start: start}
	for _, name := range Metrics {
		w, err := open(name)
		if err != nil {
			return nil, err
		}
		m := &metric{hdrhistogram.NewHistogramLogWriter(w), histogram(), map[traffic.Phase]*hdrhistogram.Histogram{}}
		if err := m.begin(start); err != nil {
			return nil, err
		}
		h.metrics[name] = m
	}
	return h, nil
}

func (m *metric) begin(start time.Time) error {
	ms := start.UnixMilli()
	m.log.SetBaseTime(ms)
	return errors.Join(m.log.OutputLogFormatVersion(), m.log.OutputStartTime(ms), m.log.OutputBaseTime(ms), m.log.OutputLegend())
}

// Add records a row; one that was never sent is in no histogram.
func (h *HDR) Add(r *traffic.Result) error {
	if r.Outcome == traffic.Unsent {
		return nil
	}
	if second := int64(r.End / time.Second); second > h.second {
		if err := h.turn(); err != nil {
			return err
		}
		h.second = second
	}
	h.metrics["response"].add(r, r.ResponseTime())
	if r.Sent != traffic.Never {
		h.metrics["service"].add(r, r.ServiceTime())
		h.metrics["lag"].add(r, r.Lag())
	}
	return nil
}

func (m *metric) add(r *traffic.Result, d time.Duration) {
	interval := m.current[r.Phase]
	if interval == nil {
		interval = histogram()
		interval.SetTag(string(r.Phase))
		m.current[r.Phase] = interval
	}
	record(interval, d)
	if r.Phase != traffic.PhaseWarmup {
		record(m.total, d)
	}
}

// turn writes the interval that is over.
func (h *HDR) turn() error {
	begin := h.start.Add(time.Duration(h.second) * time.Second)
	for _, name := range Metrics {
		m := h.metrics[name]
		for _, phase := range []traffic.Phase{traffic.PhaseWarmup, traffic.PhaseStage, traffic.PhaseBlock} {
			interval := m.current[phase]
			if interval == nil || interval.TotalCount() == 0 {
				continue
			}
			interval.SetStartTimeMs(begin.UnixMilli())
			interval.SetEndTimeMs(begin.Add(time.Second).UnixMilli())
			if err := m.log.OutputIntervalHistogram(interval); err != nil {
				return err
			}
			interval.Reset()
			interval.SetTag(string(phase))
		}
	}
	return nil
}

// Close writes the last interval, and each metric's percentile table to the writer that open gives.
func (h *HDR) Close(open func(metric string) (io.Writer, error)) error {
	if err := h.turn(); err != nil {
		return err
	}
	for _, name := range Metrics {
		w, err := open(name)
		if err != nil {
			return err
		}
		if _, err := h.metrics[name].total.PercentilesPrint(w, 5, scale); err != nil {
			return err
		}
	}
	return nil
}
