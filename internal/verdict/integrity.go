package verdict

import (
	"fmt"
	"strings"

	"umbra/internal/stats"
)

// IntegrityFigures are one route's.
type IntegrityFigures struct {
	Requests  int `json:"requests"` // sent, warm-up included
	OK        int `json:"ok"`       // that got a complete answer
	Aborted   int `json:"aborted"`  // answered by the gateway with the route's injected fault
	Primaries int `json:"primary_receipts"`

	Mirrored       int    `json:"mirrored"` // copies that arrived, an id once for each mirror
	Compared       int    `json:"compared"` // of Mirrored, with the receipt of their primary, body and all
	NotCompared    int    `json:"not_compared"`
	NotComparedOK  int    `json:"not_compared_ok"`           // of NotCompared, those of answered requests
	AuthorityForms string `json:"authority_forms,omitempty"` // seen at the shadow: "host", "host-shadow" or both

	AbortPValue *float64 `json:"abort_p_value,omitempty"` // of this many aborts by the fault's share

	// What came of reads and writes (POST, PUT, PATCH, DELETE). At the shadow are those that arrived where the route mirrors
	// nothing: it has no mirror, or one of 0 %.
	Mirrors        bool `json:"mirrors"`
	Reads          int  `json:"reads"`
	ReadsAtShadow  int  `json:"reads_at_shadow"`
	Writes         int  `json:"writes"`
	WritesAtShadow int  `json:"writes_at_shadow"`

	Failed int `json:"failed"` // ids with a finding that fails, and what only their sum shows
}

// kind is a kind of finding.
type kind struct {
	code     string
	severity Severity
	text     string
}

// The kinds of Integrity's findings, in the order in which they are told.
var kinds = []kind{
	{"duplicate", Failure, "requests that arrived more than once at one mirror"},
	{"mirrored_write", Failure, "writes (POST, PUT, PATCH, DELETE) that reached a shadow to which their route mirrors nothing"},
	{"mirrored_read", Failure, "reads that reached a shadow to which their route mirrors nothing"},
	{"mismatch_method", Failure, "mirrored requests whose method is not their primary's"},
	{"mismatch_authority", Failure, "mirrored requests whose authority is not their primary's"},
	{"mismatch_path", Failure, "mirrored requests whose path is not their primary's"},
	{"mismatch_body", Failure, "mirrored requests whose body is not their primary's"},
	{"mismatch_headers", Failure, "mirrored requests whose headers are not their primary's"},
	{"lost_primary", Failure, "answered requests that reached no primary"},
	{"lost_primary_5xx", Failure, "requests answered 5xx by the gateway that reached no primary"},
	{"repeated_primary", Failure, "requests that reached primaries more often than the gateway tried"},
	{"excess_aborts", Failure, "requests answered with the abort status beyond what the fault's share explains"},
	{"unknown_id", Failure, "arrivals at the shadow with an id that was not sent, or with none"},
	{"arrived_unsent", Failure, "requests that arrived although they were never sent"},
	{"answered_at_gateway", Failure, "requests that the gateway was to answer by itself and that arrived behind it"},
	{"unrouted", Failure, "requests that no route matches and that arrived behind the gateway"},
	{"stray", Failure, "requests that arrived at a pod which their route names neither as destination nor as mirror"},
	{"id_reused", Failure, "ids that more than one planned request carried"},
	{"unrouted_answered", Warning, "answered requests that no route matches and whose status is not the gateway's 404 (or 400, or 301)"},
	{"foreign_pod", Warning, "requests that arrived at a pod which is in no cluster (did pods change during the run?)"},
	{"unknown_id_primary", Warning, "arrivals elsewhere than at a shadow with an id that was not sent, or with none (other traffic?)"},
	{"unknown_id_partial", Warning, "arrivals with an id of which no result is left, as the run was cut short"},
	{"lost_primary_partial", Warning, "answered requests without a primary receipt, as receipts are missing"},
	{"cut_body", Warning, "requests ended by the client with a body cut on the way"},
	{"unfinished_body", Warning, "mirrored requests whose body the shadow had not read when receipts were collected"},
	{"no_digest", Warning, "mirrored requests whose body or headers cannot be compared, as receipts have no digest of them"},
	{"no_primary_receipt", Warning, "mirrored requests that cannot be compared, as their primary has no receipt"},
}

