package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/spf13/cobra"

	"umbra/capture"
	"umbra/internal/traffic"
)

func trafficCommand() *cobra.Command {
	c := &cobra.Command{Use: "traffic", Short: "Show, redact and convert traffic files", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return errors.New("traffic what? show, redact or convert FILE")
		}}
	c.AddCommand(showCommand(), redactCommand(), convertCommand())
	return c
}

// shown is what show tells of a traffic file.
type shown struct {
	File     string             `json:"file"`
	Header   traffic.FileHeader `json:"header"`
	Requests int64              `json:"requests"`
	Length   time.Duration      `json:"length_ns"`
	Sessions int                `json:"sessions"`
	Bodies   int64              `json:"body_bytes"`
	Answered int64              `json:"answered"`
	Methods  map[string]int64   `json:"methods"`
	Hosts    map[string]int64   `json:"hosts"`
	Statuses map[string]int64   `json:"statuses"`
	Latency  map[string]int64   `json:"latency_ns"` // of the answers seen: p50, p90, p99, max
	Cut      string             `json:"cut,omitempty"`
}

func showCommand() *cobra.Command {
	var asJSON bool
	var n int
	c := &cobra.Command{
		Use:     "show FILE",
		Short:   "Tell what a traffic file holds, and what its capture lost",
		Example: "  umbra traffic show shop.jsonl.zst\n  umbra traffic show shop.jsonl.zst -n 20",
		Args:    exactly("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			if n < 0 {
				return errors.New("-n is how many requests to list, from 0")
			}
			list := c.OutOrStdout()
			if asJSON {
				list = io.Discard
			}
			s, err := survey(args[0], n, list)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), s)
			}
			return s.print(c.OutOrStdout())
		},
	}
	c.Flags().IntVarP(&n, "requests", "n", 0, "list the first requests, so many")
	jsonFlag(c, &asJSON)
	return c
}

// bounded is how many different hosts and statuses are told apart.
const bounded = 1000

// survey reads a traffic file, and lists its first n requests.
func survey(file string, n int, list io.Writer) (*shown, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := traffic.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; umbra capture makes traffic files of other sources", file, err)
	}
	defer r.Close()
	s := &shown{File: file, Header: r.Header, Methods: map[string]int64{}, Hosts: map[string]int64{}, Statuses: map[string]int64{}, Latency: map[string]int64{}}
	sessions := map[string]struct{}{}
	latency := hdrhistogram.New(1, int64(24*time.Hour), 3)
	for request, err := range r.Requests() {
		if errors.Is(err, traffic.ErrTruncated) {
			s.Cut = err.Error()
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if s.Requests < int64(n) {
			fmt.Fprintln(list, line(&request))
		}
		s.add(&request, latency)
		if request.Session != "" {
			sessions[request.Session] = struct{}{}
		}
	}
	s.Sessions = len(sessions)
	if latency.TotalCount() > 0 {
		s.Latency = map[string]int64{"p50": latency.ValueAtQuantile(50), "p90": latency.ValueAtQuantile(90), "p99": latency.ValueAtQuantile(99), "max": latency.Max()}
	}
	return s, nil
}

func (s *shown) add(r *traffic.Request, latency *hdrhistogram.Histogram) {
	s.Requests++
	s.Length = max(s.Length, r.At)
	s.Bodies += int64(len(r.Body))
	count(s.Methods, r.Method)
	count(s.Hosts, r.Authority)
	if r.Response == nil {
		return
	}
	s.Answered++
	count(s.Statuses, fmt.Sprint(r.Response.Status))
	if r.Response.Latency == 0 { // nobody measured it
		return
	}
	_ = latency.RecordValue(min(max(int64(r.Response.Latency), 0), int64(24*time.Hour))) // within the range
}

// count counts what is one of many; the rest together.
func count(by map[string]int64, key string) {
	if _, known := by[key]; !known && len(by) >= bounded {
		key = "(others)"
	}
	by[key]++
}

func line(r *traffic.Request) string {
	answer := "no answer seen"
	if r.Response != nil {
		answer = fmt.Sprint(r.Response.Status)
		if r.Response.Latency > 0 {
			answer += fmt.Sprint(" in ", r.Response.Latency)
		}
	}
	return fmt.Sprintf("%12.6f  %s %s://%s%s  %s", r.At.Seconds(), r.Method, cmp.Or(r.Scheme, "http"), r.Authority, r.Path, answer)
}

