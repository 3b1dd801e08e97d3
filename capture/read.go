// Package capture turns real traffic into traffic files: packets from a file or an interface, and what other programs wrote of
// the requests that they saw. What is lost on the way is counted by cause, and secrets are taken out before anything is written.
package capture

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"umbra/capture/internal/exchange"
	"umbra/capture/internal/formats"
	"umbra/capture/internal/packet"
	"umbra/internal/traffic"
)

// Options say how a source is read.
type Options struct {
	Format    string // one of Formats; empty: by its content
	LogFormat string // an access log's: a name, or the text that its server has
	Host      string // the authority of requests that name none
	Bodyless  bool   // take requests from logs that may have had a body
	Ports     []int  // only connections to or from these TCP ports; none: all
	Keylog    string // a file of TLS secrets
	Memory    int64  // bytes that buffers may take, about; 0: 256 MiB
	Body      int64  // bytes of a request's body; 0: 16 MiB
}

// The defaults of Options, and the most that a head may take.
const (
	defaultMemory = 256 << 20
	defaultBody   = 16 << 20
	headLimit     = 1 << 20
)

// peeked is how much of a source is looked at to recognise it.
const peeked = 64 << 10

// live is what an interface's name begins with.
const live = "iface:"

// pcaps is the format of packet captures; package formats knows the others.
const pcaps = "pcap"

// logNames are the formats of access logs that have a name.
var logNames = []string{"combined", "common", "envoy", "istio"}

// Formats names the formats that can be read.
func Formats() []string {
	out := append([]string{pcaps}, logNames...)
	for _, kind := range []formats.Kind{formats.HAR, formats.Log, formats.Gor, formats.EnvoyJSON, formats.VegetaJSON, formats.VegetaHTTP} {
		out = append(out, string(kind))
	}
	slices.Sort(out)
	return out
}

// Read reads a source to its end, or until ctx is done: a file, standard input ("-") or an interface ("iface:" and its name),
// whose end ctx is meant to be. An error tells of the source as a whole; what was read before it is in w. What w could not
// write, its Close tells.
func Read(ctx context.Context, source string, stdin io.Reader, o Options, w *Writer) error {
	if err := o.fill(); err != nil {
		return err
	}
	w.lateRoom = int(o.Memory / 8)
	if name, is := strings.CutPrefix(source, live); is {
		return readLive(ctx, name, o, w)
	}
	in, name := stdin, ""
	if source == "-" {
		in = interruptible(ctx, stdin)
	} else {
		f, err := os.Open(source)
		if err != nil {
			return fmt.Errorf("%w; an interface is named iface:NAME", err)
		}
		defer f.Close()
		in, name = f, source
	}
	err := readAll(ctx, in, name, o, w)
	if w.Partial = err != nil; err != nil {
		err = fmt.Errorf("%s: %w", source, err)
	}
	return err
}

// interruptible reads from a source that cannot be interrupted itself, like a pipe that nothing comes through. Its goroutine ends
// with the source, or with the read during which ctx was done.
func interruptible(ctx context.Context, r io.Reader) io.Reader {
	in, out := io.Pipe()
	go func() {
		_, err := io.CopyBuffer(out, struct{ io.Reader }{r}, make([]byte, 256<<10))
		out.CloseWithError(err) // nil is the end
	}()
	context.AfterFunc(ctx, func() { out.CloseWithError(context.Cause(ctx)) })
	return in
}

func (o *Options) fill() error {
	if o.Memory == 0 {
		o.Memory = defaultMemory
	}
	if o.Body == 0 {
		o.Body = defaultBody
	}
	if o.Format != "" && !slices.Contains(Formats(), o.Format) {
		return fmt.Errorf("--format %s: choose one of %s", o.Format, strings.Join(Formats(), ", "))
	}
	return nil
}

// readAll recognises a stream and reads it.
func readAll(ctx context.Context, in io.Reader, name string, o Options, w *Writer) error {
	buffered := bufio.NewReaderSize(in, peeked)
	first, err := buffered.Peek(peeked)
	if len(first) == 0 {
		if errors.Is(err, io.EOF) {
			return errors.New("it is empty")
		}
		return err
	}
	if o.Format == pcaps || o.Format == "" && packet.Recognise(first) {
		return readPackets(ctx, buffered, o, w)
	}
	began := time.Unix(0, 0) // where the source does not say
	requests, err := open(buffered, first, name, o, &began)
	if err != nil {
		return err
	}
	return readRequests(ctx, requests, &began, w)
}

