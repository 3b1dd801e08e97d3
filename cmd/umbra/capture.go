package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"umbra/capture"
	"umbra/capture/redact"
	"umbra/internal/evidence"
	"umbra/reports"
)

// redaction is how the verbs that read traffic are told what to take out of it.
type redaction struct {
	rules, key string
	off        bool
}

func (r *redaction) flags(c *cobra.Command) {
	c.Flags().StringVar(&r.rules, "redact", "", "a file of rules (YAML: headers, query, form, json, patterns) beside the built-in ones")
	c.Flags().StringVar(&r.key, "redact-key", "", "a file with the key of the pseudonyms, so that several captures agree (default: a random key, which nobody keeps)")
	c.Flags().BoolVar(&r.off, "unredacted", false, "redact nothing: credentials and cookies go into the file as they are")
}

// redactor is nil where nothing is to be redacted.
func (r *redaction) redactor() (*redact.Redactor, error) {
	if r.off {
		if r.rules != "" || r.key != "" {
			return nil, errors.New("--unredacted contradicts --redact and --redact-key: choose one")
		}
		return nil, nil
	}
	rules, err := r.read()
	if err != nil {
		return nil, err
	}
	if r.key == "" {
		return redact.New(rules, redact.NewKey())
	}
	key, err := redact.ReadKey(r.key)
	if err != nil {
		return nil, fmt.Errorf("--redact-key: %w", err)
	}
	return redact.New(rules, key)
}

func (r *redaction) read() (redact.Rules, error) {
	if r.rules == "" {
		return redact.Rules{}, nil
	}
	f, err := os.Open(r.rules)
	if err != nil {
		return redact.Rules{}, fmt.Errorf("--redact: %w", err)
	}
	defer f.Close()
	return redact.ReadRules(r.rules, f)
}

// captureOptions are capture's flags.
type captureOptions struct {
	capture.Options
	redaction
	memory, rotateSize string
	maxBody            string
	out                string
	ports              []string
	keep               time.Duration
	rotateEvery        time.Duration
	json               bool
}

func captureCommand() *cobra.Command {
	var o captureOptions
	c := &cobra.Command{
		Use:   "capture SOURCE",
		Short: "Turn real traffic into a traffic file: packets, HAR, access logs, GoReplay or vegeta files",
		Long: `Read real requests from a file, from standard input (-) or from an interface (iface:NAME), and write
them to a traffic file, in the order in which they began, each with the status, latency and body
digest of its answer where that was seen. What is lost is counted by cause. Secrets (Authorization,
cookies, API keys, tokens in queries, forms and JSON) are replaced by keyed pseudonyms before
anything reaches the disk.

Sources: pcap and pcapng, also gzip or zstd; HAR 1.2; nginx and Apache combined logs, and any
log_format given by --log-format; Envoy's default text and JSON access logs; GoReplay .gor; vegeta
targets (HTTP and JSON). TLS is read with the keys of --keylog or of the pcapng itself.`,
		Example: `  umbra capture shop.pcapng -o shop.jsonl.zst
  tcpdump -i any -w - tcp port 8080 | umbra capture - -o shop.jsonl.zst
  umbra capture iface:eth0 --port 8080 --for 10m -o shop.jsonl.zst
  umbra capture shop.har -o shop.jsonl.zst
  umbra capture access.log --format combined --host shop.example.com -o shop.jsonl.zst`,
		Args: exactly("SOURCE"),
		RunE: func(c *cobra.Command, args []string) error { return o.run(c, args[0]) },
	}
	f := c.Flags()
	f.StringVarP(&o.out, "output", "o", "", "the traffic file to write")
	f.StringVar(&o.Format, "format", "", "of SOURCE, where its content does not tell: "+strings.Join(capture.Formats(), ", "))
	f.StringVar(&o.LogFormat, "log-format", "", "an access log's format: the text of nginx's log_format, Apache's LogFormat or Envoy's text_format")
	f.StringVar(&o.Host, "host", "", "the authority of requests whose source does not tell it, as in most access logs")
	f.BoolVar(&o.Bodyless, "bodyless", false, "take requests from logs although they may have had bodies, which logs do not hold")
	f.StringSliceVar(&o.ports, "port", nil, "only connections to these TCP ports (default: all)")
	f.StringVar(&o.Keylog, "keylog", "", "a TLS key log (SSLKEYLOGFILE) to decrypt with")
	f.DurationVar(&o.keep, "for", 0, "with an interface: how long (default: until Ctrl-C)")
	f.StringVar(&o.rotateSize, "rotate-size", "", "begin another file beyond this size, like 100MiB; files are numbered")
	f.DurationVar(&o.rotateEvery, "rotate-every", 0, "begin another file after this time; files are numbered")
	f.StringVar(&o.memory, "memory", "256MiB", "about the most memory that buffers may take, however long the capture is")
	f.StringVar(&o.maxBody, "max-body", "16MiB", "requests with longer bodies are left out, and counted")
	o.redaction.flags(c)
	jsonFlag(c, &o.json)
	return c
}

func (o *captureOptions) run(c *cobra.Command, source string) error {
	rotation, err := o.settle(source)
	if err != nil {
		return err
	}
	if err := apart(source, o.out); err != nil {
		return err
	}
	redactor, err := o.redactor()
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(o.Memory) // so that the collector leaves no more for later than that
	w := capture.NewWriter(o.out, source, asRedactor(redactor), rotation)
	ctx, cancel := c.Context(), func() {}
	if o.keep > 0 {
		ctx, cancel = context.WithTimeout(ctx, o.keep)
	}
	defer cancel()
	readErr := capture.Read(ctx, source, c.InOrStdin(), o.Options, w)
	if readErr != nil && w.Count() == 0 {
		w.Abandon()
		return orInterrupted(readErr)
	}
	written, err := w.Close()
	if err != nil {
		return broken(err)
	}
	for _, fault := range w.Told {
		fmt.Fprintln(c.ErrOrStderr(), "umbra: left out, among others:", fault)
	}
	if err := o.print(c, written, redactor); err != nil {
		return err
	}
	return orInterrupted(readErr)
}

