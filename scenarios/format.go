package scenarios

import (
	"encoding/json"
	"fmt"
	"time"

	"gopkg.in/yaml.v3"

	"umbra/internal/impact"
	"umbra/replay"
)

// apiVersion and kind head every scenario file.
const (
	apiVersion = "umbra/v1"
	kind       = "Scenario"
)

// The file as written; see scenarioShape for what each key means.
type (
	rawScenario struct {
		apiVersion, kind, name value[string]
		mesh                   value[rawMesh]
		traffic                value[rawTraffic]
		load                   value[rawLoad]
		checks                 value[rawChecks]
		drain                  value[time.Duration]
	}
	rawMesh struct {
		manifests value[[]value[string]]
		host      value[string]
		port      value[uint64]
		versions  value[rawVersions]
		app       value[rawApp]
	}
	rawVersions struct {
		primary value[string]
		shadow  value[[]value[string]]
	}
	rawApp struct {
		latency value[[]entry[rawLatency]]
		errors  value[[]entry[float64]]
		size    value[[]entry[int]]
		differ  value[[]entry[float64]]
		stamp   value[[]value[string]]
	}
	rawLatency struct {
		p50, p99 value[time.Duration]
	}
	rawTraffic struct {
		mix     value[[]value[rawEntry]]
		capture value[rawCapture]
	}
	rawEntry struct {
		name, method, path, body value[string]
		weight                   value[uint64]
		headers                  value[[]entry[string]]
	}
	rawCapture struct {
		file, ordered value[string]
		speed, sample value[float64]
		loops, first  value[uint64]
		from, to      value[time.Duration]
		methods       value[[]value[string]] // nil: all
		rewrite       value[rawRewrite]
	}
	rawLoad struct {
		arrivals, protocol, reuse, overload value[string]
		connections, streams, seed          value[uint64]
		timeout, quantum                    value[time.Duration]
		warmup, cooldown                    value[rawStage]
		stages                              value[[]value[rawStage]]
	}
	rawStage struct {
		rate, to value[float64]
		length   value[time.Duration]
	}
	rawChecks struct {
		fraction   value[rawFraction]
		impact     value[rawImpact]
		objectives value[[]value[rawObjective]]
		versions   value[rawVersionsCheck]
	}
	rawFraction struct {
		within value[float64]
	}
	rawVersionsCheck struct {
		ignore value[[]value[string]]
	}
	rawImpact struct {
		pairs         value[uint64]
		block, settle value[time.Duration]
		margins       value[rawMargins]
		errors        value[float64]
		controls      value[string]
		uploads       value[[]value[int]]
	}
	rawMargins struct {
		p50, p90, p99, p999 value[string]
	}
	rawObjective struct {
		quantile, errors value[float64]
		under            value[time.Duration]
	}
)

// hostPattern is a DNS name or an IPv4 address, as an authority without port.
const hostPattern = `^([A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)(\.[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)*$`

// labelPattern is the value of a Kubernetes label.
const labelPattern = `^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`

// scenarioShape describes the whole file.
func scenarioShape() shape[rawScenario] {
	return object(nil,
		key("apiVersion", "The version of this format.", oneOf(apiVersion), func(s *rawScenario) *value[string] { return &s.apiVersion }).must(),
		key("kind", "What the file is.", oneOf(kind), func(s *rawScenario) *value[string] { return &s.kind }).must(),
		key("name", "The scenario's name; run folders begin with it.", text("a name of lower-case letters, digits and dashes", `^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`), func(s *rawScenario) *value[string] { return &s.name }).must(),
		key("mesh", "What stands, and where the traffic goes in.", meshShape(), func(s *rawScenario) *value[rawMesh] { return &s.mesh }).must(),
		key("traffic", "What is sent: a scripted mix or a capture.", trafficShape(), func(s *rawScenario) *value[rawTraffic] { return &s.traffic }).must(),
		key("load", "How it is offered.", loadShape(), func(s *rawScenario) *value[rawLoad] { return &s.load }).or("{}"),
		key("checks", "What is judged beyond integrity and delivery, which always are. What is left out is NOT TESTED.", checksShape(), func(s *rawScenario) *value[rawChecks] { return &s.checks }).or("{}"),
		key("drain", "How long a run waits at most, after the last request, for the shadow to fall idle.", duration(false), func(s *rawScenario) *value[time.Duration] { return &s.drain }).or("10s"),
	)
}

