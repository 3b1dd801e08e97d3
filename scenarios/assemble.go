package scenarios

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	"gopkg.in/yaml.v3"

	"umbra/internal/impact"
	"umbra/internal/jsonpath"
	"umbra/internal/mesh"
	"umbra/internal/route"
	"umbra/internal/traffic"
	"umbra/replay"
)

// assemble makes the scenario of what the file says and tells of every contradiction.
func (r *reader) assemble(raw *rawScenario, root *yaml.Node, dir string, blind bool) *Scenario {
	s := &Scenario{Name: raw.name.v, File: r.file, Drain: raw.drain.v}
	if raw.load.usable() {
		s.Load = r.load(raw, root)
	}
	if raw.mesh.given() {
		s.Mesh = r.mesh(&raw.mesh.v, dir)
	}
	if raw.traffic.given() {
		r.traffic(s, &raw.traffic, dir, blind)
	}
	if raw.checks.usable() {
		s.Checks = r.checks(&raw.checks.v)
	}
	if raw.mesh.given() {
		r.manifests(s, raw)
	}
	r.experiment(s, raw)
	return s
}

func (r *reader) mesh(raw *rawMesh, dir string) MeshConfig {
	m := MeshConfig{Host: raw.host.v, Port: uint32(raw.port.v)}
	if raw.versions.given() {
		m.Primary, m.Shadows = r.versions(&raw.versions.v)
	}
	if raw.app.given() {
		m.App = r.app(&raw.app.v)
	}
	seen := map[string]bool{}
	for _, file := range raw.manifests.v {
		path := file.v
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if file.given() && seen[path] {
			r.fault(file.at, "mesh.manifests: %s is named twice; remove one", file.v)
		}
		seen[path] = true
		m.ManifestFiles = append(m.ManifestFiles, path)
	}
	return m
}

func (r *reader) versions(raw *rawVersions) (primary string, shadows []string) {
	for _, shadow := range raw.shadow.v {
		switch {
		case !shadow.given():
		case raw.primary.given() && shadow.v == raw.primary.v:
			r.fault(shadow.at, "mesh.versions: %s is both primary and shadow; the receipts could not be told apart: name another version", shadow.v)
		case slices.Contains(shadows, shadow.v):
			r.fault(shadow.at, "mesh.versions.shadow names %s twice; remove one", shadow.v)
		}
		shadows = append(shadows, shadow.v)
	}
	return raw.primary.v, shadows
}

// app gathers what is said of each version; nil where nothing is.
func (r *reader) app(raw *rawApp) map[string]mesh.Behaviour {
	if len(raw.latency.v)+len(raw.errors.v)+len(raw.size.v)+len(raw.differ.v)+len(raw.stamp.v) == 0 {
		return nil
	}
	app := map[string]mesh.Behaviour{}
	for _, e := range raw.latency.v {
		b, l := app[e.key], e.value.v
		if l.p50.given() && l.p99.given() && l.p99.v <= l.p50.v {
			r.fault(l.p99.at, "mesh.app.latency.%s: p99 must be above p50 (%v); for a constant latency write %s: %v", e.key, l.p50.v, e.key, l.p50.v)
		}
		b.Latency = mesh.Latency{P50: l.p50.v, P99: l.p99.v}
		app[e.key] = b
	}
	for _, e := range raw.errors.v {
		b := app[e.key]
		b.ErrorRate = e.value.v / 100
		app[e.key] = b
	}
	for _, e := range raw.size.v {
		b := app[e.key]
		b.ResponseSize = e.value.v
		app[e.key] = b
	}
	for _, e := range raw.differ.v {
		b := app[e.key]
		b.Differ = e.value.v / 100
		app[e.key] = b
	}
	r.stamps(raw.stamp.v, app)
	return app
}

func (r *reader) stamps(versions []value[string], app map[string]mesh.Behaviour) {
	for _, v := range versions {
		b := app[v.v]
		if v.given() && b.Stamp {
			r.fault(v.at, "mesh.app.stamp names %s twice; remove one", v.v)
		}
		b.Stamp = true
		app[v.v] = b
	}
}