// orInterrupted is the status of an interrupt, where that ended the work.
func orInterrupted(err error) error {
	if errors.Is(err, context.Canceled) {
		return statusError{exitInterrupted, errors.New("interrupted; what was read until then is there, marked partial")}
	}
	return err
}

// apart refuses to write over what is read.
func apart(from, to string) error {
	a, err := os.Stat(from)
	if err != nil {
		return nil // reading it will say so
	}
	if b, err := os.Stat(to); err == nil && os.SameFile(a, b) {
		return fmt.Errorf("-o %s: this is the file that is read; name another one", to)
	}
	return nil
}

// asRedactor keeps a nil pointer from becoming an interface that is not nil.
func asRedactor(r *redact.Redactor) capture.Redactor {
	if r == nil {
		return nil
	}
	return r
}

// settle reads the flags that are texts.
func (o *captureOptions) settle(source string) (rotation capture.Rotation, err error) {
	if o.out == "" {
		return rotation, errors.New("-o FILE is missing: name the traffic file to write, like -o shop.jsonl.zst")
	}
	if o.keep < 0 || o.rotateEvery < 0 {
		return rotation, errors.New("--for and --rotate-every are durations above 0")
	}
	if o.keep > 0 && !strings.HasPrefix(source, "iface:") {
		return rotation, errors.New("--for is for interfaces (iface:NAME): a file is read to its end")
	}
	for _, text := range o.ports {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return rotation, fmt.Errorf("--port %s: a TCP port is a number from 1 to 65535", text)
		}
		o.Ports = append(o.Ports, int(port))
	}
	rotation.Every = o.rotateEvery
	for _, size := range []struct {
		flag, text string
		into       *int64
		least      int64
	}{{"--memory", o.memory, &o.Memory, 16 << 20}, {"--max-body", o.maxBody, &o.Body, 1}, {"--rotate-size", o.rotateSize, &rotation.Size, 64 << 10}} {
		if size.text == "" {
			continue
		}
		if *size.into, err = parseSize(size.text); err != nil || *size.into < size.least {
			return rotation, fmt.Errorf("%s %s: give a size of at least %s, like 256MiB", size.flag, size.text, byteSize(size.least))
		}
	}
	return rotation, nil
}

// sizeUnits are the units of sizes, the longest names first.
var sizeUnits = []struct {
	name string
	size int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}, {"", 1}}

func parseSize(text string) (int64, error) {
	for _, unit := range sizeUnits {
		if number, is := strings.CutSuffix(text, unit.name); is {
			n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
			if err != nil || n < 0 || n > 1<<40/unit.size {
				return 0, errors.New("no size")
			}
			return n * unit.size, nil
		}
	}
	return 0, errors.New("no size")
}

func byteSize(n int64) string {
	for _, unit := range sizeUnits[:3] {
		if n >= unit.size && n%unit.size == 0 {
			return fmt.Sprintf("%d%s", n/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%dB", n)
}

// captured is the result of capture as JSON.
type captured struct {
	capture.Written
	Redacted redact.Report `json:"redacted"`
}

func (o *captureOptions) print(c *cobra.Command, written capture.Written, redactor *redact.Redactor) error {
	out := captured{Written: written}
	if redactor != nil {
		out.Redacted = redactor.Report()
	}
	if o.json {
		return printJSON(c.OutOrStdout(), out)
	}
	w := c.OutOrStdout()
	fmt.Fprintf(w, "%d requests in %s\n", written.Requests, strings.Join(written.Files, ", "))
	if err := printLoss(w, written.Loss, written.Requests); err != nil {
		return err
	}
	return printRedacted(w, out.Redacted, redactor != nil)
}

// printLoss tells what a capture lost, by cause.
func printLoss(w io.Writer, loss map[string]int64, requests int64) error {
	if len(loss) == 0 {
		_, err := fmt.Fprintln(w, "loss: none seen")
		return err
	}
	l := evidence.NewLoss(loss, int(requests))
	text := "no request is known to be missing"
	if l.Requests > 0 {
		text = fmt.Sprintf("%s %% of the requests that were seen are whole, at least %d are not in the file", reports.Share(l.Whole), l.Requests)
	}
	if len(l.Hidden) > 0 {
		text += "; others may be missing, as not all could be read"
	}
	fmt.Fprintf(w, "loss: %s\n", text)
	tab := tabwriter.NewWriter(w, 0, 0, 1, ' ', tabwriter.AlignRight)
	for _, cause := range slices.Sorted(maps.Keys(loss)) {
		fmt.Fprintf(tab, "  %d\t %s\n", loss[cause], capture.Explain(cause))
	}
	return tab.Flush()
}

func printRedacted(w io.Writer, report redact.Report, on bool) error {
	if !on {
		_, err := fmt.Fprintln(w, "redacted: nothing, as was asked for")
		return err
	}
	if len(report.Counts) == 0 {
		_, err := fmt.Fprintln(w, "redacted: no secret was found")
		return err
	}
	fmt.Fprintln(w, "redacted:")
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range report.Counts {
		least := ""
		if c.AtLeast {
			least = "at least "
		}
		fmt.Fprintf(tab, "  %s\tin the %s\t%d values, %s%d different\n", c.Rule, c.Place, c.Values, least, c.Distinct)
	}
	return tab.Flush()
}