func meshShape() shape[rawMesh] {
	return object(nil,
		key("manifests", "Files of the user's own VirtualService, DestinationRule, Gateway, Deployment and Service, applied as they are; relative to the scenario.", list(text("the name of a manifest file", `.`)), func(m *rawMesh) *value[[]value[string]] { return &m.manifests }).must(),
		key("host", "The authority of every scripted request.", text("a host name without scheme and port", hostPattern), func(m *rawMesh) *value[string] { return &m.host }).must(),
		key("port", "The Gateway server's port that takes the traffic. By default the first plain HTTP server that serves the host.", integer("a port from 1 to 65535", 1, 65535), func(m *rawMesh) *value[uint64] { return &m.port }),
		key("versions", "The values of the pods' label \"version\".", versionsShape(), func(m *rawMesh) *value[rawVersions] { return &m.versions }).must(),
		key("app", "How umbra's own app behaves where it is deployed, by version. A version that is absent answers at once.", appShape(), func(m *rawMesh) *value[rawApp] { return &m.app }),
	)
}

func versionsShape() shape[rawVersions] {
	version := text("a value of the label version", labelPattern)
	one := as(version, func(v string, n *yaml.Node) []value[string] { return []value[string]{{v: v, at: n}} })
	return object(nil,
		key("primary", "The version that answers the users.", version, func(v *rawVersions) *value[string] { return &v.primary }).must(),
		key("shadow", "The version, or the versions, that get the mirrored copies.", scalarOr(one, list(version)), func(v *rawVersions) *value[[]value[string]] { return &v.shadow }).must(),
	)
}

func appShape() shape[rawApp] {
	constant := as(duration(true), func(d time.Duration, n *yaml.Node) rawLatency {
		return rawLatency{p50: value[time.Duration]{v: d, at: n}}
	})
	spread := object(nil,
		key("p50", "The median.", duration(false), func(l *rawLatency) *value[time.Duration] { return &l.p50 }).must(),
		key("p99", "The 99th percentile.", duration(false), func(l *rawLatency) *value[time.Duration] { return &l.p99 }).must(),
	)
	return object(nil,
		key("latency", "The time to answer: a constant, or a log-normal distribution by its p50 and p99.", mapping(scalarOr(constant, spread)), func(a *rawApp) *value[[]entry[rawLatency]] { return &a.latency }),
		key("errors", "The share of requests that are answered with 503.", mapping(percent("a percentage from 0% to 100%")), func(a *rawApp) *value[[]entry[float64]] { return &a.errors }),
		key("size", "The size of a response's body.", mapping(size()), func(a *rawApp) *value[[]entry[int]] { return &a.size }),
		key("differ", "The share of requests that are answered with another body than by the other versions.", mapping(percent("a percentage from 0% to 100%")), func(a *rawApp) *value[[]entry[float64]] { return &a.differ }),
		key("stamp", "The versions whose answers' JSON has the time, as $.time.", list(text("a value of the label version", labelPattern)), func(a *rawApp) *value[[]value[string]] { return &a.stamp }),
	)
}

func trafficShape() shape[rawTraffic] {
	either := map[string]any{"oneOf": []any{needs("mix"), needs("capture")}}
	return object(either,
		key("mix", "Scripted requests by weight.", list(entryShape()), func(t *rawTraffic) *value[[]value[rawEntry]] { return &t.mix }),
		key("capture", "Recorded traffic.", captureShape(), func(t *rawTraffic) *value[rawCapture] { return &t.capture }),
	)
}

