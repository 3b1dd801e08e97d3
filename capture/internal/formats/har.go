package formats

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"umbra/capture/internal/exchange"
	"umbra/internal/traffic"
)

// HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec, the draft of the W3C's web performance group), with the members of
// Chromium's exporter that begin with an underscore. Times are in ms, and -1 where they do not apply.
type harEntry struct {
	PageRef    string      `json:"pageref,omitempty"`
	Started    string      `json:"startedDateTime"`
	Time       float64     `json:"time"`
	Request    harRequest  `json:"request"`
	Response   harResponse `json:"response"`
	Cache      struct{}    `json:"cache"`
	Timings    harTimings  `json:"timings"`
	Connection string      `json:"connection,omitempty"`
	harBrowser
}

// harBrowser is what browsers add to an entry.
type harBrowser struct {
	FromCache     json.RawMessage `json:"_fromCache,omitempty"` // "memory", "disk" or a Boolean
	Cached        bool            `json:"fromCache,omitempty"`
	ServiceWorker bool            `json:"_fetchedViaServiceWorker,omitempty"`
	ResourceType  string          `json:"_resourceType,omitempty"`
	WebSocket     json.RawMessage `json:"_webSocketMessages,omitempty"`
}

type harRequest struct {
	Method      string       `json:"method"`
	URL         string       `json:"url"`
	HTTPVersion string       `json:"httpVersion"`
	Cookies     []struct{}   `json:"cookies"`
	Headers     harPairs     `json:"headers"`
	Query       harPairs     `json:"queryString"`
	PostData    *harPostData `json:"postData,omitempty"`
	HeadersSize int          `json:"headersSize"`
	BodySize    *int64       `json:"bodySize"`
}

type harPair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type harPairs []harPair

// UnmarshalJSON bounds what headers and form fields take.
func (p *harPairs) UnmarshalJSON(b []byte) error {
	if len(b) > maxHead {
		return errHead
	}
	return json.Unmarshal(b, (*[]harPair)(p))
}

type harPostData struct {
	MimeType string   `json:"mimeType"`
	Params   harPairs `json:"params"`
	Text     string   `json:"text"`
	Comment  string   `json:"comment,omitempty"`
	Encoding string   `json:"encoding,omitempty"` // as content has it in the draft
	Custom   string   `json:"_encoding,omitempty"`
}

type harResponse struct {
	Status        int        `json:"status"`
	StatusText    string     `json:"statusText"`
	HTTPVersion   string     `json:"httpVersion"`
	Cookies       []struct{} `json:"cookies"`
	Headers       harPairs   `json:"headers"`
	Content       harContent `json:"content"`
	RedirectURL   string     `json:"redirectURL"`
	HeadersSize   int        `json:"headersSize"`
	BodySize      int64      `json:"bodySize"`
	TransferSize  *float64   `json:"_transferSize,omitempty"`
	Error         string     `json:"_error,omitempty"`
	ServiceWorker bool       `json:"_fetchedViaServiceWorker,omitempty"`
}

type harContent struct {
	Size     int64  `json:"size"`
	MimeType string `json:"mimeType"`
	Text     string `json:"text,omitempty"`
	Encoding string `json:"encoding,omitempty"`
	SHA256   string `json:"_bodySHA256,omitempty"` // umbra's own: what BodySHA256 is of an answer whose body it does not hold
}

type harTimings struct {
	Blocked float64 `json:"blocked"`
	DNS     float64 `json:"dns"`
	Connect float64 `json:"connect"` // with ssl in it
	Send    float64 `json:"send"`
	Wait    float64 `json:"wait"`
	Receive float64 `json:"receive"`
}