// recognise finds the format of what begins so, and of an access log how its lines are written.
func recognise(first []byte, name string, o Options) (formats.Kind, string, error) {
	switch {
	case slices.Contains(logNames, o.Format):
		return formats.Log, o.Format, nil
	case o.LogFormat != "":
		return formats.Log, o.LogFormat, nil
	case o.Format == string(formats.Log):
		return "", "", errors.New("--format log needs --log-format: the text of nginx's log_format, Apache's LogFormat or Envoy's text_format")
	case o.Format != "":
		return formats.Kind(o.Format), "", nil
	case isTraffic(first):
		return "", "", errors.New("it is a traffic file already; umbra traffic redact or convert works on it")
	}
	found, ok := formats.Recognise(first, name)
	if found.Ask != "" {
		return "", "", errors.New(found.Ask)
	}
	if !ok {
		return "", "", fmt.Errorf("its format was not recognised; name it by --format (%s), an access log's by --log-format", strings.Join(Formats(), ", "))
	}
	return found.Kind, found.Format, nil
}

func isTraffic(first []byte) bool {
	r, err := traffic.NewReader(bytes.NewReader(first))
	if err != nil {
		return false
	}
	r.Close()
	return true
}

// open begins to read requests in the format that was asked for, or that they seem to have.
func open(in io.Reader, first []byte, name string, o Options, began *time.Time) (formats.Requests, error) {
	kind, format, err := recognise(first, name, o)
	if err != nil {
		return nil, err
	}
	return formats.Read(kind, format, in, formats.Options{Host: o.Host, Bodyless: o.Bodyless, Began: began, Open: func(file string) (io.ReadCloser, error) {
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(name), file)
		}
		return os.Open(file)
	}})
}

// shownFaults is how many unreadable entries are told one by one.
const shownFaults = 3

// readRequests writes what a source holds, which comes in any order. Entries that give no request are counted, and the first
// of them told by an error where there is no request at all.
func readRequests(ctx context.Context, requests formats.Requests, began *time.Time, w *Writer) error {
	var faults []error
	for request, err := range requests {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			if errors.Is(err, formats.ErrFatal) {
				return err
			}
			w.Loss.Add(causeOf(err), 1)
			if len(faults) < shownFaults {
				faults = append(faults, err)
			}
			continue
		}
		w.Write(began.Add(request.At), &request)
	}
	w.Told = faults
	if w.count == 0 && len(faults) > 0 {
		return fmt.Errorf("no request could be taken from it: %w", errors.Join(faults...))
	}
	return nil
}

func causeOf(err error) exchange.Cause {
	var entry *formats.EntryError
	if errors.As(err, &entry) && entry.Cause != "" {
		return entry.Cause
	}
	return exchange.LinesUnreadable
}

// Targets names the formats that can be written.
func Targets() []string {
	return []string{string(formats.HAR), "vegeta", string(formats.Gor)}
}

// TargetOf is the format to write: as asked, or by the file's name.
func TargetOf(asked, file string) (string, error) {
	if asked == "" {
		switch filepath.Ext(file) {
		case ".har":
			asked = string(formats.HAR)
		case ".gor":
			asked = string(formats.Gor)
		}
	}
	if !slices.Contains(Targets(), asked) {
		return "", fmt.Errorf("--to %s: choose one of %s", asked, strings.Join(Targets(), ", "))
	}
	return asked, nil
}

// target writes requests in another program's format.
type target interface {
	Write(r *traffic.Request) error
	Close() error
}

// Convert writes the requests of a traffic file in one of Targets. It gives how many of them the format cannot hold.
func Convert(from io.Reader, to string, out io.Writer) (left int, err error) {
	reader, err := traffic.NewReader(from)
	if err != nil {
		return 0, err
	}
	defer reader.Close()
	w := map[string]func() target{
		string(formats.HAR): func() target { return formats.NewHARWriter(out) },
		string(formats.Gor): func() target { return formats.NewGorWriter(out) },
		"vegeta":            func() target { return formats.NewVegetaWriter(out) },
	}[to]()
	for request, err := range reader.Requests() {
		if err != nil {
			return left, err
		}
		request.At += time.Duration(reader.Header.Start)
		var entry *formats.EntryError
		if err = w.Write(&request); errors.As(err, &entry) {
			left++
		} else if err != nil {
			return left, err
		}
	}
	return left, w.Close()
}
