package verdict

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"umbra/internal/stats"
)

// DeliveryFigures are one mirror cluster's: what the gateway counted, what arrived.
type DeliveryFigures struct {
	Counted     uint64 `json:"counted"`                // requests that the gateway says it sent there as mirrors
	CountedHigh uint64 `json:"counted_high,omitempty"` // where that is only known within bounds, the upper one
	Arrived     int    `json:"arrived"`                // distinct ids
	ArrivedLow  int    `json:"arrived_low,omitempty"`  // where retries of primaries may be among them, without those
	Missing     int64  `json:"missing"`                // counted and not arrived; negative where more arrived than was counted
	Active      uint64 `json:"active"`                 // still under way after the drain
	Pending     uint64 `json:"pending"`                // still waiting for a connection then; not in Counted
	Foreign     int    `json:"foreign,omitempty"`      // ids that may have arrived as copies at a pod which is in no cluster
	Eligible    int    `json:"eligible"`               // requests of the stages that its mirrors draw from

	NoneHealthy         uint64 `json:"none_healthy"`          // dropped: no healthy endpoint
	PendingOverflow     uint64 `json:"pending_overflow"`      // dropped: circuit breaker
	PendingFailureEject uint64 `json:"pending_failure_eject"` // dropped: no connection came about
	ConnectFail         uint64 `json:"connect_fail"`          // connections that failed
	Refused             uint64 `json:"refused,omitempty"`     // of Missing, answered 5xx, and not by the app

	AbsentPValue *float64       `json:"absent_p_value,omitempty"` // of nothing being mirrored by chance
	Answers      map[string]int `json:"answers,omitempty"`        // the shadow's, by status class; "unfinished"
}

// ledger is what was seen of a mirror cluster.
type ledger struct {
	arrived     int // distinct ids, once for each mirror policy that sent them
	fewest      int // of arrived, without what may be retries of primaries
	foreign     int // ids that arrived once more than their primary explains, at a pod that is in no cluster
	answers     map[string]int
	figures     DeliveryFigures
	known       bool   // the counters can be used
	why         string // they cannot
	low, high   uint64 // bounds of what the gateway sent as mirrors
	approximate bool
	failed      uint64 // requests decided on and never sent, at least
	failedHigh  uint64 // at most: failed connections and time-outs may each have cost one, and what waits is not sent yet
}

// delivery judges whether what the gateway says it mirrored has arrived.
type delivery struct {
	topology *topology
	recon    *Recon
	// expected counts the primary arrivals at the pods of clusters that primaries and mirrors share.
	expected map[string]int
	vague    map[string]bool // clusters of which a primary arrival could be another's
	seen     []*cluster      // of one row
}

func newDelivery(t *topology, r *Recon) *delivery {
	for _, c := range t.clusters {
		c.ledger.answers = map[string]int{}
	}
	return &delivery{topology: t, recon: r, expected: map[string]int{}, vague: map[string]bool{}}
}

// visit counts an id's arrivals at the mirror clusters. Warm-up, and copies that should not be, were sent too.
func (d *delivery) visit(f *fate) {
	if f.route == nil {
		d.visitOthers(f.all, true)
		return
	}
	if f.row.is(sent) {
		f.route.rows++
	}
	for i, copies := range f.copies {
		switch c := f.route.mirrors[i].cluster; {
		case len(copies) > 0:
			d.count(c, copies)
		case f.row.is(sent) && f.route.mirrors[i].Numerator > 0 && f.unexplained() > 0:
			c.ledger.foreign++
		}
	}
	d.visitOthers(f.leaked, false)
	d.visitOthers(f.stray, false)
	for _, a := range f.primaries {
		d.countPrimary(f.route, a)
	}
}

// unexplained is how many of the arrivals at pods of no cluster cannot be the primary's: it has arrived elsewhere, or
// one of them is its own, as the request was answered.
func (f *fate) unexplained() int {
	if len(f.primaries) == 0 && f.row.outcome == ok {
		return len(f.foreign) - 1
	}
	return len(f.foreign)
}

// count enters one id.
func (d *delivery) count(c *cluster, copies []*arrival) {
	c.ledger.arrived++
	for _, a := range copies {
		c.ledger.answers[answer(a)]++
	}
}

// visitOthers enters arrivals that no mirror explains at the cluster of mirrors that their pod is of. Where nothing
// is known of a request's route (unrouted), a pod that serves primaries too may have been its primary.
func (d *delivery) visitOthers(as []*arrival, unrouted bool) {
	d.seen = d.seen[:0]
	for _, a := range as {
		pod := d.recon.pods.text[a.pod]
		clusters := d.topology.byPod[pod]
		if len(clusters) == 0 || unrouted && d.topology.primary[pod] || slices.Contains(d.seen, clusters[0]) {
			continue
		}
		d.seen = append(d.seen, clusters[0])
		d.count(clusters[0], []*arrival{a})
	}
}

