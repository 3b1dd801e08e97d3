package verdict

import "slices"

// topology is the facts, made ready for looking up what an arrival is.
type topology struct {
	facts    Facts
	counters counters
	byName   map[string]*route
	routes   []*route
	clusters []*cluster // those that mirrors go to, in the order of the routes
	pods     map[string]bool
	primary  map[string]bool       // pods that are a primary of some route
	byPod    map[string][]*cluster // the clusters of clusters that a pod is an endpoint of
}

// route is a route with its mirrors.
type route struct {
	RouteFact
	mirrors []*mirror
	pods    map[string]bool // of its primary destinations
	rows    int             // of any phase, that were sent
	again   int             // primary receipts after a request's first
	lost    *Restart        // of one of the pods, where receipts of it may be missing
}

// mirror is one mirror policy of a route, with what was seen of it.
type mirror struct {
	MirrorFact
	route   *route
	cluster *cluster
	shared  bool // some of its pods are primaries of its route, or another mirror's of it
	primary bool // some of its pods are primaries of its route
	tally   tally
}

// cluster is what one or more mirrors go to, with what was seen of it.
type cluster struct {
	name    string
	mirrors []*mirror
	pods    map[string]bool
	lost    *Restart // of one of the pods, where receipts of it may be missing
	ledger  ledger
}

func newTopology(f Facts) *topology {
	t := &topology{
		facts:    f,
		counters: counters{f.Before, f.After},
		byName:   map[string]*route{},
		pods:     map[string]bool{},
		primary:  map[string]bool{},
		byPod:    map[string][]*cluster{},
	}
	for _, pods := range f.Pods {
		for _, p := range pods {
			t.pods[p] = true
		}
	}
	for _, fact := range f.Routes {
		r := &route{RouteFact: fact, pods: map[string]bool{}}
		t.routes, t.byName[fact.Name] = append(t.routes, r), r
		for _, c := range fact.Clusters {
			addAll(r.pods, f.Pods[c])
			addAll(t.primary, f.Pods[c])
		}
		for _, m := range fact.Mirrors {
			t.addMirror(r, m)
		}
	}
	for _, r := range t.routes {
		r.markShared()
		r.lost = t.lostAt(r.pods)
	}
	return t
}

func addAll(set map[string]bool, of []string) {
	for _, s := range of {
		set[s] = true
	}
}

func (t *topology) addMirror(r *route, fact MirrorFact) {
	m := &mirror{MirrorFact: fact, route: r, cluster: t.clusterOf(fact.Cluster)}
	m.cluster.mirrors = append(m.cluster.mirrors, m)
	r.mirrors = append(r.mirrors, m)
}

func (t *topology) clusterOf(name string) *cluster {
	for _, c := range t.clusters {
		if c.name == name {
			return c
		}
	}
	c := &cluster{name: name, pods: map[string]bool{}}
	addAll(c.pods, t.facts.Pods[name])
	c.lost = t.lostAt(c.pods)
	t.clusters = append(t.clusters, c)
	for p := range c.pods {
		t.byPod[p] = append(t.byPod[p], c)
	}
	return c
}

// markShared finds the mirrors whose arrivals cannot be told by their pods alone.
func (r *route) markShared() {
	for _, m := range r.mirrors {
		for p := range m.cluster.pods {
			m.primary = m.primary || r.pods[p]
			m.shared = m.shared || r.pods[p] || slices.ContainsFunc(r.mirrors, func(o *mirror) bool { return o != m && o.cluster.pods[p] })
		}
	}
}

// shared tells whether any of a route's mirrors is.
func (r *route) shared() bool {
	return slices.ContainsFunc(r.mirrors, func(m *mirror) bool { return m.shared })
}

// upstream tells whether the route's requests leave the gateway.
func (r *route) upstream() bool { return r.Upstream && r.AbortNumerator < million }

// abortShare is the share of requests that the route's fault is to answer.
func (r *route) abortShare() float64 { return min(1, float64(r.AbortNumerator)/million) }

// mirrored tells whether the route has a mirror that is to get anything.
func (r *route) mirrored() bool {
	return slices.ContainsFunc(r.mirrors, func(m *mirror) bool { return m.Numerator > 0 })
}

// retried is how often the gateway tried a primary of the route again; not known where a cluster's counter is not.
func (t *topology) retried(r *route) (n uint64, known bool) {
	for _, c := range r.Clusters {
		v, ok := t.counters.delta(c, "upstream_rq_retry")
		if !ok {
			return 0, false
		}
		n += v
	}
	return n, true
}

// within lists the routes, r among them, whose primaries' clusters are all r's: every retry of theirs is counted there.
func (t *topology) within(r *route) (rs []*route) {
	for _, o := range t.routes {
		if !slices.ContainsFunc(o.Clusters, func(c string) bool { return !slices.Contains(r.Clusters, c) }) {
			rs = append(rs, o)
		}
	}
	return rs
}

// tries is how many primary arrivals a request of the route may have: 1 where the gateway says that it retried none.
func (t *topology) tries(r *route) int {
	if n, known := t.retried(r); known && n == 0 {
		return 1
	}
	return 1 + r.Retries
}

// confusing is how many retries of the route's primaries may have been taken for copies of a mirror that shares their
// pods: those that no further receipt of a primary accounts for. Not known where the gateway does not count retries.
func (t *topology) confusing(m *mirror) (n int, known bool) {
	if !m.primary {
		return 0, true
	}
	retries, known := t.retried(m.route)
	if !known && m.route.Retries == 0 {
		return 0, true
	}
	return max(0, int(retries)-m.route.again), known
}

// unsettled tells whether the run ended before copies that were on their way to some mirror had arrived; the ledgers
// must be settled.
func (t *topology) unsettled() bool {
	return slices.ContainsFunc(t.clusters, t.clusterUnsettled)
}

func (t *topology) clusterUnsettled(c *cluster) bool {
	g := &c.ledger.figures
	return t.facts.Undrained && (g.Pending > 0 || c.ledger.known && g.Missing > 0)
}
