package formats

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
)

// Kind is a format of files.
type Kind string

// The kinds.
const (
	HAR        Kind = "har"
	Log        Kind = "log" // an access log in text
	EnvoyJSON  Kind = "envoy-json"
	Gor        Kind = "gor"
	VegetaHTTP Kind = "vegeta-http"
	VegetaJSON Kind = "vegeta-json"
)

// Recognised is what Recognise made of a file.
type Recognised struct {
	Kind Kind
	// Format is what ParseLog takes, where Kind is Log: "combined", "common", "envoy" or "istio".
	Format string
	// Ask says, where it is an access log of no known format, which flag has to tell.
	Ask string
}

var (
	gorLine     = regexp.MustCompile(`^[123] [0-9A-Za-z-]+ \d+( \d+)?\r?\n`)
	vegetaLine  = regexp.MustCompile(`^[A-Z]+ https?://\S+\s*$`)
	harBegin    = regexp.MustCompile(`^\{\s*"log"\s*:\s*\{`)
	envoyBegin  = regexp.MustCompile(`^\[\d{4}-\d\d-\d\dT[^\]]*\] "`)
	requestLike = regexp.MustCompile(`\b[A-Z]{3,10} \S+ HTTP/\d`)
)

// Recognise tells a file's format from its first bytes, which may be those of a gzip or zstd stream; name, the file's, decides
// where they do not. It reports false where it is none of this package's, or where Ask is set.
func Recognise(first []byte, name string) (Recognised, bool) {
	if b, done, err := plain(bytes.NewReader(first)); err == nil {
		first = make([]byte, 64<<10)
		n, _ := io.ReadFull(b, first) // of a stream that ends early, what there is
		first = first[:n]
		done()
	}
	first = bytes.TrimLeft(first, " \t\r\n")
	line := firstLine(first)
	switch {
	case gorLine.Match(first), bytes.Contains(first, []byte("\n"+gorSeparator+"\n")):
		return Recognised{Kind: Gor}, true
	case harBegin.Match(first):
		return Recognised{Kind: HAR}, true
	case vegetaLine.Match(line):
		return Recognised{Kind: VegetaHTTP}, true
	case len(line) > 0 && line[0] == '{':
		return recogniseJSON(line, name)
	}
	return recogniseLog(line, name)
}

// firstLine is the first that is neither empty nor a comment.
func firstLine(text []byte) []byte {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return line
		}
	}
	return nil
}

func recogniseJSON(line []byte, name string) (Recognised, bool) {
	var keys map[string]json.RawMessage
	// A line longer than what there is of the file is no whole object; its keys are there all the same.
	whole := json.Unmarshal(line, &keys) == nil
	has := func(key string) bool { return keys[key] != nil || !whole && bytes.Contains(line, []byte(`"`+key+`"`)) }
	switch {
	case has("method") && has("url"):
		return Recognised{Kind: VegetaJSON}, true
	case has("start_time") && (has("method") || has("path") || has("response_code")):
		return Recognised{Kind: EnvoyJSON}, true
	case strings.HasSuffix(unpacked(name), ".har"):
		return Recognised{Kind: HAR}, true
	case !whole:
		return Recognised{}, false
	}
	return askLog("a log in JSON that is not Envoy's")
}

func recogniseLog(line []byte, name string) (Recognised, bool) {
	for _, format := range []string{"combined", "common", "istio", "envoy"} {
		if fits(format, line) {
			return Recognised{Kind: Log, Format: format}, true
		}
	}
	switch {
	case requestLike.Match(line) || envoyBegin.Match(line):
		return askLog("an access log of a format of its own")
	case len(line) > 0 && strings.HasSuffix(unpacked(name), ".log") && bytes.IndexByte(line, 0) < 0:
		return askLog("a log of an unknown format")
	}
	return Recognised{}, false
}

func askLog(what string) (Recognised, bool) {
	return Recognised{Kind: Log, Ask: what + ": say with --log-format how its lines are written: combined, common, envoy, istio, or the text of " +
		"nginx's log_format, Apache's LogFormat or Envoy's text_format"}, false
}

// fits tells whether a line is of a format, whatever request it tells of.
func fits(format string, line []byte) bool {
	f, err := ParseLog(format)
	if err != nil {
		return false
	}
	var rec record
	rec.reset()
	if f.split(line, &rec) != nil {
		return false
	}
	// A last field that is ignored takes whatever follows it: a line of more fields is of another format.
	if n := len(f.parts) - 1; f.parts[n].fields[0].kind == isIgnored && bytes.IndexByte(line[f.spans[0][n].from:], ' ') >= 0 {
		return false
	}
	_, err = rec.stamp.time()
	return err == nil
}

func unpacked(name string) string {
	name = strings.ToLower(path.Base(name))
	return strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
}

// Read reads a file of a kind; format is what ParseLog takes where that is Log, and empty elsewhere. An error is of the format.
func Read(k Kind, format string, r io.Reader, o Options) (Requests, error) {
	switch k {
	case HAR:
		return ReadHAR(r, o), nil
	case EnvoyJSON:
		return ReadEnvoyJSON(r, o), nil
	case Gor:
		return ReadGor(r, o), nil
	case VegetaHTTP:
		return ReadVegetaHTTP(r, o), nil
	case VegetaJSON:
		return ReadVegetaJSON(r, o), nil
	case Log:
		f, err := ParseLog(format)
		if err != nil {
			return nil, err
		}
		return ReadLog(r, f, o), nil
	}
	return nil, fmt.Errorf("%q is none of har, log, envoy-json, gor, vegeta-http and vegeta-json", k)
}