func (r *reader) traffic(s *Scenario, raw *value[rawTraffic], dir string, blind bool) {
	switch mix, capture := raw.v.mix, raw.v.capture; {
	case mix.at != nil && capture.at != nil:
		r.fault(capture.at, "traffic has both mix and capture; choose one")
	case mix.at == nil && capture.at == nil:
		r.fault(raw.at, "traffic needs a mix or a capture; add one")
	}
	if raw.v.mix.given() {
		s.Mix = r.mix(raw.v.mix, s, &tables{dir: dir, blind: blind})
	}
	if raw.v.capture.given() {
		r.capture(s, &raw.v.capture.v, dir, blind)
	}
}

func (r *reader) capture(s *Scenario, c *rawCapture, dir string, blind bool) {
	s.Load.Ordered = c.ordered.v == bySession
	s.Capture = &Capture{File: absolutePath(dir, c.file.v), Speed: c.speed.v, Selection: Selection{
		From: c.from.v, To: c.to.v, First: int(c.first.v), Methods: r.methods(c.methods), Sample: c.sample.v, Seed: s.Load.Seed, Loops: int(c.loops.v)}}
	if s.rewriting = r.rewrite(c.rewrite); s.rewriting != nil {
		s.Capture.Rewrite = s.rewriting.Rewrite
	}
	if c.to.given() && c.from.usable() && c.to.v <= c.from.v {
		r.fault(c.to.at, "traffic.capture.to: nothing lies between from, %v, and %v; give a later end", c.from.v, c.to.v)
	}
	if c.sample.given() && c.sample.v == 0 {
		r.fault(c.sample.at, "traffic.capture.sample: of 0%% of the sessions nothing would be sent; give more")
	}
	if c.file.given() && !blind {
		s.Capture.Raw = r.captureFile(c.file, s.Capture.File)
	}
}

// methods are those that are replayed; nil: all.
func (r *reader) methods(raw value[[]value[string]]) (methods []string) {
	for _, m := range raw.v {
		switch {
		case m.bad:
		case m.v == "CONNECT":
			r.fault(m.at, "traffic.capture.methods: CONNECT is never mirrored and cannot be replayed; leave it out")
		case slices.Contains(methods, m.v):
			r.fault(m.at, "traffic.capture.methods names %s twice; remove one", m.v)
		}
		methods = append(methods, m.v)
	}
	return methods
}

// captureFile tells whether a capture has still to be made a traffic file of, and refuses what is neither.
func (r *reader) captureFile(file value[string], path string) (raw bool) {
	f, err := os.Open(path)
	if err != nil {
		r.fault(file.at, "%s: %s cannot be read: %v; name a traffic file or a capture relative to the scenario", capturePath, file.v, reason(err))
		return false
	}
	defer f.Close()
	head := bufio.NewReader(f)
	begin, _ := head.Peek(4) // fewer bytes are neither
	switch {
	case slices.ContainsFunc(captures, func(magic string) bool { return strings.HasPrefix(string(begin), magic) }):
		return true
	case string(begin) != zstdMagic:
		r.fault(file.at, "%s: %s is neither a traffic file, nor a packet capture, nor a HAR; make a traffic file of it with umbra capture, which asks what it needs to know", capturePath, file.v)
		return false
	}
	t, err := traffic.NewReader(head)
	if err != nil {
		r.fault(file.at, "%s: %s: %v; name a traffic file, or make one with umbra capture", capturePath, file.v, err)
		return false
	}
	t.Close()
	return false
}

const capturePath = "traffic.capture.file"

// zstdMagic begins a traffic file (RFC 8878, section 3.1.1).
const zstdMagic = "\x28\xb5\x2f\xfd"