func (s *shown) print(w io.Writer) error {
	fmt.Fprintf(w, "%s: %d requests in %v, %d sessions, %s of bodies, from %s\n", s.File, s.Requests, s.Length, s.Sessions, bytesText(s.Bodies), cmp.Or(s.Header.Source, "an unknown source"))
	if s.Header.Start != 0 {
		fmt.Fprintf(w, "captured from %s on\n", time.Unix(0, s.Header.Start).UTC().Format(time.RFC3339Nano))
	}
	if s.Header.Partial {
		fmt.Fprintln(w, "partial: the capture was cut short, so its loss is not known")
	}
	if s.Cut != "" {
		fmt.Fprintf(w, "cut: %s; what stands before it is whole\n", s.Cut)
	}
	fmt.Fprintf(w, "answered: %d of %d\n", s.Answered, s.Requests)
	tab := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	for _, by := range []struct {
		name   string
		counts map[string]int64
	}{{"methods", s.Methods}, {"hosts", s.Hosts}, {"statuses", s.Statuses}} {
		fmt.Fprintf(tab, "%s:\t%s\n", by.name, most(by.counts))
	}
	if len(s.Latency) > 0 {
		fmt.Fprintf(tab, "latency:\tp50 %v, p90 %v, p99 %v, max %v\n", time.Duration(s.Latency["p50"]), time.Duration(s.Latency["p90"]), time.Duration(s.Latency["p99"]), time.Duration(s.Latency["max"]))
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	if !s.Header.Partial || len(s.Header.Loss) > 0 {
		if err := printLoss(w, s.Header.Loss, s.Requests); err != nil {
			return err
		}
	}
	redacted := int64(0)
	for _, n := range s.Header.Redacted {
		redacted += n
	}
	if redacted > 0 {
		_, err := fmt.Fprintf(w, "redacted: %d values: %s\n", redacted, most(s.Header.Redacted))
		return err
	}
	_, err := fmt.Fprintln(w, "redacted: nothing, by its header")
	return err
}

// most lists counts, the greatest first, ten at the most.
func most(counts map[string]int64) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	var parts []string
	for _, name := range names[:min(len(names), 10)] {
		parts = append(parts, fmt.Sprintf("%s %d", name, counts[name]))
	}
	if more := len(names) - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, ", ")
}

func bytesText(n int64) string {
	for _, unit := range sizeUnits[:3] {
		if n >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

func redactCommand() *cobra.Command {
	var o captureOptions
	c := &cobra.Command{
		Use:     "redact FILE",
		Short:   "Take secrets out of a traffic file that exists",
		Example: "  umbra traffic redact old.jsonl.zst -o clean.jsonl.zst --redact rules.yaml",
		Args:    exactly("FILE"),
		RunE:    func(c *cobra.Command, args []string) error { return o.redact(c, args[0]) },
	}
	c.Flags().StringVarP(&o.out, "output", "o", "", "the traffic file to write")
	o.redaction.flags(c)
	_ = c.Flags().MarkHidden("unredacted") // here it would be a copy
	jsonFlag(c, &o.json)
	return c
}

func (o *captureOptions) redact(c *cobra.Command, file string) error {
	switch {
	case o.out == "":
		return errors.New("-o FILE is missing: name the traffic file to write")
	case o.off:
		return errors.New("--unredacted would only copy the file: leave it out")
	}
	if err := apart(file, o.out); err != nil {
		return err
	}
	redactor, err := o.redactor()
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	w := capture.NewWriter(o.out, file, redactor, capture.Rotation{})
	if err := capture.Copy(f, w); err != nil {
		w.Abandon() // half of a file would look like all of it
		return fmt.Errorf("%s: %w", file, err)
	}
	written, err := w.Close()
	if err != nil {
		return broken(err)
	}
	return o.print(c, written, redactor)
}

func convertCommand() *cobra.Command {
	var out, to string
	c := &cobra.Command{
		Use:   "convert FILE",
		Short: "Write a traffic file as HAR, vegeta JSON targets or GoReplay's .gor",
		Long: `Write a traffic file in another tool's format. umbra capture reads the others' formats. What FILE
holds was redacted when it was captured; it stays so.`,
		Example: "  umbra traffic convert shop.jsonl.zst -o shop.har\n  umbra traffic convert shop.jsonl.zst --to vegeta | vegeta attack -format=json",
		Args:    exactly("FILE"),
		RunE:    func(c *cobra.Command, args []string) error { return convert(c, args[0], out, to) },
	}
	c.Flags().StringVarP(&out, "output", "o", "", "the file to write (default: standard output)")
	c.Flags().StringVar(&to, "to", "", "the format (default by -o's name): "+strings.Join(capture.Targets(), ", "))
	return c
}

func convert(c *cobra.Command, file, out, to string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if to, err = capture.TargetOf(to, out); err != nil {
		return err
	}
	if out == "" {
		return converted(c, file, to, f, c.OutOrStdout())
	}
	part := out + ".part"
	into, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err = errors.Join(converted(c, file, to, f, into), into.Close()); err != nil {
		os.Remove(part)
		return err
	}
	return os.Rename(part, out)
}

// converted tells what the format could not hold.
func converted(c *cobra.Command, file, to string, from io.Reader, into io.Writer) error {
	left, err := capture.Convert(from, to, into)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if left > 0 {
		fmt.Fprintf(c.ErrOrStderr(), "umbra: %d requests were left out, as %s cannot hold them\n", left, to)
	}
	return nil
}
