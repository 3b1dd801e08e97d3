// Package traffic holds the nouns that the rooms of umbra share, and their file formats: what was asked
// (Request), what the client saw of it (Result) and what a replica of the app saw of it (Receipt).
package traffic

import (
	"net/http"
	"strings"
	"time"
)

// IDHeader is the request header that carries a request's id from the client to every copy of the request.
// It is umbra's own, because the edge proxy overwrites a client's x-request-id.
const IDHeader = "X-Replay-Id"

// Header is one header line, name and value as they stood (or will stand) on the wire.
type Header [2]string

// Request is one request as captured or scripted.
type Request struct {
	At        time.Duration // since the start of the capture
	Session   string        // requests of one client connection or session share it; may be empty
	Method    string
	Scheme    string // "http" or "https"
	Authority string // the Host header or :authority
	Path      string // with the query, as on the request line
	Headers   []Header
	Body      []byte
	Response  *Response // as captured; nil where unknown
}

// ofConnection are headers that belong to the connection a request was captured from, or that the next one sets itself.
var ofConnection = map[string]bool{"host": true, "connection": true, "content-length": true, "transfer-encoding": true, "expect": true,
	"keep-alive": true, "proxy-connection": true, "upgrade": true, "trailer": true, "http2-settings": true, strings.ToLower(IDHeader): true}

// OfConnection tells whether a header is not to be sent again as it was captured; name is in lower case. Of "te" the protocol
// has to tell. Pseudo headers (":path") are none to send either.
func OfConnection(name string) bool { return ofConnection[name] || strings.HasPrefix(name, ":") }

// HasLength tells whether the request is sent with a content-length: one that has a body, or whose method asks for one.
func (r *Request) HasLength() bool {
	return len(r.Body) > 0 || r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch
}

// Size is about what the request takes in memory, in bytes.
func (r *Request) Size() int {
	n := 256 + len(r.Session) + len(r.Authority) + len(r.Path) + len(r.Body)
	for _, h := range r.Headers {
		n += 32 + len(h[0]) + len(h[1])
	}
	return n
}

// Response is what a capture knows of a request's answer.
type Response struct {
	Status     int
	Latency    time.Duration // from the request's first byte to the answer's last one, as seen on the wire; 0 where unknown
	BodySHA256 string        // lower-case hex; empty where unknown
}

// Phase says which part of a run a request belongs to.
type Phase string

// The phases.
const (
	PhaseWarmup   Phase = "warmup" // recorded, never judged
	PhaseStage    Phase = "stage"
	PhaseBlock    Phase = "block"
	PhaseCooldown Phase = "cooldown" // as the warm-up
)

// Outcome is how a planned request ended. Every planned request has exactly one.
type Outcome string

// The outcomes.
const (
	OK       Outcome = "ok"       // a complete response of any status
	Error    Outcome = "error"    // it ended without one; Result.Error has the class
	Timeout  Outcome = "timeout"  // its time was over, counted from due
	Inflight Outcome = "inflight" // sent, and unfinished when the run ended
	Unsent   Outcome = "unsent"   // never given to a connection
)

// Result is the client's record of one planned request. Instants are counted from the start of the run; Never
// stands for an instant that never came.
type Result struct {
	ID            string // what IDHeader carried
	Name          string // the mix entry; empty for captured traffic
	Route         string // the route that the route model gives it; empty without a mesh
	Method        string
	Path          string
	Phase         Phase
	Block         int    // its block, from 0; -1 outside blocks
	Arm           string // "off", "on", "control"; empty outside blocks
	Due           time.Duration
	Ready         time.Duration // when a connection was free, or would have been, had the client not been late itself
	Sent          time.Duration // when its first byte was handed to the kernel
	FirstByte     time.Duration // of the response
	LastByte      time.Duration // of the response
	End           time.Duration // when the outcome was known: LastByte where it is OK, never Never
	Outcome       Outcome
	Error         string // class; empty where Outcome is OK
	Status        int    // 0 where no status line arrived
	RequestBytes  int64  // on the connection, head and body
	ResponseBytes int64  // on the connection, head and body
	Conn          int    // index of the connection; -1 where it had none
	Retries       int    // how often it was sent again, each time because the server said that it had not processed it
	// ReadLag is at most how long the end of the response had lain in the kernel when the client read it: time of the
	// client's own doing that is in the response and the service time. 0 where there was no response.
	ReadLag time.Duration
}

// Stopped is the Result.Error of an Unsent request whose time had not come when the run was stopped: nobody asked for it
// any more, so it counts for no rate and in no objective.
const Stopped = "stopped"

// Never is an instant that did not come: null in the files.
const Never time.Duration = -1

// ResponseTime counts from due to the end, so that waiting for a connection or behind a slow server is in it. It is
// a lower bound unless the outcome is OK.
func (r *Result) ResponseTime() time.Duration { return r.End - r.Due }

// ServiceTime counts from sent to the end; 0 where the request was never sent. It is a lower bound unless the
// outcome is OK.
func (r *Result) ServiceTime() time.Duration {
	if r.Sent == Never {
		return 0
	}
	return r.End - r.Sent
}

// Lag is the generator's own lateness: sent − max(due, ready), as waiting for a connection is the server's doing.
// It is 0 where the request was never sent.
func (r *Result) Lag() time.Duration {
	if r.Sent == Never {
		return 0
	}
	return max(0, r.Sent-max(r.Due, r.Ready))
}

// Receipt is a replica's record of one request that reached it.
type Receipt struct {
	ID             string // empty where the request carried none
	Version        string
	Pod            string
	Arrived        time.Time
	Duration       time.Duration // Never where the request was unfinished when the receipt was fetched
	Method         string
	Authority      string
	Path           string
	HeaderSHA256   string // see HeaderDigest
	BodySHA256     string
	BodyBytes      int64
	Status         int    // 0 while unfinished
	ResponseSHA256 string // empty while unfinished
	BodyCut        bool   // the body ended before its length said so
	// ResponseJSONSHA256 is over the response's body as normalised JSON (jsonpath.Canonical) without the paths that the app was
	// told to ignore; empty where it was told none, and where the body is no JSON or larger than the app's limit.
	ResponseJSONSHA256 string
}