// integrity judges that the shadow got what the primary got, once, and nothing else.
type integrity struct {
	topology *topology
	recon    *Recon
	figures  map[*route]*IntegrityFigures
	forms    map[*route]*[2]bool // host seen, host-shadow seen
	found    map[string]*Finding
	failing  bool // the id being visited has failed already
	routed   int  // requests that the table has a route for
	notFound int  // requests that it has none for, answered 404

	aborted, repeated map[*route][]string // examples
	doubted           map[*route]string   // why a route cannot pass, though nothing of it failed
}

func newIntegrity(t *topology, r *Recon) *integrity {
	j := &integrity{topology: t, recon: r, figures: map[*route]*IntegrityFigures{}, forms: map[*route]*[2]bool{}, found: map[string]*Finding{},
		aborted: map[*route][]string{}, repeated: map[*route][]string{}, doubted: map[*route]string{}}
	for _, rt := range t.routes {
		j.figures[rt] = &IntegrityFigures{Mirrors: rt.mirrored()}
		j.forms[rt] = &[2]bool{}
	}
	j.figures[nil] = &IntegrityFigures{} // of requests that no route matches
	for _, at := range r.nameless {
		j.unknown("", &r.arrivals[at])
	}
	return j
}

// note enters an id under a kind of finding.
func (j *integrity) note(code, id string) {
	f := j.finding(code)
	f.Count++
	if id != "" {
		f.Examples = example(f.Examples, id)
	}
}

// finding gives the finding of a kind, or makes it.
func (j *integrity) finding(code string) *Finding {
	f := j.found[code]
	if f == nil {
		f = &Finding{Code: code}
		j.found[code] = f
	}
	return f
}

// fail enters an id under a kind of finding that fails, and counts it once among its route's failures.
func (j *integrity) fail(code string, f *fate) {
	j.note(code, f.row.id)
	if !j.failing {
		j.failing = true
		j.figures[f.route].Failed++
	}
}

// visit checks one id.
func (j *integrity) visit(f *fate) {
	if !f.row.is(planned) {
		for _, a := range f.all {
			j.unknown(f.row.id, a)
		}
		return
	}
	j.failing = false
	j.tally(f)
	if f.row.is(reused) {
		j.fail("id_reused", f)
	}
	switch {
	case len(f.all) > 0 && !f.row.is(sent):
		j.fail("arrived_unsent", f)
	case f.route == nil:
		j.unrouted(f)
	case !f.route.upstream():
		if len(f.all) > 0 {
			j.fail("answered_at_gateway", f)
		}
	default:
		j.primary(f)
		j.shadow(f)
	}
}

// unrouted checks a request that no route matches: the gateway answers it 404 (400 where it cannot read it, 301 where it
// wants TLS), or else something serves it that is not in the table.
func (j *integrity) unrouted(f *fate) {
	switch {
	case len(f.all) > 0:
		j.fail("unrouted", f)
	case f.row.outcome != ok:
	case f.row.status == 404:
		j.notFound++
	case f.row.status != 400 && f.row.status != 301:
		j.note("unrouted_answered", f.row.id)
	}
}

// unknown enters an arrival of an id that no result tells of.
func (j *integrity) unknown(id string, a *arrival) {
	pod := j.recon.pods.text[a.pod]
	switch {
	case id != "" && j.topology.facts.Incomplete:
		j.note("unknown_id_partial", id)
	case len(j.topology.byPod[pod]) > 0:
		j.note("unknown_id", id)
	default:
		j.note("unknown_id_primary", id)
	}
}

// tally counts the row among its route's.
func (j *integrity) tally(f *fate) {
	g := j.figures[f.route]
	if f.row.is(sent) {
		g.Requests++
	}
	if f.row.outcome == ok {
		g.OK++
	}
	if f.aborted() {
		g.Aborted++
		j.aborted[f.route] = example(j.aborted[f.route], f.row.id)
	}
	g.Primaries += len(f.primaries)
	switch {
	case !f.row.is(sent):
	case f.row.is(write):
		g.Writes++
	default:
		g.Reads++
	}
}