// captures are the first bytes of what a traffic file can be made of without being asked anything: pcap and pcapng as in
// draft-ietf-opsawg-pcap and -pcapng, gzip, and JSON.
var captures = []string{"\xd4\xc3\xb2\xa1", "\xa1\xb2\xc3\xd4", "\x4d\x3c\xb2\xa1", "\xa1\xb2\x3c\x4d", "\x0a\x0d\x0d\x0a", "\x1f\x8b", "{"}

// mix compiles the entries; nil where one of them has a fault.
func (r *reader) mix(raw value[[]value[rawEntry]], s *Scenario, files *tables) *Mix {
	before := len(r.faults)
	var entries []Entry
	var makers []maker
	names := map[string]bool{}
	for i := range raw.v {
		e := &raw.v[i].v
		if e.name.given() && names[e.name.v] {
			r.fault(e.name.at, "traffic.mix has two entries called %s; results could not be told apart: rename one", e.name.v)
		}
		names[e.name.v] = true
		entry, m := r.entry(e, fmt.Sprintf("traffic.mix[%d]", i), files)
		entries, makers = append(entries, entry), append(makers, m)
	}
	r.weights(raw, entries)
	if len(r.faults) > before {
		return nil
	}
	return newMix(entries, makers, s.Mesh.Host, s.Load.Seed)
}

func (r *reader) weights(raw value[[]value[rawEntry]], entries []Entry) {
	for _, e := range raw.v {
		if e.bad || e.v.weight.bad {
			return
		}
	}
	sum := 0
	for _, w := range reduced(entries) {
		sum += w
	}
	switch {
	case sum == 0:
		r.fault(raw.at, "traffic.mix: every weight is 0, so nothing would be sent; give one entry a weight above 0")
	case sum > maxWeight:
		r.fault(raw.at, "traffic.mix: the weights, divided by their greatest common divisor, sum to %d; use rounder ones with a sum up to %d", sum, maxWeight)
	}
}

func (r *reader) entry(raw *rawEntry, path string, files *tables) (Entry, maker) {
	switch method := raw.method; {
	case !method.given():
	case method.v == "CONNECT":
		r.fault(method.at, "%s.method: CONNECT is never mirrored and cannot be replayed; use another method", path)
	case !route.TakesMethod(method.v):
		r.fault(method.at, "%s.method: Envoy does not know %s and answers 400 to it; use another method, like GET, POST or SEARCH", path, method.v)
	}
	m := maker{
		path: r.template(raw.path, inPath, path+".path", files),
		body: r.template(raw.body, inBody, path+".body", files),
	}
	e := Entry{Name: raw.name.v, Weight: int(raw.weight.v), Method: raw.method.v, Path: m.path.text, Body: m.body.text}
	seen := map[string]bool{}
	for _, h := range raw.headers.v {
		r.headerName(h.key, h.at, path+".headers", seen)
		t := r.template(h.value, inHeader, path+".headers."+h.key, files)
		m.headers = append(m.headers, t)
		e.Headers = append(e.Headers, traffic.Header{h.key, t.text})
	}
	return e, m
}

// template compiles a template of the file.
func (r *reader) template(raw value[string], at place, path string, files *tables) template {
	if !raw.given() {
		return template{fixed: true}
	}
	t, slips := compile(raw.v, at, files)
	for _, slip := range slips {
		line, col := r.inside(raw.at, slip.offset)
		r.faults.Addf(r.file, line, col, "%s: %s", path, slip.msg)
	}
	return t
}

// ownHeaders are the header fields that a mix cannot set, and why.
var ownHeaders = map[string]string{
	"host":                            "the authority is mesh.host",
	strings.ToLower(traffic.IDHeader): "umbra puts the request's id there",
	"content-length":                  "it follows from the body",
	"transfer-encoding":               "it follows from the body",
	"connection":                      "it belongs to a connection, not to a request",
	"keep-alive":                      "it belongs to a connection, not to a request",
	"proxy-connection":                "it belongs to a connection, not to a request",
	"te":                              "it belongs to a connection, not to a request",
	"trailer":                         "requests have no trailers",
	"upgrade":                         "upgrades are never mirrored",
	"expect":                          "the body is sent with the head",
}

