package app

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"umbra/internal/jsonpath"
	"umbra/internal/pause"
	"umbra/internal/traffic"
)

// exchange is one request on its way through the app. One goroutine has it.
type exchange struct {
	app     *App
	now     *setting // as they were when it arrived
	entry   *entry
	request *http.Request
	arrived time.Time
	path    string // as on the request line
	body    digest
	cut     bool
	drawn   Draws         // once wait has made them
	took    time.Duration // until the answer was made; 0 before
}

// digest is the hash and length of a body.
type digest struct {
	sha256 string
	bytes  int64
}

// handle reads the request, waits as the behaviour and the mode say, and answers.
func (a *App) handle(w http.ResponseWriter, r *http.Request) {
	x := a.begin(r)
	defer x.end(0, "", "") // does nothing where it was answered
	if x.now.Mode != ModeHung || x.fits() {
		x.readBody()
	}
	status, answered := x.wait()
	if !answered {
		panic(http.ErrAbortHandler) // a return would answer 200
	}
	x.answer(w, status)
}

// begin makes the receipt, now that the request's headers are there.
func (a *App) begin(r *http.Request) *exchange {
	x := &exchange{app: a, now: a.now.Load(), request: r, arrived: time.Now(), path: target(r)}
	a.metrics.begin()
	x.entry = a.ledger.begin(traffic.Receipt{
		ID:           r.Header.Get(traffic.IDHeader),
		Version:      a.config.Version,
		Pod:          a.config.Pod,
		Arrived:      x.arrived,
		Method:       r.Method,
		Authority:    r.Host,
		Path:         x.path,
		HeaderSHA256: traffic.HeaderDigest(r.Header),
	})
	return x
}

// target is the path and query as the client wrote them.
func target(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI
	}
	return r.URL.RequestURI()
}

// unreadFrom is the length from which a hung app reads no body. What is shorter lies in its socket's buffer anyhow, and is read so that the
// receipt has its digest.
const unreadFrom = 32 << 10

// fits tells whether the body lies in the socket's buffer, or will.
func (x *exchange) fits() bool {
	return x.request.ContentLength >= 0 && x.request.ContentLength <= unreadFrom
}

// readBody hashes the body as it comes.
func (x *exchange) readBody() {
	sum, buffer := sha256.New(), buffers.Get().(*[]byte)
	n, err := io.CopyBuffer(sum, x.request.Body, *buffer)
	buffers.Put(buffer)
	x.body, x.cut = digest{hexSum(sum), n}, err != nil
	x.app.ledger.update(x.entry, func(r *traffic.Receipt) {
		r.BodySHA256, r.BodyBytes, r.BodyCut = x.body.sha256, x.body.bytes, x.cut
	})
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// wait passes the request's latency and gives the status to answer with; false where there is to be no answer,
// because the client or the app has ended, or the app is hung until then or until other settings.
func (x *exchange) wait() (status int, answered bool) {
	x.drawn = x.draws()
	if x.cut {
		return http.StatusBadRequest, true
	}
	now, ctx := x.now, x.request.Context()
	latency, fails := now.Behaviour.plan(x.drawn)
	switch now.Mode {
	case ModeHung:
		select {
		case <-ctx.Done():
		case <-now.over:
		}
		return 0, false
	case ModeSlow:
		latency += now.SlowBy
	case ModeErrors:
		fails = true
	}
	if !pause.For(ctx, latency+now.Delay) {
		return 0, false
	}
	if fails {
		return http.StatusServiceUnavailable, true
	}
	return http.StatusOK, true
}

// draws are the request's own. A request without an id goes by its number among those.
func (x *exchange) draws() Draws {
	config := &x.app.config
	if id := x.request.Header.Get(traffic.IDHeader); id != "" {
		return NewDraws(x.now.Seed, config.Version, id)
	}
	return NewDraws(x.now.Seed, config.Version, config.Pod, strconv.FormatUint(x.app.unnamed.Add(1), 10))
}

// reply is the answer's JSON: what the app understood of the request.
type reply struct {
	Method     string `json:"method"`
	Path       string `json:"path"`
	BodySHA256 string `json:"body_sha256"`
	BodyBytes  int64  `json:"body_bytes"`
	Differs    string `json:"differs,omitempty"` // the version, where the answer is to be another one than other versions'
	Time       string `json:"time,omitempty"`    // when it was made, where answers are stamped
}

// reply makes the answer's JSON.
func (x *exchange) reply() []byte {
	r := reply{Method: x.request.Method, Path: x.path, BodySHA256: x.body.sha256, BodyBytes: x.body.bytes}
	if b := &x.now.Behaviour; b.Differ > 0 && b.differs(x.drawn) {
		r.Differs = x.app.config.Version
	}
	if x.now.Behaviour.Stamp {
		r.Time = time.Now().UTC().Format(time.RFC3339Nano)
	}
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return text
}

// maxJSON is the size of the largest answer that is normalised, in bytes.
const maxJSON = 1 << 20

// normalised is the digest of an answer's JSON without what is to be ignored; empty where it is not asked for, or the answer
// is too large. The blanks behind the JSON make no difference to it.
func (x *exchange) normalised(text []byte, size int) string {
	if len(x.now.ignored) == 0 || size > maxJSON {
		return ""
	}
	form, ok := jsonpath.Canonical(text, x.now.ignored)
	if !ok {
		return ""
	}
	sum := sha256.Sum256(form)
	return hex.EncodeToString(sum[:])
}

var blanks = []byte(strings.Repeat(" ", 16<<10))

// answer writes the reply, padded with blanks. The receipt is finished before the last byte goes out: who has a whole
// answer finds a whole receipt.
func (x *exchange) answer(w http.ResponseWriter, status int) {
	text := x.reply()
	size := max(x.now.Behaviour.ResponseSize, len(text)+1)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(size))
	h.Set(VersionHeader, x.app.config.Version)
	w.WriteHeader(status)

	sum := sha256.New()
	if x.request.Method == http.MethodHead {
		x.end(status, hexSum(sum), "")
		return
	}
	// A write fails only where the client has gone; the receipt tells what it would have got.
	out := io.MultiWriter(sum, dropErrors{w})
	out.Write(text)
	for left := size - len(text) - 1; left > 0; left -= min(left, len(blanks)) {
		out.Write(blanks[:min(left, len(blanks))])
	}
	sum.Write([]byte("\n"))
	x.took = time.Since(x.arrived) // without the normalising, which is none of the answer's work
	x.end(status, hexSum(sum), x.normalised(text, size))
	io.WriteString(w, "\n")
}

// dropErrors lets a MultiWriter go on.
type dropErrors struct{ io.Writer }

func (d dropErrors) Write(p []byte) (int, error) {
	d.Writer.Write(p)
	return len(p), nil
}

// end finishes the receipt and counts the request, once. response and normalised are digests of the answer.
func (x *exchange) end(status int, response, normalised string) {
	took := x.took
	if took == 0 {
		took = time.Since(x.arrived)
	}
	finished := x.app.ledger.finish(x.entry, func(r *traffic.Receipt) {
		r.Status, r.ResponseSHA256, r.ResponseJSONSHA256, r.Duration = status, response, normalised, took
	})
	if finished {
		x.app.metrics.end(status, took)
	}
}