// primary checks how often the request reached its primary. What the client ended may have arrived or not.
func (j *integrity) primary(f *fate) {
	n := len(f.primaries)
	if n > 1 {
		f.route.again += n - 1
		j.repeated[f.route] = example(j.repeated[f.route], f.row.id)
	}
	switch {
	case f.row.outcome != ok || f.aborted():
	case n > j.topology.tries(f.route):
		j.fail("repeated_primary", f)
	case n > 0 || len(f.foreign) > 0:
	case j.topology.facts.Incomplete || f.route.lost != nil:
		j.note("lost_primary_partial", f.row.id)
	case f.row.status >= 500:
		j.fail("lost_primary_5xx", f)
	default:
		j.fail("lost_primary", f)
	}
}

// overtried checks that the gateway's retries explain all primary receipts after a request's first, which no row can
// show alone.
func (j *integrity) overtried() {
	if j.found["repeated_primary"] != nil {
		return // rows show it alone
	}
	told := map[*route]bool{}
	for _, r := range j.topology.routes {
		retries, known := j.topology.retried(r)
		again, ids, twice := 0, []string(nil), false
		for _, other := range j.topology.within(r) {
			again += other.again
			ids = append(ids, j.repeated[other]...)
			twice = twice || told[other]
		}
		if surplus := again - int(retries); known && surplus > 0 && !twice {
			j.surplus("repeated_primary", r, surplus, ids)
			for _, other := range j.topology.within(r) {
				told[other] = true
			}
		}
	}
}

// surplus enters a finding that only the sum of a route's requests shows.
func (j *integrity) surplus(code string, r *route, n int, ids []string) {
	f := j.finding(code)
	f.Count += n
	for _, id := range ids {
		f.Examples = example(f.Examples, id)
	}
	j.figures[r].Failed += n
}

// abortAlpha is the level at which more aborts than the faults' shares explain fail; at alpha they are in doubt. A gateway
// that is right reaches it once in a thousand runs.
const abortAlpha = 0.001

// overaborted checks that the faults' shares explain the requests that were answered with their status and never
// arrived: others were lost, and answered alike. Holm keeps chance at its level over all routes.
func (j *integrity) overaborted() {
	var routes []*route
	var p []float64
	for _, r := range j.topology.routes {
		if g := j.figures[r]; r.upstream() && r.AbortNumerator > 0 && g.Aborted > 0 {
			routes, p = append(routes, r), append(p, stats.TailGE(g.Requests, g.Aborted, r.abortShare()))
		}
	}
	for i, adjusted := range stats.Holm(p) {
		r := routes[i]
		g := j.figures[r]
		g.AbortPValue = &p[i]
		surplus := g.Aborted - int(float64(g.Requests)*r.abortShare())
		switch {
		case adjusted <= alpha && r.lost != nil:
			j.doubted[r] = fmt.Sprintf("%s more answered with the abort status than the fault's share would give; %s", count(surplus), r.lost.doubt())
		case adjusted <= abortAlpha:
			j.surplus("excess_aborts", r, surplus, j.aborted[r])
		case adjusted <= alpha:
			j.doubted[r] = fmt.Sprintf("%s more answered with the abort status than the fault's share would give, which chance hardly explains", count(surplus))
		}
	}
}

// shadow checks what arrived elsewhere.
func (j *integrity) shadow(f *fate) {
	g := j.figures[f.route]
	if len(f.leaked) > 0 {
		if f.row.is(write) {
			g.WritesAtShadow++
			j.fail("mirrored_write", f)
		} else {
			g.ReadsAtShadow++
			j.fail("mirrored_read", f)
		}
	}
	if len(f.stray) > 0 {
		j.fail("stray", f)
	}
	if len(f.foreign) > 0 {
		j.note("foreign_pod", f.row.id)
	}
	for _, copies := range f.copies {
		if len(copies) == 0 {
			continue
		}
		g.Mirrored++
		if len(copies) > 1 {
			j.fail("duplicate", f)
		}
		j.compare(f, copies)
	}
}

// compare holds the copies that one mirror got against the primary's.
func (j *integrity) compare(f *fate, copies []*arrival) {
	if len(f.primaries) == 0 {
		j.notCompared(f)
		j.note("no_primary_receipt", f.row.id)
		return
	}
	var all difference
	for _, c := range copies {
		all |= j.closest(f, c)
	}
	j.report(f, all)
	if all&(bodyUnread|undigested|bodyShortened) != 0 {
		j.notCompared(f)
	} else {
		j.figures[f.route].Compared++
	}
}