func (r *reader) headerName(name string, at *yaml.Node, path string, seen map[string]bool) {
	lower := strings.ToLower(name)
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		r.fault(at, "%s: %q is not a header name; use letters, digits and dashes", path, name)
	case ownHeaders[lower] != "":
		r.fault(at, "%s: %s cannot be set here, as %s; remove it", path, name, ownHeaders[lower])
	case seen[lower]:
		r.fault(at, "%s names %s twice (upper and lower case are the same here); remove one", path, name)
	}
	seen[lower] = true
}

// load checks the load against the traffic that it offers.
func (r *reader) load(raw *rawScenario, root *yaml.Node) LoadConfig {
	l := raw.load.v
	capture := raw.traffic.v.capture
	c := LoadConfig{Arrivals: l.arrivals.v, Connections: int(l.connections.v), Protocol: l.protocol.v, Streams: int(l.streams.v),
		Reuse: replay.Reuse(l.reuse.v), Overload: replay.Overload(l.overload.v), Quantum: l.quantum.v, Timeout: l.timeout.v, Seed: l.seed.v}
	if l.arrivals.at == nil {
		c.Arrivals = Poisson
		if capture.at != nil {
			c.Arrivals = Captured
		}
	}
	c.Warmup, c.Cooldown = r.aside(l.warmup, "load.warmup"), r.aside(l.cooldown, "load.cooldown")
	for i, stage := range l.stages.v {
		c.Stages = append(c.Stages, r.stage(stage.v, fmt.Sprintf("load.stages[%d]", i)))
	}
	if capture.at == nil || raw.traffic.v.mix.at == nil {
		r.arrivals(c, raw, root)
	}
	r.sending(&l, &raw.traffic)
	return c
}

// aside reads a stage that is not judged; nil where there is none.
func (r *reader) aside(raw value[rawStage], path string) *Stage {
	if !raw.given() {
		return nil
	}
	stage := r.stage(raw.v, path)
	return &stage
}

// sending tells of contradictions in how requests get to their connections.
func (r *reader) sending(l *rawLoad, t *value[rawTraffic]) {
	if l.streams.given() && l.protocol.usable() && l.protocol.v != H2C {
		r.fault(l.streams.at, "load.streams: only HTTP/2 has streams; add load.protocol: h2c, or leave it out")
	}
	if l.streams.given() && l.reuse.usable() && l.reuse.v == string(replay.Fresh) {
		r.fault(l.streams.at, "load.streams: with reuse: fresh a connection has one request; leave streams out, or use reuse: keep")
	}
	if l.reuse.given() && l.reuse.v == string(replay.Session) && t.given() && t.v.capture.at == nil {
		r.fault(l.reuse.at, "load.reuse: only a capture has sessions; use traffic.capture, or reuse: keep or fresh")
	}
	if l.quantum.usable() && l.timeout.usable() && l.quantum.v >= l.timeout.v {
		at := l.timeout.at
		if l.quantum.at != nil {
			at = l.quantum.at
		}
		r.fault(at, "load.quantum: requests may wait for %v before they are sent, and their time is over after %v; make load.quantum shorter than load.timeout", l.quantum.v, l.timeout.v)
	}
}

func (r *reader) arrivals(c LoadConfig, raw *rawScenario, root *yaml.Node) {
	l, capture := raw.load.v, raw.traffic.v.capture
	here := root
	if raw.load.at != nil {
		here = raw.load.at
	}
	captured := c.Arrivals == Captured
	switch {
	case captured && capture.at == nil && raw.traffic.given():
		r.fault(l.arrivals.at, "load.arrivals: captured needs traffic.capture; a mix has no times of its own: use poisson or constant")
	case captured:
		r.rateless(&l)
	case l.stages.at == nil && !l.arrivals.bad:
		r.fault(here, "load.stages is missing; add at least one, like stages: [{rate: 200, for: 10s}]")
	}
	if captured || l.arrivals.bad {
		return
	}
	if speed := capture.v.speed; speed.given() {
		r.fault(speed.at, "traffic.capture.speed: only captured arrivals have a speed; leave it out, or use load.arrivals: captured")
	}
	if loops := capture.v.loops; loops.given() {
		r.fault(loops.at, "traffic.capture.loops: the stages say how many requests there are, and the capture begins again where it ends; leave it out, or use load.arrivals: captured")
	}
}