func entryShape() shape[rawEntry] {
	return object(nil,
		key("name", "The entry's name in results and reports.", text("a name of letters, digits, dots, dashes and underscores", `^[A-Za-z0-9][-A-Za-z0-9_.]{0,62}$`), func(e *rawEntry) *value[string] { return &e.name }).must(),
		key("weight", "The entry's share among the weights.", integer("a whole number from 0 to 1000000", 0, maxWeight), func(e *rawEntry) *value[uint64] { return &e.weight }).or("1"),
		key("method", "The method.", text("an HTTP method in capitals, like GET", `^[A-Z][-A-Z0-9]*$`), func(e *rawEntry) *value[string] { return &e.method }).or("GET"),
		key("path", "The path and query; a template.", text("a path that starts with /", `^/`), func(e *rawEntry) *value[string] { return &e.path }).must(),
		key("headers", "Header lines; the values are templates.", mapping(anyText("text")), func(e *rawEntry) *value[[]entry[string]] { return &e.headers }),
		key("body", "The body; a template.", anyText("text"), func(e *rawEntry) *value[string] { return &e.body }),
	)
}

func captureShape() shape[rawCapture] {
	return object(nil,
		key("file", "The traffic file, relative to the scenario.", text("the name of a traffic file", `.`), func(c *rawCapture) *value[string] { return &c.file }).must(),
		key("speed", "How many times faster than recorded; with captured arrivals only.", number("a number above 0 and below 10000", 0, 10000), func(c *rawCapture) *value[float64] { return &c.speed }).or("1"),
		key("ordered", "time: each request goes when it is due; session: besides, the next request of a session waits until its predecessor has ended.", oneOf(byTime, bySession), func(c *rawCapture) *value[string] { return &c.ordered }).or(byTime),
		key("loops", "How often it is replayed, one round behind the other, each with sessions of its own; with captured arrivals only.", integer("a whole number from 1 to 1000000", 1, 1e6), func(c *rawCapture) *value[uint64] { return &c.loops }).or("1"),
		key("from", "Leave out what came before, counted from the start of the capture.", duration(true), func(c *rawCapture) *value[time.Duration] { return &c.from }).or("0s"),
		key("to", "Leave out what came then and later, counted from the start of the capture.", duration(false), func(c *rawCapture) *value[time.Duration] { return &c.to }),
		key("first", "Of what from and to leave, only so many requests.", integer("a whole number from 1 to 100000000", 1, 1e8), func(c *rawCapture) *value[uint64] { return &c.first }),
		key("sample", "The share of the sessions that is replayed, each whole.", percent("a percentage above 0% and up to 100%"), func(c *rawCapture) *value[float64] { return &c.sample }).or("100%"),
		key("methods", "safe: only GET, HEAD, OPTIONS and TRACE are replayed; all; or a list. The others are left out, and the report counts them.", methodsShape(), func(c *rawCapture) *value[[]value[string]] { return &c.methods }).or(onlySafe),
		key("rewrite", "Changes to each request.", rewriteShape(), func(c *rawCapture) *value[rawRewrite] { return &c.rewrite }),
	)
}

// The words of traffic.capture.ordered and methods.
const (
	byTime     = "time"
	bySession  = "session"
	onlySafe   = "safe"
	allMethods = "all"
)

// methodsShape reads the methods that are replayed; "all" is none in particular.
func methodsShape() shape[[]value[string]] {
	word := as(oneOf(onlySafe, allMethods), func(word string, n *yaml.Node) (methods []value[string]) {
		if word == onlySafe {
			for _, m := range SafeMethods {
				methods = append(methods, value[string]{v: m, at: n})
			}
		}
		return methods
	})
	return scalarOr(word, list(text("an HTTP method in capitals, like GET", `^[A-Z][-A-Z0-9]*$`)))
}