// ReadHAR reads a HAR. At is when the request was sent: startedDateTime and the time it was blocked, resolved and connected for.
// Entries that never were on the network (caches, service workers, blocked ones), that are not HTTP, or whose body the HAR does
// not hold byte for byte are not replayable. A digest of an answer's body is given only where the text there is certainly what was
// sent: of no content-encoding and of the length that the answer says.
func ReadHAR(r io.Reader, o Options) Requests {
	return reading(r, func(b *bufio.Reader, yield func(traffic.Request, error) bool) {
		h := harReader{source: &budget{r: b}, options: o, yield: yield}
		h.json = json.NewDecoder(h.source)
		if err := h.file(); err != nil && err != errStop {
			yield(traffic.Request{}, h.end(err))
		}
	})
}

type harReader struct {
	source  *budget
	json    *json.Decoder
	options Options
	yield   func(traffic.Request, error) bool
	origin  origin
	entry   int
	found   bool // the entries
}

// budget bounds what a decoder reads for one value.
type budget struct {
	r    io.Reader
	left int
}

var errBudget = fmt.Errorf("a value of more than %d MiB", maxEntry>>20)

func (b *budget) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errBudget
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func (h *harReader) token() (json.Token, error) {
	h.source.left = maxEntry
	t, err := h.json.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return t, err
}

// end tells why reading ended before the file did. What was read of a HAR that was cut is good.
func (h *harReader) end(err error) error {
	if h.entry > 0 {
		return ended("entry", h.entry+1, err)
	}
	return fmt.Errorf("%w: not a HAR, {\"log\":{\"entries\":[…]}}: %w", ErrFatal, err)
}

func (h *harReader) file() error {
	err := h.members(func(name string) (bool, error) {
		if name != "log" {
			return false, nil
		}
		return true, h.members(func(name string) (bool, error) {
			if name != "entries" {
				return false, nil
			}
			return true, h.entries()
		})
	})
	if err == nil && !h.found {
		err = errors.New("it has no log.entries")
	}
	return err
}

// members reads an object. take says whether it has taken the member's value; what it has not is passed over.
func (h *harReader) members(take func(name string) (bool, error)) error {
	if err := h.delim('{'); err != nil {
		return err
	}
	for {
		t, err := h.token()
		if err != nil {
			return err
		}
		name, ok := t.(string)
		if !ok {
			return nil // the object's end: the decoder lets nothing else through
		}
		taken, err := take(name)
		if err == nil && !taken {
			err = h.skip()
		}
		if err != nil {
			return err
		}
	}
}

func (h *harReader) delim(want json.Delim) error {
	t, err := h.token()
	if err == nil && t != want {
		err = fmt.Errorf("found %v, not %v", t, want)
	}
	return err
}