// rateless tells of what needs a rate, where the arrivals are the capture's own.
func (r *reader) rateless(l *rawLoad) {
	const instead = "leave it out, or use arrivals: poisson or constant"
	if at := l.stages.at; at != nil {
		r.fault(at, "load.stages: captured arrivals have the capture's own times and rates; leave the stages out, or use arrivals: poisson or constant")
	}
	if at := l.warmup.at; at != nil {
		r.fault(at, "load.warmup: captured arrivals have no rate to warm up with; %s", instead)
	}
	if at := l.cooldown.at; at != nil {
		r.fault(at, "load.cooldown: captured arrivals have no rate to cool down with; %s", instead)
	}
}

func (r *reader) stage(raw rawStage, path string) Stage {
	s := Stage{Rate: raw.rate.v, To: raw.rate.v, For: raw.length.v}
	if raw.to.given() {
		s.To = raw.to.v
	}
	planned := (s.Rate + s.To) / 2 * s.For.Seconds()
	switch {
	case !raw.rate.given() || !raw.length.given() || raw.to.bad:
	case s.For > 24*time.Hour:
		r.fault(raw.length.at, "%s.for: %v is longer than a day; use at most 24h", path, s.For)
	case planned < 1:
		r.fault(raw.rate.at, "%s: this stage would send less than one request (%.3g); raise its rate or make it longer", path, planned)
	}
	return s
}

func (r *reader) checks(raw *rawChecks) Checks {
	var c Checks
	if raw.fraction.given() {
		c.Fraction = &FractionCheck{raw.fraction.v.within.v}
	}
	if raw.impact.given() {
		c.Impact = r.impact(&raw.impact)
	}
	for _, o := range raw.objectives.v {
		if !o.bad {
			c.Objectives = append(c.Objectives, r.objective(o))
		}
	}
	if raw.versions.given() {
		c.Versions = &VersionsCheck{r.ignore(raw.versions.v.ignore.v)}
	}
	return c
}

// ignore checks the paths that are not compared.
func (r *reader) ignore(raw []value[string]) (paths []string) {
	for _, v := range raw {
		if !v.given() {
			continue
		}
		if _, err := jsonpath.Parse(v.v); err != nil {
			r.slip(v.at, err)
		} else if slices.Contains(paths, v.v) {
			r.fault(v.at, "checks.versions.ignore names %s twice; remove one", v.v)
		}
		paths = append(paths, v.v)
	}
	return paths
}

// slip tells of a fault in a path, where in it that is.
func (r *reader) slip(at *yaml.Node, err error) {
	var syntax *jsonpath.SyntaxError
	if !errors.As(err, &syntax) {
		r.fault(at, "checks.versions.ignore: %v", err)
		return
	}
	line, col := r.inside(at, syntax.Offset)
	r.faults.Addf(r.file, line, col, "checks.versions.ignore: %v", syntax)
}

// impact reads the experiment.
func (r *reader) impact(raw *value[rawImpact]) *ImpactCheck {
	v := &raw.v
	if v.pairs.given() && v.pairs.v%2 != 0 {
		r.fault(v.pairs.at, "checks.impact.pairs: two pairs make a quadruple; use an even number, not %d", v.pairs.v)
	}
	c := &ImpactCheck{Pairs: int(v.pairs.v), Block: v.block.v, Settle: v.settle.v, Errors: v.errors.v, Controls: Controls(v.controls.v)}
	if v.margins.given() {
		c.Margins = r.margins(&v.margins)
	}
	for _, size := range v.uploads.v {
		if slices.Contains(c.Uploads, size.v) && !size.bad {
			r.fault(size.at, "checks.impact.uploads names %d bytes twice; remove one", size.v)
		}
		c.Uploads = append(c.Uploads, size.v)
	}
	slices.Sort(c.Uploads)
	return c
}