func loadShape() shape[rawLoad] {
	return object(nil,
		key("arrivals", "The arrival process. By default poisson for a mix, captured for a capture.", oneOf(Constant, Poisson, Captured), func(l *rawLoad) *value[string] { return &l.arrivals }),
		key("connections", "The number of connections.", integer("a whole number from 1 to 65535", 1, 65535), func(l *rawLoad) *value[uint64] { return &l.connections }).or("32"),
		key("protocol", "What the connections speak: HTTP/1.1, or HTTP/2 with prior knowledge (h2c).", oneOf(HTTP1, H2C), func(l *rawLoad) *value[string] { return &l.protocol }).or(HTTP1),
		key("streams", "With h2c: how many requests may be under way on a connection; the gateway may allow fewer.", integer("a whole number from 1 to 10000", 1, 10000), func(l *rawLoad) *value[uint64] { return &l.streams }).or("100"),
		key("reuse", "Which requests share a connection: keep, any; session, those of a captured session; fresh, none.", oneOf(string(replay.Keep), string(replay.Session), string(replay.Fresh)), func(l *rawLoad) *value[string] { return &l.reuse }).or(string(replay.Keep)),
		key("overload", "What becomes of a request that is due while no connection is free: queue, it waits, and that counts into its response time; drop, it is not sent; abort, the run ends.", oneOf(string(replay.QueueUp), string(replay.Drop), string(replay.AbortRun)), func(l *rawLoad) *value[string] { return &l.overload }).or(string(replay.QueueUp)),
		key("quantum", "Requests that fall due within it may be sent by one wake-up, so the first of them that late; 0s sends each on time.", duration(true), func(l *rawLoad) *value[time.Duration] { return &l.quantum }).or("0s"),
		key("timeout", "The time that a request has, from when it is due.", duration(false), func(l *rawLoad) *value[time.Duration] { return &l.timeout }).or("2s"),
		key("seed", "The seed of everything random.", integer("a whole number from 0 to 9007199254740991", 0, 1<<53-1), func(l *rawLoad) *value[uint64] { return &l.seed }).or("1"),
		key("warmup", "A stage before the others, recorded apart and never judged.", stageShape(), func(l *rawLoad) *value[rawStage] { return &l.warmup }),
		key("cooldown", "A stage behind the others, recorded apart and never judged.", stageShape(), func(l *rawLoad) *value[rawStage] { return &l.cooldown }),
		key("stages", "The stages, one after the other.", list(stageShape()), func(l *rawLoad) *value[[]value[rawStage]] { return &l.stages }),
	)
}

func stageShape() shape[rawStage] {
	rate := number("a number of requests a second above 0 and below a million, like 200", 0, 1e6)
	return object(nil,
		key("rate", "Requests a second, at the stage's start.", rate, func(s *rawStage) *value[float64] { return &s.rate }).must(),
		key("to", "Requests a second at the stage's end, where it is a ramp.", rate, func(s *rawStage) *value[float64] { return &s.to }),
		key("for", "The stage's length.", duration(false), func(s *rawStage) *value[time.Duration] { return &s.length }).must(),
	)
}

func checksShape() shape[rawChecks] {
	return object(nil,
		key("fraction", "Test the mirrored share of the requests against the programmed one.", fractionShape(), func(c *rawChecks) *value[rawFraction] { return &c.fraction }),
		key("impact", "Paired blocks with mirroring off and on.", impactShape(), func(c *rawChecks) *value[rawImpact] { return &c.impact }),
		key("objectives", "Bounds on response times and errors.", list(objectiveShape()), func(c *rawChecks) *value[[]value[rawObjective]] { return &c.objectives }),
		key("versions", "How the versions' answers to the same requests are compared, which is told and never judged.", versionsCheckShape(), func(c *rawChecks) *value[rawVersionsCheck] { return &c.versions }),
	)
}

func versionsCheckShape() shape[rawVersionsCheck] {
	return object(nil,
		key("ignore", "Parts of the answers' JSON that are not compared, such as times: paths like $.time, $.items[*].id or $..at.", list(text("a JSON path like $.time", `^\$.`)), func(v *rawVersionsCheck) *value[[]value[string]] { return &v.ignore }),
	)
}

func fractionShape() shape[rawFraction] {
	return object(nil,
		key("within", "Percentage points around what the mesh is configured for.", number("a number of percentage points above 0 and below 100", 0, 100), func(f *rawFraction) *value[float64] { return &f.within }).must(),
	)
}

