package verdict

import (
	"fmt"
	"strings"
	"time"
)

// text is "pod my-app-v2-5d8f (v2) restarted 1 time at 2026-11-23T10:11:12Z".
func (r *Restart) text() string {
	s := "pod " + r.Pod
	if r.Version != "" {
		s += " (" + r.Version + ")"
	}
	s += " " + r.What
	if !r.At.IsZero() {
		s += " at " + r.At.UTC().Format(time.RFC3339)
	}
	return s
}

// doubt says why a missing receipt proves nothing.
func (r *Restart) doubt() string { return r.text() + ", and receipts of it may be missing" }

// killed tells whether the pod, or a container of it, ended and came again.
func (r *Restart) killed() bool { return strings.HasPrefix(r.What, "restarted") }

// began tells whether nothing of the pod ended.
func (r *Restart) began() bool { return strings.HasPrefix(r.What, "began") }

// restartedAt lists what happened to pods of a set. A pod that is in no cluster may have been of any.
func (t *topology) restartedAt(pods map[string]bool) (rs []*Restart) {
	for i := range t.facts.Restarts {
		if r := &t.facts.Restarts[i]; pods[r.Pod] || !t.pods[r.Pod] {
			rs = append(rs, r)
		}
	}
	return rs
}

// lostAt gives the first pod of a set whose receipts may be missing; nil where there is none.
func (t *topology) lostAt(pods map[string]bool) *Restart {
	for _, r := range t.restartedAt(pods) {
		if r.Lost {
			return r
		}
	}
	return nil
}

// lost gives the first pod of any kind whose receipts may be missing; nil where there is none.
func (t *topology) lost() *Restart {
	for i := range t.facts.Restarts {
		if t.facts.Restarts[i].Lost {
			return &t.facts.Restarts[i]
		}
	}
	return nil
}

// restartWarnings tells of the pods that did not last the whole run: those that mirrors use, or the others.
func (t *topology) restartWarnings(mirrors bool) (ws []string) {
	for i := range t.facts.Restarts {
		r := &t.facts.Restarts[i]
		switch {
		case (len(t.byPod[r.Pod]) > 0) != mirrors:
		case r.Lost:
			ws = append(ws, r.doubt())
		default:
			ws = append(ws, r.text()+"; none of its receipts is missing")
		}
	}
	return ws
}

// The codes of Delivery's findings: how a shadow that did not get all, or did not answer well, is wrong.
const (
	ShadowScaledToZero = "shadow_scaled_to_zero" // no endpoint was left
	ShadowKilled       = "shadow_killed"         // a pod of it was killed while it was mirrored to
	ShadowEnded        = "shadow_ended"          // a pod of it ended in good order while it was mirrored to
	ShadowRefused      = "shadow_refused"        // the gateway got 5xx, and the app no request: its sidecar answered
	ShadowDown         = "shadow_down"           // it took no connections, for reasons that are not known
	ShadowAnswered5xx  = "shadow_answered_5xx"   // by the app itself, which is delivery all the same
)

// trouble is what is wrong with a shadow, in the gateway's eyes.
type trouble struct {
	code string
	what string // a noun phrase
	how  string // a sentence, with its figures
	n    uint64 // requests, or connections
}

// trouble tells the ways apart in which a shadow was not there: without endpoints, killed, refusing, or unknown.
func (d *delivery) trouble(c *cluster) (trouble, bool) {
	g, l, name := &c.ledger.figures, &c.ledger, ShortCluster(c.name)
	if g.broken() == 0 && g.Refused == 0 || d.servesPrimaries(c) {
		return trouble{}, false
	}
	how := join([]string{g.failures(), refusals(g.Refused, name)}, ", ") + lostToo(l)
	n := max(g.broken(), g.Refused)
	ended := d.ended(c)
	healthy, exported := d.topology.counters.after["cluster."+c.name+".membership_healthy"]
	switch {
	case ended != nil && ended.killed():
		return trouble{ShadowKilled, "signs of a shadow that was killed", "shadow killed mid-run: " + ended.text() + "; " + how, n}, true
	case g.NoneHealthy > 0 && exported && healthy == 0:
		return trouble{ShadowScaledToZero, "requests to a shadow without endpoints", "shadow scaled to zero: " + name + " has no healthy endpoint left; " + how, g.NoneHealthy}, true
	case ended != nil && ended.Lost:
		return trouble{ShadowKilled, "signs of a shadow that was killed", "shadow killed mid-run: " + ended.text() + "; " + how, n}, true
	case ended != nil:
		return trouble{ShadowEnded, "signs of a shadow that lost a pod", "shadow lost a pod mid-run: " + ended.text() + "; " + how, n}, true
	case g.broken() == 0:
		return trouble{ShadowRefused, "requests that the shadow's sidecar refused", "shadow refused: " + how, n}, true
	case g.NoneHealthy > 0 && !exported:
		return trouble{ShadowDown, "signs of a shadow that is down", "shadow down, or scaled to zero: " + how, n}, true
	}
	return trouble{ShadowDown, "signs of a shadow that is down", "shadow down: " + how, n}, true
}

// ended is the first pod of a cluster that restarted, or else ended; nil where none did.
func (d *delivery) ended(c *cluster) (first *Restart) {
	for _, r := range d.topology.restartedAt(c.pods) {
		switch {
		case r.killed():
			return r
		case first == nil && !r.began():
			first = r
		}
	}
	return first
}

func refusals(n uint64, name string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("the gateway got 5xx for %s to %s of which the app has no receipt", plural(n, "request", "requests"), name)
}

// refused is how many of a cluster's requests were answered 5xx, and certainly not by the app: of those that did not
// arrive, as many as there are 5xx beyond the app's own, the gateway's and those of time-outs and resets. Where receipts
// of the app's own 5xx may be among the missing there is no telling.
func (d *delivery) refused(c *cluster) uint64 {
	l, k := &c.ledger, d.topology.counters
	if !l.known || l.approximate || uint64(l.arrived) >= l.low || d.topology.facts.Incomplete || c.lost != nil && l.answers["5xx"] > 0 {
		return 0
	}
	explained := uint64(l.answers["5xx"]) + l.failedHigh +
		k.rise(c.name, "upstream_rq_timeout") + k.rise(c.name, "upstream_rq_rx_reset") + k.rise(c.name, "upstream_rq_tx_reset")
	answered := k.rise(c.name, "internal.upstream_rq_5xx")
	if answered <= explained {
		return 0
	}
	return min(answered-explained, l.low-uint64(l.arrived))
}

// troubles are Delivery's findings.
func (d *delivery) troubles() (fs []Finding) {
	for _, c := range d.topology.clusters {
		if t, bad := d.trouble(c); bad {
			fs = append(fs, Finding{Code: t.code, Severity: Failure, Text: t.what, Count: int(t.n)})
		}
		if n := c.ledger.answers["5xx"]; n > 0 {
			fs = append(fs, Finding{Code: ShadowAnswered5xx, Severity: Warning, Text: "mirrored requests that the shadow itself answered 5xx", Count: n})
		}
	}
	return fs
}
