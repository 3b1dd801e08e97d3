package formats

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"umbra/internal/traffic"
)

// HARWriter writes a HAR 1.2. Times count from 1970; Session is the entry's connection; of an answer it writes the status, the
// latency as time waited for, and the body's digest as a member of its own, _bodySHA256. A body that is no text is in base64, said
// by _encoding, for which HAR has no place either.
type HARWriter struct {
	w     *bufio.Writer
	count int
}

// NewHARWriter writes to w, which stays the caller's to close. Without Close the file is not whole.
func NewHARWriter(w io.Writer) *HARWriter { return &HARWriter{w: bufio.NewWriter(w)} }

const (
	harHead = `{"log":{"version":"1.2","creator":{"name":"umbra","version":"1"},"entries":[`
	harTail = "\n]}}\n"
)

// Write adds a request. An *EntryError tells that the format cannot hold it.
func (h *HARWriter) Write(r *traffic.Request) error {
	url, err := sayable(r)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	b.WriteString(",\n")
	if h.count == 0 {
		b.Reset()
		b.WriteString(harHead + "\n")
	}
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(harOf(r, url)); err != nil {
		return err
	}
	h.count++
	_, err = h.w.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	return err
}

// Close ends the file.
func (h *HARWriter) Close() error {
	if h.count == 0 {
		h.w.WriteString(harHead) // a bufio.Writer keeps its error for Flush
	}
	h.w.WriteString(harTail)
	return h.w.Flush()
}

func harOf(r *traffic.Request, url string) *harEntry {
	size := int64(len(r.Body))
	e := &harEntry{Started: time.Unix(0, int64(r.At)).UTC().Format(time.RFC3339Nano), Connection: r.Session,
		Timings: harTimings{Blocked: -1, DNS: -1, Connect: -1}}
	e.Request = harRequest{Method: r.Method, URL: url, HTTPVersion: "unknown", Cookies: []struct{}{}, Headers: harPairs{},
		Query: harQuery(r.Path), HeadersSize: -1, BodySize: &size}
	mime := ""
	for _, p := range r.Headers {
		name := strings.ToLower(p[0])
		if name == "content-type" {
			mime = p[1]
		}
		if !traffic.OfConnection(name) {
			e.Request.Headers = append(e.Request.Headers, harPair{p[0], p[1]})
		}
	}
	e.Request.PostData = harBody(r.Body, mime)
	e.Response = harResponse{HTTPVersion: "unknown", Cookies: []struct{}{}, Headers: harPairs{}, Content: harContent{Size: -1}, HeadersSize: -1, BodySize: -1}
	if r.Response != nil {
		e.Time = float64(r.Response.Latency) / 1e6
		e.Timings.Wait = e.Time
		e.Response.Status, e.Response.StatusText = r.Response.Status, http.StatusText(r.Response.Status)
		e.Response.Content.SHA256 = r.Response.BodySHA256
	}
	return e
}

func harBody(body []byte, mime string) *harPostData {
	switch {
	case len(body) == 0:
		return nil
	// A replacement character is kept apart from one that another exporter put in place of what it could not decode.
	case !utf8.Valid(body) || bytes.ContainsRune(body, utf8.RuneError):
		return &harPostData{MimeType: mime, Params: harPairs{}, Text: base64.StdEncoding.EncodeToString(body), Custom: "base64"}
	}
	return &harPostData{MimeType: mime, Params: harPairs{}, Text: string(body)}
}

// harQuery lists a query's parameters as they stand in the path.
func harQuery(path string) harPairs {
	pairs := harPairs{}
	_, query, _ := strings.Cut(path, "?")
	for p := range strings.SplitSeq(query, "&") {
		if name, value, _ := strings.Cut(p, "="); p != "" {
			pairs = append(pairs, harPair{name, value})
		}
	}
	return pairs
}