func impactShape() shape[rawImpact] {
	margins := object(nil,
		key("p50", "The margin of the median.", margin(), func(m *rawMargins) *value[string] { return &m.p50 }),
		key("p90", "The margin of the 90th percentile.", margin(), func(m *rawMargins) *value[string] { return &m.p90 }),
		key("p99", "The margin of the 99th percentile.", margin(), func(m *rawMargins) *value[string] { return &m.p99 }),
		key("p99.9", "The margin of the 99.9th percentile.", margin(), func(m *rawMargins) *value[string] { return &m.p999 }),
	)
	least := uint64(2 * impact.MinUnits)
	pairs := integer(fmt.Sprintf("an even whole number from %d to 100000, as a test rests on at least %d quadruples of two pairs", least, impact.MinUnits), least, 100000)
	pairs.schema = with(pairs.schema, "multipleOf", 2)
	return object(nil,
		key("pairs", "The number of pairs of blocks; two pairs make a quadruple.", pairs, func(i *rawImpact) *value[uint64] { return &i.pairs }).must(),
		key("block", "The length of a block.", duration(false), func(i *rawImpact) *value[time.Duration] { return &i.block }).must(),
		key("settle", "How long the load goes on before each block begins to count, once every gateway was seen to have the switched routes.", duration(true), func(i *rawImpact) *value[time.Duration] { return &i.settle }).or("400ms"),
		key("margins", "How much slower the primary may be with mirroring on, by quantile. By default p50 and p90 max(5%, 0.1ms), p99 max(10%, 0.5ms), and p99.9 where the experiment has the power for it. One that is named here has to be decided: without it nothing passes.", margins, func(i *rawImpact) *value[rawMargins] { return &i.margins }),
		key("errors", "By how many percentage points the share of failed requests may rise.", number("a number of percentage points above 0 and below 100, like 0.1", 0, 100), func(i *rawImpact) *value[float64] { return &i.errors }).or("0.1"),
		key("controls", "When the controls are played, which show that the experiment can pass and can fail: each, with every run; nightly, with umbra run --nightly; off, never. They take as long as the experiment once for off against off, and once more for each quantile that is gated.", oneOf(string(ControlsEach), string(ControlsNightly), string(ControlsOff)), func(i *rawImpact) *value[string] { return &i.controls }).or(string(ControlsEach)),
		key("uploads", "The sizes of request bodies with which umbra run --shadow hung (or another mode, or all) looks for harm; 0B are the scenario's own requests.", list(size()), func(i *rawImpact) *value[[]value[int]] { return &i.uploads }).or("[0B, 64KiB, 1MiB, 8MiB, 32MiB]"),
	)
}

func objectiveShape() shape[rawObjective] {
	either := map[string]any{
		"oneOf":             []any{needs("quantile", "under"), needs("errors")},
		"dependentRequired": map[string]any{"under": []string{"quantile"}},
	}
	return object(either,
		key("quantile", "Which percentile of the response time, in percent.", number("a number above 0 and below 100, like 99", 0, 100), func(o *rawObjective) *value[float64] { return &o.quantile }),
		key("under", "The bound of that percentile.", duration(false), func(o *rawObjective) *value[time.Duration] { return &o.under }),
		key("errors", "The bound of the share of errors, in percent.", number("a number of percent above 0 and below 100, like 0.1", 0, 100), func(o *rawObjective) *value[float64] { return &o.errors }),
	)
}

// needs is the schema of an object that has names and none of the others of its oneOf.
func needs(names ...string) map[string]any { return map[string]any{"required": names} }

// Schema is the JSON Schema (draft 2020-12) of the scenario file, made from the description that Load reads by.
func Schema() []byte {
	schema := with(scenarioShape().schema,
		"$schema", "https://json-schema.org/draft/2020-12/schema",
		"title", "umbra scenario",
		"description", "What umbra run plays, and against which mesh.",
	)
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		panic(err) // maps of strings and numbers only
	}
	return append(text, '\n')
}