func (j *integrity) notCompared(f *fate) {
	g := j.figures[f.route]
	g.NotCompared++
	if f.row.outcome == ok {
		g.NotComparedOK++
	}
}

// difference is a set of what parts two receipts.
type difference uint16

const (
	methodDiffers difference = 1 << iota
	authorityDiffers
	pathDiffers
	bodyDiffers
	headersDiffer
	bodyShortened // one of the bodies was cut, on a request that the client ended
	bodyUnread    // the body of an unfinished request
	undigested    // no digest of body or headers

	differs = methodDiffers | authorityDiffers | pathDiffers | bodyDiffers | headersDiffer
)

// codes names the differences.
var codes = []struct {
	difference
	code string
	fail bool
}{
	{methodDiffers, "mismatch_method", true},
	{authorityDiffers, "mismatch_authority", true},
	{pathDiffers, "mismatch_path", true},
	{bodyDiffers, "mismatch_body", true},
	{headersDiffer, "mismatch_headers", true},
	{bodyShortened, "cut_body", false},
	{bodyUnread, "unfinished_body", false},
	{undigested, "no_digest", false},
}

func (j *integrity) report(f *fate, d difference) {
	for _, c := range codes {
		switch {
		case d&c.difference == 0:
		case c.fail:
			j.fail(c.code, f)
		default:
			j.note(c.code, f.row.id)
		}
	}
}

// closest is the difference to the primary try that a copy is most like: it need only equal one.
func (j *integrity) closest(f *fate, c *arrival) difference {
	var best difference
	for i, p := range f.primaries {
		d := j.differences(f, p, c)
		if i == 0 || d&differs == 0 && best&differs != 0 {
			best = d
		}
	}
	return best
}

// differences compares a copy with a primary try.
func (j *integrity) differences(f *fate, p, c *arrival) (d difference) {
	if p.method != c.method {
		d |= methodDiffers
	}
	if !j.sameAuthority(f.route, p, c) {
		d |= authorityDiffers
	}
	if p.path != c.path {
		d |= pathDiffers
	}
	switch {
	case p.is(headersUnknown) || c.is(headersUnknown):
		d |= undigested
	case p.headers != c.headers:
		d |= headersDiffer
	}
	return d | bodies(f.row.outcome == ok, p, c)
}

// bodies compares two bodies.
func bodies(answered bool, p, c *arrival) difference {
	switch {
	case !answered && (p.is(bodyCut) || c.is(bodyCut)):
		return bodyShortened
	case p.is(unfinished) || c.is(unfinished):
		if p.body == c.body && !p.is(bodyUnknown) {
			return 0
		}
		return bodyUnread
	case p.is(bodyUnknown) || c.is(bodyUnknown):
		return undigested
	case p.body != c.body:
		return bodyDiffers
	}
	return 0
}

// sameAuthority takes a shadow's authority as equal with or without the "-shadow" that Envoy appends to the host, and
// notes which form was seen.
func (j *integrity) sameAuthority(r *route, p, c *arrival) bool {
	forms := j.forms[r]
	if p.authority == c.authority {
		forms[0] = true
		return true
	}
	text := j.recon.authorities.text
	if text[c.authority] == shadowed(text[p.authority]) {
		forms[1] = true
		return true
	}
	return false
}

// shadowed is the authority that Envoy makes of a request's where it appends the suffix: host-shadow, before a port.
//
// Source: Envoy, source/common/router/shadow_writer_impl.cc.
func shadowed(authority string) string {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.HasSuffix(authority, "]") { // no port; the colons of an IPv6 address are in brackets
		return authority + "-shadow"
	}
	return authority[:i] + "-shadow" + authority[i:]
}