// countPrimary enters a primary arrival, for the clusters that are also mirrored to.
func (d *delivery) countPrimary(r *route, a *arrival) {
	pod, hits := d.recon.pods.text[a.pod], 0
	for _, name := range r.Clusters {
		if slices.Contains(d.topology.facts.Pods[name], pod) {
			d.expected[name]++
			hits++
		}
	}
	for _, name := range r.Clusters {
		d.vague[name] = d.vague[name] || hits > 1
	}
}

func answer(a *arrival) string {
	if a.is(unfinished) || a.status == 0 {
		return "unfinished"
	}
	return fmt.Sprintf("%dxx", a.status/100)
}

// settle reads the counters of every mirror cluster; sampling and the verdict stand on what it finds.
func (d *delivery) settle() {
	for _, c := range d.topology.clusters {
		d.settleCluster(c)
	}
}

// used are the counters that a ledger is made of.
var used = []string{"upstream_rq_total", "upstream_cx_none_healthy", "upstream_rq_pending_overflow",
	"upstream_rq_pending_failure_eject", "upstream_cx_connect_fail", "upstream_rq_timeout", "upstream_rq_rx_reset", "upstream_rq_tx_reset"}

func (d *delivery) settleCluster(c *cluster) {
	l, k := &c.ledger, d.topology.counters
	l.figures = DeliveryFigures{
		Arrived:             l.arrived,
		Active:              k.after["cluster."+c.name+".upstream_rq_active"],
		Pending:             k.after["cluster."+c.name+".upstream_rq_pending_active"],
		Foreign:             l.foreign,
		NoneHealthy:         k.rise(c.name, "upstream_cx_none_healthy"),
		PendingOverflow:     k.rise(c.name, "upstream_rq_pending_overflow"),
		PendingFailureEject: k.rise(c.name, "upstream_rq_pending_failure_eject"),
		ConnectFail:         k.rise(c.name, "upstream_cx_connect_fail"),
		Answers:             l.answers,
	}
	g := &l.figures
	l.failed = g.NoneHealthy + g.PendingOverflow + g.PendingFailureEject
	l.failedHigh = g.NoneHealthy + g.PendingOverflow + max(g.PendingFailureEject, g.ConnectFail) + g.Pending
	total, exported := k.delta(c.name, "upstream_rq_total")
	if g.broken() > 0 || total == 0 { // requests may have timed out while they waited for a connection
		l.failedHigh += k.rise(c.name, "upstream_rq_timeout")
	}
	l.low, l.high = total, total
	l.why = d.unusable(c, exported)
	if l.why == "" && d.servesPrimaries(c) {
		l.approximate = true
		l.low, l.high, l.why = d.split(c)
	}
	l.known = l.why == ""
	g.Counted = l.low
	if l.high != l.low {
		g.CountedHigh = l.high
	}
	g.Missing = int64(l.low) - int64(l.arrived)
	g.Refused = d.refused(c)
	l.fewest = d.fewest(c)
	if l.fewest != l.arrived {
		g.ArrivedLow = l.fewest
	}
}

// fewest is how many of a cluster's arrivals cannot be retries of primaries that were taken for copies.
func (d *delivery) fewest(c *cluster) int {
	n := c.ledger.arrived
	for i, m := range c.mirrors {
		if i > 0 && c.mirrors[i-1].route == m.route {
			continue
		}
		retries, known := d.topology.confusing(m)
		if !known {
			return 0
		}
		n -= retries
	}
	return max(0, n)
}

// unusable tells why a cluster's counters prove nothing; "" where they do.
func (d *delivery) unusable(c *cluster, exported bool) string {
	k := d.topology.counters
	switch {
	case len(k.after) == 0:
		return "the gateway's counters after the run are missing"
	case k.fell(c.name, used...):
		return "the gateway's counters fell: it was restarted during the run"
	case exported:
		return ""
	case c.ledger.arrived > 0:
		return "the gateway does not export the cluster's counters: let proxyStatsMatcher include cluster.*"
	case !slices.ContainsFunc(keys(k.after), func(key string) bool { return strings.HasSuffix(key, ".upstream_rq_total") }):
		return "the gateway exports no cluster's counters: let proxyStatsMatcher include cluster.*"
	}
	return "" // a cluster that the gateway does not know has counted nothing
}