// skip passes over a value of any size.
func (h *harReader) skip() error {
	for depth := 0; ; {
		t, err := h.token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

func (h *harReader) entries() error {
	h.found = true
	if err := h.delim('['); err != nil {
		return err
	}
	for {
		h.source.left = maxEntry
		if !h.json.More() {
			break
		}
		var raw json.RawMessage
		if err := h.json.Decode(&raw); err == io.EOF {
			return io.ErrUnexpectedEOF
		} else if err != nil {
			return err
		}
		h.entry++
		request, err := h.request(raw)
		if err != nil {
			request = traffic.Request{}
		}
		if !h.yield(request, at("entry", h.entry, err)) {
			return errStop
		}
	}
	return h.delim(']')
}

func (h *harReader) request(raw []byte) (traffic.Request, error) {
	e := new(harEntry)
	if err := json.Unmarshal(raw, e); err != nil {
		return traffic.Request{}, refuse(exchange.LinesUnreadable, "not as HAR 1.2 has it: %v", err)
	}
	r := traffic.Request{Method: e.Request.Method, Session: e.Connection}
	if err := e.sent(); err != nil {
		return r, err
	}
	if r.Session == "" || r.Session == "0" {
		r.Session = e.PageRef
	}
	var ok bool
	if r.Scheme, r.Authority, r.Path, ok = splitURL(e.Request.URL); !ok {
		return r, refuse(exchange.NotReplayable, "%.80q is no http or https URL", e.Request.URL)
	}
	for _, p := range e.Request.Headers {
		switch name := strings.ToLower(p.Name); {
		case name == "host" && p.Value != "", name == ":authority" && p.Value != "":
			r.Authority = p.Value
		}
		if !strings.HasPrefix(p.Name, ":") {
			r.Headers = append(r.Headers, traffic.Header{p.Name, p.Value})
		}
	}
	var err error
	if r.Body, err = e.Request.body(r.Headers, h.options); err != nil {
		return r, err
	}
	if r.At, err = h.at(e); err != nil {
		return r, err
	}
	r.Response = e.answer()
	return r, check(&r, h.options)
}

// neverSent are Chromium's errors (net_error_list.h) of requests that no server saw.
var neverSent = []string{"net::ERR_BLOCKED_BY_CLIENT", "net::ERR_BLOCKED_BY_CSP", "net::ERR_BLOCKED_BY_ADMINISTRATOR", "net::ERR_CACHE_MISS",
	"net::ERR_NAME_NOT_RESOLVED", "net::ERR_CONNECTION_REFUSED", "net::ERR_INTERNET_DISCONNECTED", "net::ERR_ADDRESS_UNREACHABLE"}

// sent refuses entries that were not sent to a server as HTTP.
func (e *harEntry) sent() error {
	scheme, _, _ := strings.Cut(e.Request.URL, ":")
	cache := string(e.FromCache)
	switch {
	case e.ResourceType == "websocket" || len(e.WebSocket) > 0 || e.Response.Status == 101 || slices.Contains([]string{"ws", "wss"}, scheme):
		return refuse(exchange.NotReplayable, "it is of a websocket")
	case slices.Contains([]string{"data", "blob", "file", "about", "chrome-extension", "moz-extension"}, scheme):
		return refuse(exchange.NotReplayable, "a %s: URL is not fetched from a server", scheme)
	case e.ServiceWorker || e.Response.ServiceWorker:
		return refuse(exchange.NotReplayable, "a service worker answered it")
	case e.Cached || cache != "" && cache != "null" && cache != "false" && cache != `""`:
		return refuse(exchange.NotReplayable, "the browser's cache answered it")
	case e.Response.Status > 0 && e.Response.TransferSize != nil && *e.Response.TransferSize == 0:
		return refuse(exchange.NotReplayable, "nothing was transferred: the browser's cache answered it")
	case slices.Contains(neverSent, e.Response.Error):
		return refuse(exchange.NotReplayable, "it was not sent: %s", e.Response.Error)
	}
	return nil
}

func (h *harReader) at(e *harEntry) (time.Duration, error) {
	started, err := time.Parse(time.RFC3339, e.Started)
	if err != nil {
		started, err = time.Parse("2006-01-02T15:04:05Z0700", e.Started)
	}
	if err != nil {
		return 0, refuse(exchange.LinesUnreadable, "startedDateTime %.40q is no ISO 8601 time", e.Started)
	}
	before := max(0, e.Timings.Blocked) + max(0, e.Timings.DNS) + max(0, e.Timings.Connect)
	return h.origin.since(started.Add(milliseconds(before)), h.options.Began)
}

// milliseconds gives 0 for what is no time that a request takes.
func milliseconds(ms float64) time.Duration {
	if !(ms > 0 && ms < float64(365*24*time.Hour/time.Millisecond)) {
		return 0
	}
	return time.Duration(ms*1e6 + 0.5)
}

// body gives the request's body where the HAR holds it byte for byte. Browsers write it as text: what was no UTF-8, and files of a
// multipart form, are lost, which its length shows.
func (r *harRequest) body(headers []traffic.Header, o Options) ([]byte, error) {
	length := int64(-1)
	if v, ok := lookup(headers, "content-length"); ok {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return nil, refuse(exchange.RequestsMalformed, "its content-length is %.40q", v)
		}
		length = n
	}
	body, certain := r.PostData.bytes(length)
	switch {
	case certain && (length < 0 || length == int64(len(body))) && (len(body) > 0 || !r.misses(length)):
		return body, nil
	case o.Bodyless && len(body) == 0:
		return nil, nil
	case length > 0:
		return nil, refuse(exchange.NotReplayable, "the HAR does not hold its body of %d bytes byte for byte", length)
	}
	return nil, refuse(exchange.NotReplayable, "the HAR does not hold its body byte for byte")
}

// misses tells whether a request that has no body in the HAR had one, or may have had one.
func (r *harRequest) misses(length int64) bool {
	switch {
	case length >= 0:
		return length > 0
	case r.BodySize != nil && *r.BodySize >= 0:
		return *r.BodySize > 0
	}
	return (&traffic.Request{Method: r.Method}).HasLength()
}

func (p *harPostData) bytes(length int64) (body []byte, certain bool) {
	switch {
	case p == nil:
		return nil, true
	case p.Encoding == "base64" || p.Custom == "base64" || p.Comment == "base64":
		body, err := base64.StdEncoding.DecodeString(p.Text)
		return body, err == nil
	case p.Text != "":
		// A replacement character can stand for as many bytes as it has itself: the length does not tell.
		return []byte(p.Text), !strings.ContainsRune(p.Text, utf8.RuneError)
	case len(p.Params) > 0:
		return p.form(length)
	}
	return nil, true
}

// formBytes are what a form is serialised to (URL Standard, 5.2).
const formBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789*-._+%&="

// form puts a form together again. Exporters give its fields as they were or decoded: the length tells, or that both are the same.
func (p *harPostData) form(length int64) (body []byte, certain bool) {
	if !strings.HasPrefix(p.MimeType, "application/x-www-form-urlencoded") {
		return nil, false
	}
	var raw, encoded []string
	for _, f := range p.Params {
		raw = append(raw, f.Name+"="+f.Value)
		encoded = append(encoded, url.QueryEscape(f.Name)+"="+url.QueryEscape(f.Value))
	}
	a, b := strings.Join(raw, "&"), strings.Join(encoded, "&")
	switch {
	case a == b, length == int64(len(a)) && strings.Trim(a, formBytes) == "":
		return []byte(a), true
	case length == int64(len(b)):
		return []byte(b), true
	}
	return nil, false
}

func (e *harEntry) answer() *traffic.Response {
	if e.Response.Status <= 0 {
		return nil
	}
	t := e.Timings
	latency := milliseconds(t.Send) + milliseconds(t.Wait) + milliseconds(t.Receive)
	if latency == 0 {
		latency = milliseconds(e.Time)
	}
	return &traffic.Response{Status: e.Response.Status, Latency: latency, BodySHA256: e.Response.digest()}
}

// digest is that of the body as sent, where the text is certainly that.
func (r *harResponse) digest() string {
	if b, err := hexSHA256(r.Content.SHA256); err == nil {
		return b
	}
	var headers []traffic.Header
	for _, p := range r.Headers {
		headers = append(headers, traffic.Header{p.Name, p.Value})
	}
	if coding, ok := lookup(headers, "content-encoding"); ok && coding != "identity" || r.Content.Text == "" {
		return ""
	}
	body, plain := []byte(r.Content.Text), true
	if r.Content.Encoding != "" {
		var err error
		if body, err = base64.StdEncoding.DecodeString(r.Content.Text); err != nil || r.Content.Encoding != "base64" {
			return ""
		}
	} else {
		plain = !bytes.ContainsFunc(body, func(c rune) bool { return c >= utf8.RuneSelf })
	}
	length, said := lookup(headers, "content-length")
	switch {
	case said && length == strconv.Itoa(len(body)) && !bytes.ContainsRune(body, utf8.RuneError),
		said && length == strconv.Itoa(len(body)) && r.Content.Encoding == "base64",
		!said && plain && r.Content.Size == int64(len(body)):
		return digest(body)
	}
	return ""
}

func hexSHA256(s string) (string, error) {
	if len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" {
		return "", errors.New("no SHA-256 in lower-case hex")
	}
	return s, nil
}