// verdict sums up; every id must have been visited, and the ledgers settled.
func (j *integrity) verdict() Verdict {
	j.overtried()
	j.overaborted()
	v := Verdict{Name: Integrity, Findings: j.findings()}
	var all IntegrityFigures
	for _, r := range append(append([]*route{}, j.topology.routes...), nil) {
		g := j.figures[r]
		if r == nil && g.Requests == 0 && g.Failed == 0 {
			continue
		}
		v.Items = append(v.Items, j.item(r, g))
		all.Requests += g.Requests
		if r != nil {
			j.routed += g.Requests
		}
		all.Mirrored += g.Mirrored
		all.Compared += g.Compared
		if r != nil && r.upstream() && len(r.mirrors) == 0 {
			all.Reads, all.ReadsAtShadow = all.Reads+g.Reads, all.ReadsAtShadow+g.ReadsAtShadow
			all.Writes, all.WritesAtShadow = all.Writes+g.Writes, all.WritesAtShadow+g.WritesAtShadow
		}
	}
	v.State, v.Summary = j.judge(&all, v.Findings)
	if v.State == Pass && worst(v.Items) == Inconclusive {
		v.State, v.Summary = Inconclusive, headline(v.Items, Inconclusive)
	}
	v.Warnings = append(v.Warnings, j.topology.restartWarnings(false)...)
	if n := j.figures[nil].Requests; n > 0 {
		v.Warnings = append(v.Warnings, j.withoutRoute(n))
	}
	if j.guessed() {
		v.Warnings = append(v.Warnings, "primary and mirror share pods: which receipt is whose was told by the order of arrival, so this is approximate")
	}
	return v
}

// withoutRoute tells of requests that no route matches: nothing of them was tested.
func (j *integrity) withoutRoute(n int) string {
	if j.notFound == n {
		return plural(n, "request matches no route and was", "requests match no route and were") + " answered 404 by the gateway"
	}
	return fmt.Sprintf("%s no route; %s of them were answered 404 by the gateway", plural(n, "request matches", "requests match"), count(j.notFound))
}

// guessed tells whether a route that got requests had arrivals that only their order could tell apart.
func (j *integrity) guessed() bool {
	for _, r := range j.topology.routes {
		if r.shared() && j.figures[r].Requests > 0 {
			return true
		}
	}
	return false
}

// findings lists what was found, in the order of kinds.
func (j *integrity) findings() []Finding {
	var fs []Finding
	for _, k := range kinds {
		if f := j.found[k.code]; f != nil {
			f.Severity, f.Text = k.severity, k.text
			fs = append(fs, *f)
		}
	}
	return fs
}

// judge is the law of this verdict.
func (j *integrity) judge(all *IntegrityFigures, findings []Finding) (State, string) {
	if s := failures(findings); s != "" {
		return Fail, s
	}
	proof := atShadow(all)
	compared := all.compared() + ", no duplicate, no unknown id, " + j.primaries()
	switch {
	case all.Requests == 0:
		return Inconclusive, "no request was sent"
	case j.routed == 0:
		return Inconclusive, fmt.Sprintf("no route matches any of %s", plural(all.Requests, "request", "requests"))
	case j.topology.facts.Incomplete:
		return Inconclusive, "results or receipts are missing; of what is left: " + compared
	case j.topology.lost() != nil:
		return Inconclusive, j.topology.lost().doubt() + ", so that what it got besides is not known; of what is left: " + compared
	case j.found["foreign_pod"] != nil:
		return Inconclusive, fmt.Sprintf("%s arrived at pods that are in no cluster; of the others: %s", count(j.found["foreign_pod"].Count), compared)
	case j.topology.unsettled():
		return Inconclusive, "the run ended before the mirror clusters were idle, so duplicates could still have come; so far: " + compared
	case all.Compared > 0:
		return Pass, join([]string{compared, proof}, "; ")
	case j.topology.anyMirrors():
		return Inconclusive, fmt.Sprintf("no mirrored request could be compared with its primary's, of %s that arrived", count(all.Mirrored))
	}
	return Pass, join([]string{"no route mirrors, and no request reached a shadow or lost its primary", proof}, "; ")
}

// primaries is "no lost primary", or how many cannot be told of.
func (j *integrity) primaries() string {
	if f := j.found["lost_primary_partial"]; f != nil {
		return plural(f.Count, "answered request", "answered requests") + " without a primary receipt, which may be lost"
	}
	return "no lost primary"
}

// compared is "497 mirrored requests equal to their primary's", with how many there were where some could not be
// compared.
func (g *IntegrityFigures) compared() string {
	if g.Compared == g.Mirrored {
		return plural(g.Compared, "mirrored request", "mirrored requests") + " equal to their primary's"
	}
	return fmt.Sprintf("%s of %s compared, equal to their primary's", count(g.Compared), plural(g.Mirrored, "mirrored request", "mirrored requests"))
}