func keys(m map[string]uint64) []string {
	ks := make([]string, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	return ks
}

// servesPrimaries tells whether a route that got requests has the cluster among its primary destinations.
func (d *delivery) servesPrimaries(c *cluster) bool {
	return slices.ContainsFunc(d.topology.routes, func(r *route) bool {
		return r.rows > 0 && slices.Contains(r.Clusters, c.name)
	})
}

// split bounds what the gateway mirrored to a cluster that primaries use too, by Envoy's internal counters. They are
// charged on responses, so time-outs, resets and what is still active may be missing from them or may be in them.
// They are believed only where the external ones are what the primaries' receipts say.
func (d *delivery) split(c *cluster) (low, high uint64, why string) {
	k := d.topology.counters
	internal, external, known := d.classes(c.name, "internal"), d.classes(c.name, "external"), uint64(d.expected[c.name])
	retries := k.rise(c.name, "upstream_rq_retry")
	if d.vague[c.name] || external > known || external+retries < known {
		return 0, 0, fmt.Sprintf("primaries use this cluster too, and Envoy's internal and external counters do not part them from mirrors (external %s, primary receipts %s)",
			count(external), count(known))
	}
	loose := k.rise(c.name, "upstream_rq_timeout") + k.rise(c.name, "upstream_rq_rx_reset") +
		k.rise(c.name, "upstream_rq_tx_reset") + c.ledger.figures.Active
	return internal, internal + loose, ""
}

// classes sums a cluster's responses of one origin.
func (d *delivery) classes(cluster, origin string) (sum uint64) {
	for class := 1; class <= 5; class++ {
		sum += d.topology.counters.rise(cluster, fmt.Sprintf("%s.upstream_rq_%dxx", origin, class))
	}
	return sum
}

// missing bounds how many requests the gateway decided to mirror there that did not arrive. Where the counters say
// nothing it may be any number.
func (l *ledger) missing() (low, high int) {
	if !l.known {
		return 0, math.MaxInt32
	}
	least, most := int64(l.low)-int64(l.arrived), int64(l.high+l.failedHigh)-int64(l.arrived)
	if !l.approximate { // else a failure may have been a primary's
		least += int64(l.failed)
	}
	return int(max(0, least)), int(max(0, most))
}

// verdict judges every mirror cluster.
func (d *delivery) verdict() Verdict {
	v := Verdict{Name: Delivery}
	for _, c := range d.topology.clusters {
		item := d.item(c)
		v.Items = append(v.Items, item)
		if item.State != NotTested {
			v.Warnings = append(v.Warnings, d.warnings(c)...)
		}
	}
	v.Items = append(v.Items, d.absences()...)
	v.Findings = d.troubles()
	v.Warnings = append(v.Warnings, d.topology.restartWarnings(true)...)
	v.State = worst(v.Items)
	switch {
	case len(d.topology.clusters) == 0:
		v.Summary = "no route mirrors"
	case v.State == NotTested:
		v.State, v.Summary = Inconclusive, "nothing was mirrored yet: no mirroring route got a request"
	default:
		v.Summary = headline(v.Items, v.State)
	}
	return v
}

// headline is the sentence of the first item in the state, and how many more are in it.
func headline(items []Item, state State) string {
	first, more := "", 0
	for _, item := range items {
		switch {
		case item.State != state:
		case first == "":
			first = item.Summary
		default:
			more++
		}
	}
	if more > 0 {
		first += fmt.Sprintf(" (and %s more)", count(more))
	}
	return first
}

func (d *delivery) item(c *cluster) Item {
	c.ledger.figures.Eligible = eligible(c)
	state, summary := d.judge(c)
	if len(c.ledger.figures.Answers) == 0 {
		c.ledger.figures.Answers = nil
	}
	return Item{Cluster: c.name, State: state, Summary: summary, Approximate: c.ledger.approximate, Delivery: &c.ledger.figures}
}

// eligible sums the requests that the cluster's mirrors drew from, each route once.
func eligible(c *cluster) (n int) {
	for i, m := range c.mirrors {
		if i == 0 || c.mirrors[i-1].route != m.route {
			n += m.tally.eligible
		}
	}
	return n
}

// judge is the law of this verdict for one cluster, in the order of what is certain.
func (d *delivery) judge(c *cluster) (State, string) {
	l, g, name := &c.ledger, &c.ledger.figures, ShortCluster(c.name)
	arrived := int64(l.arrived)
	trouble, bad := d.trouble(c)
	switch {
	case !slices.ContainsFunc(c.mirrors, func(m *mirror) bool { return m.route.rows > 0 && m.route.upstream() }):
		return NotTested, "no route that mirrors to " + name + " got a request"
	case bad:
		return Fail, trouble.how
	case d.topology.facts.Incomplete:
		return Inconclusive, "receipts or results are missing, so arrivals cannot be counted"
	case !l.known:
		return Inconclusive, l.why
	case arrived > int64(l.high):
		return l.excess(name)
	case int64(l.low) > arrived:
		return d.short(c, name)
	case g.Pending > 0:
		return Inconclusive, waiting(g, name)
	case g.broken() > 0:
		return Inconclusive, "the cluster failed, but primaries use it too, so it cannot be told whose requests: " + g.failures()
	case l.low != l.high:
		return Inconclusive, fmt.Sprintf("primaries use this cluster too; the gateway mirrored between %s and %s there, %s arrived", count(l.low), count(l.high), count(l.arrived))
	case l.fewest < l.arrived:
		return Inconclusive, fmt.Sprintf("the gateway mirrored %s to %s, between %s and %s arrived: %s",
			plural(l.low, "request", "requests"), name, count(l.fewest), count(l.arrived), confused)
	case l.low == 0:
		return d.nothing(c, name)
	}
	return Pass, fmt.Sprintf("the gateway mirrored %s to %s, all arrived", plural(l.low, "request", "requests"), name) + l.answered5xx()
}

// answered5xx tells of a shadow that got its requests and did not like them.
func (l *ledger) answered5xx() string {
	if l.answers["5xx"] == 0 {
		return ""
	}
	return "; the shadow itself answered 5xx to " + count(l.answers["5xx"])
}

// confused says why arrivals are only known within bounds.
const confused = "primaries were retried at pods that the mirror uses too, so retries and mirrors cannot be told apart"

// excess judges a cluster where more arrived than the gateway counted.
func (l *ledger) excess(name string) (State, string) {
	text := fmt.Sprintf("%s arrived at %s, more than the %s that the gateway says it mirrored there", count(l.arrived), name, count(l.high))
	switch {
	case uint64(l.fewest) > l.high+l.figures.Pending:
		return Fail, text
	case uint64(l.arrived) > l.high+l.figures.Pending:
		return Inconclusive, text + "; but " + confused
	}
	return Inconclusive, text + ", when " + count(l.figures.Pending) + " still waited for a connection"
}

// waiting tells of requests that the gateway had not sent yet.
func waiting(g *DeliveryFigures, name string) string {
	return plural(g.Pending, "shadow request to "+name+" still waits", "shadow requests to "+name+" still wait") + " for a connection"
}

// short judges a cluster where fewer arrived than the gateway sent.
func (d *delivery) short(c *cluster, name string) (State, string) {
	l := &c.ledger
	missing, flying, foreign := l.low-uint64(l.arrived), l.figures.Active+l.figures.Pending, uint64(l.foreign)
	text := fmt.Sprintf("%s of %s mirrored to %s did not arrive, and ", count(missing), count(l.low), name)
	switch {
	case missing <= flying:
		return Inconclusive, text + count(flying) + " still in flight after the drain"
	case missing <= flying+foreign:
		return Inconclusive, text + count(foreign) + " that may be among them arrived at pods that are in no cluster"
	case d.topology.clusterUnsettled(c):
		return Inconclusive, text + "the run ended before the mirror clusters were idle"
	case c.lost != nil:
		return Inconclusive, text + c.lost.doubt()
	}
	return Fail, fmt.Sprintf("%s of the %s that the gateway mirrored to %s did not arrive: the shadow lost requests", count(missing), plural(l.low, "request", "requests"), name)
}

// nothing judges a cluster to which the gateway mirrored nothing at all.
func (d *delivery) nothing(c *cluster, name string) (State, string) {
	chance, any := 1.0, false
	for _, r := range d.topology.routes {
		n, p := r.most(c)
		chance *= math.Pow(1-p, float64(n))
		any = any || p > 0
	}
	if !any {
		return Pass, "nothing was mirrored to " + name + ", as configured"
	}
	c.ledger.figures.AbsentPValue = &chance
	if chance < alpha {
		return Fail, fmt.Sprintf("mirror absent: the gateway mirrored nothing to %s, of %s", name, plural(c.ledger.figures.Eligible, "request that could have been", "requests that could have been"))
	}
	return Inconclusive, fmt.Sprintf("nothing was mirrored to %s yet, of %s", name, plural(c.ledger.figures.Eligible, "request that could have been", "requests that could have been"))
}

// most gives a route's eligible requests and the largest fraction of them that goes to the cluster: the sets of a
// route's mirrors are nested.
func (r *route) most(c *cluster) (n int, p float64) {
	for _, m := range r.mirrors {
		if m.cluster == c {
			n, p = m.tally.eligible, max(p, m.p())
		}
	}
	return n, p
}

// absences judges the mirror policies of which nothing arrived in the stages, where their cluster's counters do not show
// it: other policies send there too, or there was a warm-up. Holm keeps chance at 5 % over all policies, as of many
// routes with few requests each some mirror nothing by chance.
func (d *delivery) absences() (items []Item) {
	if d.topology.facts.Incomplete {
		return nil
	}
	var policies []*mirror
	var p []float64
	for _, c := range d.topology.clusters {
		_, missing := c.ledger.missing()
		for _, m := range c.mirrors {
			if m.Numerator > 0 && m.tally.eligible > 0 {
				policies, p = append(policies, m), append(p, m.chance(missing))
			}
		}
	}
	for i, adjusted := range stats.Holm(p) {
		if item, doubtful := policies[i].absence(p[i], adjusted); doubtful {
			items = append(items, item)
		}
	}
	return items
}

// chance is the probability that no more of a policy's eligible requests were mirrored than the cluster is missing,
// where none arrived: all of the missing may be its own.
func (m *mirror) chance(missing int) float64 {
	if m.tally.mirrored > 0 {
		return 1
	}
	return stats.TailLE(m.tally.eligible, missing, m.p())
}

// absence judges one policy, and tells whether there is doubt about it that its cluster's item does not tell of.
func (m *mirror) absence(p, adjusted float64) (item Item, doubtful bool) {
	n, l := m.tally.eligible, &m.cluster.ledger
	if m.tally.mirrored > 0 || m.chance(0) >= alpha || l.figures.AbsentPValue != nil {
		return item, false
	}
	text := fmt.Sprintf("of %s of %s that could have been mirrored to %s none was", plural(n, "request", "requests"), m.route.Name, ShortCluster(m.cluster.name))
	item = Item{Route: m.route.Name, Cluster: m.cluster.name, Approximate: m.shared, Delivery: &DeliveryFigures{Eligible: n, AbsentPValue: &p}}
	switch {
	case adjusted <= alpha:
		item.State, item.Summary = Fail, "mirror absent: "+text
	case p > alpha: // the losses may explain it, and were they all its own, its cluster's item tells
		item.State, item.Summary = Inconclusive, text+" that arrived, which losses may explain"
		return item, len(m.cluster.mirrors) > 1
	default:
		item.State, item.Summary = Inconclusive, text+", which may be chance"
	}
	return item, true
}

// broken sums the signs of a cluster that did not take requests.
func (g *DeliveryFigures) broken() uint64 {
	return g.NoneHealthy + g.PendingOverflow + g.PendingFailureEject + g.ConnectFail
}

// failures says in words which there were.
func (g *DeliveryFigures) failures() string {
	say := func(n uint64, one, many string) string {
		if n == 0 {
			return ""
		}
		return plural(n, one, many)
	}
	return join([]string{
		say(g.ConnectFail, "connection failed", "connections failed"),
		say(g.PendingFailureEject, "request waited for a connection that never came", "requests waited for a connection that never came"),
		say(g.NoneHealthy, "request found no healthy endpoint", "requests found no healthy endpoint"),
		say(g.PendingOverflow, "request overflowed the circuit breaker", "requests overflowed the circuit breaker"),
	}, ", ")
}

// lostToo adds what was sent and did not arrive.
func lostToo(l *ledger) string {
	if !l.known || l.low <= uint64(l.arrived) {
		return ""
	}
	return fmt.Sprintf("; %s of %s sent did not arrive", count(l.low-uint64(l.arrived)), count(l.low))
}

// warnings tells of what does not decide, and should be known.
func (d *delivery) warnings(c *cluster) (ws []string) {
	l, name := &c.ledger, ShortCluster(c.name)
	if l.figures.Active > 0 {
		ws = append(ws, fmt.Sprintf("%s to %s never ended (hung shadow?)", plural(l.figures.Active, "shadow request", "shadow requests"), name))
	}
	if l.figures.Pending > 0 {
		ws = append(ws, waiting(&l.figures, name))
	}
	total := 0
	for _, n := range l.answers {
		total += n
	}
	if n := l.answers["5xx"]; n > 0 {
		ws = append(ws, fmt.Sprintf("the shadow %s answered 5xx to %s of %s", name, count(n), count(total)))
	}
	if !l.known {
		ws = append(ws, name+": "+l.why)
	}
	return ws
}