// margins are those that the file names.
func (r *reader) margins(raw *value[rawMargins]) (out []impact.Margin) {
	for _, m := range []struct {
		quantile float64
		text     value[string]
	}{{50, raw.v.p50}, {90, raw.v.p90}, {99, raw.v.p99}, {99.9, raw.v.p999}} {
		if !m.text.given() {
			continue
		}
		margin := parseMargin(m.text.v)
		if margin.Percent == 0 && margin.Floor == 0 {
			r.fault(m.text.at, "checks.impact.margins.p%g: no experiment shows that nothing changed at all; give a margin above 0", m.quantile)
		}
		margin.Quantile, margin.Asked = m.quantile, true
		out = append(out, margin)
	}
	if len(out) == 0 {
		r.fault(raw.at, "checks.impact.margins is empty; name a quantile, or leave margins out for the default ones")
	}
	return out
}

// experiment tells of what paired blocks need of the load and of the manifests.
func (r *reader) experiment(s *Scenario, raw *rawScenario) {
	i := raw.checks.v.impact
	if !i.given() || s.Checks.Impact == nil {
		return
	}
	if s.Load.Arrivals == Captured && !raw.load.v.arrivals.bad {
		r.fault(i.at, "checks.impact: blocks are played at the last stage's rate, and captured arrivals have no stages; use load.arrivals: poisson or constant with stages")
	}
	if s.Load.Ordered || s.Load.Reuse == replay.Session {
		r.fault(i.at, "checks.impact: each block sends the same requests anew, so that sessions end with it; use load.reuse: keep and traffic.capture.ordered: time")
	}
	if rate, block := s.blockRate(), s.Checks.Impact.Block; rate > 0 && i.v.block.given() && rate*block.Seconds() < 1 {
		r.fault(i.v.block.at, "checks.impact.block: at the last stage's rate of %g a second a block of %v has less than one request; make it longer", rate, block)
	}
	mirrored := s.Table != nil && slices.ContainsFunc(s.Table.RoutesAt(s.Mesh.Port, s.Mesh.Host), func(r *route.Route) bool {
		return slices.ContainsFunc(r.Mirrors, func(m route.Mirror) bool { return m.Numerator > 0 })
	})
	if s.Table != nil && !mirrored {
		r.fault(i.at, "checks.impact: no route of %s mirrors, so there is nothing to switch off and on; give one a mirror, or leave the check out", s.Mesh.Host)
	}
}

// blockRate is the rate of the blocks; 0 where there is none.
func (s *Scenario) blockRate() float64 {
	if len(s.Load.Stages) == 0 {
		return 0
	}
	return s.Load.Stages[len(s.Load.Stages)-1].To
}

func (r *reader) objective(o value[rawObjective]) Objective {
	q, u, e := o.v.quantile, o.v.under, o.v.errors
	switch {
	case e.at != nil && (q.at != nil || u.at != nil):
		r.fault(o.at, "checks.objectives: an objective bounds either a quantile or the errors; make two of it")
	case e.at == nil && q.at == nil && u.at == nil:
		r.fault(o.at, "checks.objectives: this objective bounds nothing; write {quantile: 99, under: 50ms} or {errors: 0.1}")
	case q.at == nil && u.at != nil:
		r.fault(o.at, "checks.objectives: under needs a quantile; write {quantile: 99, under: %v}", u.v)
	case q.at != nil && u.at == nil:
		r.fault(o.at, "checks.objectives: quantile needs a bound; write {quantile: %v, under: 50ms}", q.v)
	}
	if e.at != nil {
		return Objective{Errors: &e.v}
	}
	return Objective{Quantile: q.v, Under: u.v}
}