// tooFew tells whether too much of what was mirrored could not be compared: any of an answered request, as receipts
// are whole there; more than half where the client ended requests.
func (g *IntegrityFigures) tooFew() bool {
	return g.NotComparedOK > 0 || 2*g.Compared < g.Mirrored
}

// anyMirrors tells whether any route mirrors more than 0 %.
func (t *topology) anyMirrors() bool {
	for _, r := range t.routes {
		if r.upstream() && r.mirrored() {
			return true
		}
	}
	return false
}

// failures lists the findings that fail in one sentence.
func failures(findings []Finding) string {
	var parts []string
	for _, f := range findings {
		if f.Severity == Failure {
			parts = append(parts, fmt.Sprintf("%s: %s", f.Text, count(f.Count)))
		}
	}
	return strings.Join(parts, "; ")
}

// atShadow is the line that proves that what is not to be mirrored was not: "0 of 3,000 writes reached the shadow".
func atShadow(g *IntegrityFigures) string {
	say := func(n, of int, what string) string {
		if of == 0 {
			return ""
		}
		return fmt.Sprintf("%s of %s %s", count(n), count(of), what)
	}
	s := join([]string{say(g.WritesAtShadow, g.Writes, "writes"), say(g.ReadsAtShadow, g.Reads, "reads")}, " and ")
	if s == "" {
		return ""
	}
	return s + " on routes without a mirror reached the shadow"
}

// item is one route's.
func (j *integrity) item(r *route, g *IntegrityFigures) Item {
	item := Item{Route: "(no route)", Integrity: g, State: Pass}
	if r != nil {
		item.Route, item.Approximate = r.Name, r.shared()
		g.AuthorityForms = formsText(j.forms[r])
	}
	switch {
	case g.Failed > 0:
		item.State = Fail
		item.Summary = fmt.Sprintf("%s of %s failed", count(g.Failed), plural(g.Requests, "request", "requests"))
	case g.Requests == 0:
		item.State, item.Summary = NotTested, "got no request"
	case r == nil && j.found["unrouted_answered"] != nil:
		item.State = Inconclusive
		item.Summary = fmt.Sprintf("%s of %s answered otherwise than by the gateway's 404, though no route matches", count(j.found["unrouted_answered"].Count), plural(g.Requests, "request was", "requests were"))
	case r == nil:
		item.Summary = fmt.Sprintf("none of %s arrived behind the gateway, as none matches a route", plural(g.Requests, "request", "requests"))
	case !r.upstream():
		item.Summary = fmt.Sprintf("none of %s left the gateway, which answers them", plural(g.Requests, "request", "requests"))
	case len(r.mirrors) == 0:
		item.Summary = atShadow(g)
	case g.Mirrored == 0 && !r.mirrored():
		item.Summary = fmt.Sprintf("of %s none was mirrored, as configured", plural(g.Requests, "request", "requests"))
	case g.Mirrored == 0:
		item.State, item.Summary = NotTested, fmt.Sprintf("of %s none arrived at a shadow, so there is nothing to compare", plural(g.Requests, "request", "requests"))
	case g.Compared == 0 && g.Mirrored > 0:
		item.State, item.Summary = Inconclusive, fmt.Sprintf("route %s: no mirrored request could be compared, of %s that arrived", item.Route, count(g.Mirrored))
	case g.tooFew():
		item.State, item.Summary = Inconclusive, fmt.Sprintf("route %s: %s of %s compared with their primary's", item.Route, count(g.Compared), plural(g.Mirrored, "mirrored request", "mirrored requests"))
	default:
		item.Summary = fmt.Sprintf("%s of %s compared, all equal to their primary's", count(g.Compared), plural(g.Mirrored, "mirrored request", "mirrored requests"))
	}
	if why := j.doubted[r]; why != "" && item.State == Pass {
		item.State, item.Summary = Inconclusive, why
	}
	return item
}

func formsText(seen *[2]bool) string {
	var forms []string
	for i, form := range []string{"host", "host-shadow"} {
		if seen[i] {
			forms = append(forms, form)
		}
	}
	return strings.Join(forms, ", ")
}
