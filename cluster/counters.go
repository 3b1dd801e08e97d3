package cluster

import (
	"fmt"
	"sync/atomic"
)

// counters are what a gateway counts of one cluster, under the names and by the rules of Envoy
// (docs/root/configuration/upstream/cluster_manager/cluster_stats.rst, source/common/http/codes.cc,
// source/common/router/router.cc). Each is atomic by itself; a snapshot under load is not one instant.
type counters struct {
	active, pending atomic.Int64 // gauges: on a connection; waiting for one

	total         atomic.Uint64 // tries that got a connection
	timeout       atomic.Uint64
	perTryTimeout atomic.Uint64
	retry         atomic.Uint64
	retrySuccess  atomic.Uint64
	retryLimit    atomic.Uint64
	pendingEject  atomic.Uint64 // requests whose connection could not be made
	connectFail   atomic.Uint64
	noneHealthy   atomic.Uint64

	internal, external statuses // answers given for mirrored requests, and for the clients'
	retried            statuses // answers that a retry followed; in neither of the above
}

// statuses counts answers by status code.
type statuses [600]atomic.Uint64

// charge counts an answer, be it the upstream's or the gateway's own in its place.
func (c *counters) charge(status int, internal bool) {
	if internal {
		c.internal[status].Add(1)
	} else {
		c.external[status].Add(1)
	}
}

// write adds all counters to out, each name after the prefix; codes only where they are above 0, as Envoy makes them
// when they first occur.
func (c *counters) write(prefix string, out map[string]uint64) {
	for name, v := range map[string]uint64{
		"upstream_rq_active":                uint64(max(0, c.active.Load())),
		"upstream_rq_pending_active":        uint64(max(0, c.pending.Load())),
		"upstream_rq_total":                 c.total.Load(),
		"upstream_rq_completed":             0,
		"upstream_rq_timeout":               c.timeout.Load(),
		"upstream_rq_per_try_timeout":       c.perTryTimeout.Load(),
		"upstream_rq_retry":                 c.retry.Load(),
		"upstream_rq_retry_success":         c.retrySuccess.Load(),
		"upstream_rq_retry_limit_exceeded":  c.retryLimit.Load(),
		"upstream_rq_rx_reset":              0, // counts HTTP/2 streams, and upstreams have HTTP/1 here
		"upstream_rq_tx_reset":              0,
		"upstream_rq_pending_failure_eject": c.pendingEject.Load(),
		"upstream_cx_connect_fail":          c.connectFail.Load(),
		"upstream_cx_none_healthy":          c.noneHealthy.Load(),
	} {
		out[prefix+name] = v
	}
	c.internal.write(out, prefix, prefix+"internal.")
	c.external.write(out, prefix, prefix+"external.")
	c.retried.write(out, prefix+"retry.")
}

// write adds the codes, their classes and their sum to what each prefix has already.
func (s *statuses) write(out map[string]uint64, prefixes ...string) {
	for code := range s {
		n := s[code].Load()
		if n == 0 {
			continue
		}
		for _, prefix := range prefixes {
			out[prefix+"upstream_rq_completed"] += n
			out[fmt.Sprintf("%supstream_rq_%dxx", prefix, code/100)] += n
			out[fmt.Sprintf("%supstream_rq_%d", prefix, code)] += n
		}
	}
}
