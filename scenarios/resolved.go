package scenarios

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"gopkg.in/yaml.v3"

	"umbra/internal/evidence"
	"umbra/internal/mesh"
	"umbra/internal/traffic"
	"umbra/replay"
)

// The file as Resolved writes it: in the order of the format, with everything that has a default.
type (
	resolvedScenario struct {
		APIVersion string          `yaml:"apiVersion"`
		Kind       string          `yaml:"kind"`
		Name       string          `yaml:"name"`
		Mesh       resolvedMesh    `yaml:"mesh"`
		Traffic    resolvedTraffic `yaml:"traffic"`
		Load       resolvedLoad    `yaml:"load"`
		Checks     resolvedChecks  `yaml:"checks"`
		Drain      string          `yaml:"drain"`
	}
	resolvedMesh struct {
		Manifests []string `yaml:"manifests,flow"`
		Host      string   `yaml:"host"`
		Port      uint32   `yaml:"port"`
		Versions  struct {
			Primary string   `yaml:"primary"`
			Shadow  []string `yaml:"shadow"`
		} `yaml:"versions,flow"`
		App *resolvedApp `yaml:"app,omitempty"`
	}
	resolvedApp struct {
		Latency map[string]any    `yaml:"latency,flow"`
		Errors  map[string]string `yaml:"errors,omitempty,flow"`
		Size    map[string]string `yaml:"size,omitempty,flow"`
		Differ  map[string]string `yaml:"differ,omitempty,flow"`
		Stamp   []string          `yaml:"stamp,omitempty,flow"`
	}
	resolvedTraffic struct {
		Mix     []resolvedEntry  `yaml:"mix,omitempty"`
		Capture *resolvedCapture `yaml:"capture,omitempty,flow"`
	}
	resolvedEntry struct {
		Name    string     `yaml:"name"`
		Weight  int        `yaml:"weight"`
		Method  string     `yaml:"method"`
		Path    string     `yaml:"path"`
		Headers *yaml.Node `yaml:"headers,omitempty"`
		Body    string     `yaml:"body,omitempty"`
	}
	resolvedCapture struct {
		File    string           `yaml:"file"`
		Speed   float64          `yaml:"speed,omitempty"`
		Ordered string           `yaml:"ordered"`
		Loops   int              `yaml:"loops,omitempty"`
		From    string           `yaml:"from"`
		To      string           `yaml:"to,omitempty"`
		First   int              `yaml:"first,omitempty"`
		Sample  string           `yaml:"sample"`
		Methods any              `yaml:"methods"`
		Rewrite *resolvedRewrite `yaml:"rewrite,omitempty"`
	}
	resolvedRewrite struct {
		Host    string             `yaml:"host,omitempty"`
		Paths   []resolvedPathRule `yaml:"paths,omitempty"`
		Headers *yaml.Node         `yaml:"headers,omitempty"`
	}
	resolvedPathRule struct {
		Match   string `yaml:"match"`
		Replace string `yaml:"replace"`
	}
	resolvedLoad struct {
		Arrivals    string          `yaml:"arrivals"`
		Connections int             `yaml:"connections"`
		Protocol    string          `yaml:"protocol"`
		Streams     int             `yaml:"streams,omitempty"`
		Reuse       string          `yaml:"reuse"`
		Overload    string          `yaml:"overload"`
		Quantum     string          `yaml:"quantum"`
		Timeout     string          `yaml:"timeout"`
		Seed        uint64          `yaml:"seed"`
		Warmup      *resolvedStage  `yaml:"warmup,omitempty,flow"`
		Stages      []resolvedStage `yaml:"stages,omitempty,flow"`
		Cooldown    *resolvedStage  `yaml:"cooldown,omitempty,flow"`
	}
	resolvedStage struct {
		Rate float64 `yaml:"rate"`
		To   float64 `yaml:"to,omitempty"`
		For  string  `yaml:"for"`
	}
	resolvedChecks struct {
		Fraction   *resolvedFraction   `yaml:"fraction,omitempty,flow"`
		Impact     *resolvedImpact     `yaml:"impact,omitempty"`
		Objectives []resolvedObjective `yaml:"objectives,omitempty,flow"`
		Versions   *resolvedVersions   `yaml:"versions,omitempty,flow"`
	}
	resolvedVersions struct {
		Ignore []string `yaml:"ignore,omitempty,flow"`
	}
	resolvedFraction struct {
		Within float64 `yaml:"within"`
	}
	resolvedImpact struct {
		Pairs    int               `yaml:"pairs"`
		Block    string            `yaml:"block"`
		Settle   string            `yaml:"settle"`
		Margins  map[string]string `yaml:"margins,omitempty,flow"`
		Errors   float64           `yaml:"errors"`
		Controls string            `yaml:"controls"`
		Uploads  []string          `yaml:"uploads,flow"`
	}
	resolvedObjective struct {
		Quantile float64  `yaml:"quantile,omitempty"`
		Under    string   `yaml:"under,omitempty"`
		Errors   *float64 `yaml:"errors,omitempty"`
	}
)

// Resolved is the scenario as YAML with every default filled in. Load reads it again and gives an equal scenario,
// wherever it lies: the names of captures and CSV files are absolute. Its only manifest is the one given, or the
// scenario's own ones, by absolute names, where it is "".
func (s *Scenario) Resolved(manifests string) ([]byte, error) { return s.resolved(manifests, "") }

// ResolvedIn is Resolved for a run folder, which has its manifests: a traffic file that lies in the folder is named relative to
// it, so that the folder may be moved.
func (s *Scenario) ResolvedIn(folder string) ([]byte, error) {
	return s.resolved(evidence.Manifests, folder)
}

func (s *Scenario) resolved(manifests, folder string) ([]byte, error) {
	out := resolvedScenario{
		APIVersion: apiVersion, Kind: kind, Name: s.Name,
		Mesh: resolveMesh(&s.Mesh, manifests), Traffic: resolveTraffic(s, folder), Load: resolveLoad(&s.Load),
		Checks: resolveChecks(&s.Checks), Drain: s.Drain.String(),
	}
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := encoder.Encode(out); err != nil {
		return nil, fmt.Errorf("resolving scenario %s: %w", s.Name, err)
	}
	return text.Bytes(), encoder.Close()
}

func resolveMesh(m *MeshConfig, manifests string) resolvedMesh {
	out := resolvedMesh{Manifests: []string{manifests}, Host: m.Host, Port: m.Port}
	if manifests == "" {
		out.Manifests = nil
		for _, file := range m.ManifestFiles {
			out.Manifests = append(out.Manifests, absolutePath("", file))
		}
	}
	out.Versions.Primary, out.Versions.Shadow = m.Primary, m.Shadows
	if len(m.App) > 0 {
		out.App = resolveApp(m.App)
	}
	return out
}

func resolveApp(app map[string]mesh.Behaviour) *resolvedApp {
	out := &resolvedApp{Latency: map[string]any{}, Errors: map[string]string{}, Size: map[string]string{}, Differ: map[string]string{}}
	for _, version := range slices.Sorted(maps.Keys(app)) {
		b := app[version]
		out.Latency[version] = b.Latency.P50.String()
		if b.Latency.P99 > 0 {
			out.Latency[version] = map[string]string{"p50": b.Latency.P50.String(), "p99": b.Latency.P99.String()}
		}
		if b.ErrorRate > 0 {
			out.Errors[version] = percentOf(b.ErrorRate)
		}
		if b.ResponseSize > 0 {
			out.Size[version] = strconv.Itoa(b.ResponseSize) + "B"
		}
		if b.Differ > 0 {
			out.Differ[version] = percentOf(b.Differ)
		}
		if b.Stamp {
			out.Stamp = append(out.Stamp, version)
		}
	}
	return out
}

// percentOf is the shortest percentage that reads back as exactly the share.
func percentOf(share float64) string {
	for digits := 0; ; digits++ {
		text := strconv.FormatFloat(share*100, 'f', digits, 64)
		if v, err := strconv.ParseFloat(text, 64); err != nil || v/100 == share || digits > 30 {
			return text + "%"
		}
	}
}

func resolveTraffic(s *Scenario, folder string) resolvedTraffic {
	var out resolvedTraffic
	if s.Capture != nil {
		out.Capture = resolveCapture(s.Capture, &s.Load)
		out.Capture.File = within(folder, s.Capture.File)
	}
	if s.Mix != nil {
		for _, e := range s.Mix.Entries {
			out.Mix = append(out.Mix, resolvedEntry{e.Name, e.Weight, e.Method, e.Path, headerNode(e.Headers), e.Body})
		}
	}
	return out
}

// within is how a folder names a file that lies in it, and file itself elsewhere; a folder of "" has none.
func within(folder, file string) string {
	if folder == "" {
		return file
	}
	name, err := filepath.Rel(absolutePath("", folder), file)
	if err != nil || !filepath.IsLocal(name) {
		return file
	}
	return name
}

func resolveCapture(c *Capture, l *LoadConfig) *resolvedCapture {
	out := &resolvedCapture{File: c.File, Ordered: byTime, From: c.From.String(), To: shown(c.To), First: c.First, Sample: strconv.FormatFloat(c.Sample, 'f', -1, 64) + "%",
		Methods: c.Methods}
	if l.Arrivals == Captured {
		out.Speed, out.Loops = c.Speed, c.Loops
	}
	if l.Ordered {
		out.Ordered = bySession
	}
	switch {
	case c.Methods == nil:
		out.Methods = allMethods
	case slices.Equal(c.Methods, SafeMethods):
		out.Methods = onlySafe
	}
	if w := c.Rewrite; w != nil {
		out.Rewrite = &resolvedRewrite{Host: w.Host, Headers: headerNode(w.Headers)}
		for _, p := range w.Paths {
			out.Rewrite.Paths = append(out.Rewrite.Paths, resolvedPathRule(p))
		}
	}
	return out
}

// headerNode keeps the headers' order, which a map would not.
func headerNode(headers []traffic.Header) *yaml.Node {
	if len(headers) == 0 {
		return nil
	}
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, h := range headers {
		for _, text := range h {
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text})
		}
	}
	return n
}

func resolveLoad(l *LoadConfig) resolvedLoad {
	out := resolvedLoad{Arrivals: l.Arrivals, Connections: l.Connections, Protocol: l.Protocol, Reuse: string(l.Reuse),
		Overload: string(l.Overload), Quantum: l.Quantum.String(), Timeout: l.Timeout.String(), Seed: l.Seed,
		Warmup: resolveAside(l.Warmup), Cooldown: resolveAside(l.Cooldown)}
	if l.Protocol == H2C && l.Reuse != replay.Fresh {
		out.Streams = l.Streams
	}
	for _, stage := range l.Stages {
		out.Stages = append(out.Stages, resolveStage(stage))
	}
	return out
}

func resolveAside(s *Stage) *resolvedStage {
	if s == nil {
		return nil
	}
	out := resolveStage(*s)
	return &out
}

func resolveStage(s Stage) resolvedStage {
	out := resolvedStage{Rate: s.Rate, For: s.For.String()}
	if s.To != s.Rate {
		out.To = s.To
	}
	return out
}

func resolveChecks(c *Checks) resolvedChecks {
	var out resolvedChecks
	if c.Fraction != nil {
		out.Fraction = &resolvedFraction{c.Fraction.Within}
	}
	if i := c.Impact; i != nil {
		out.Impact = resolveImpact(i)
	}
	for _, o := range c.Objectives {
		out.Objectives = append(out.Objectives, resolvedObjective{o.Quantile, shown(o.Under), o.Errors})
	}
	if c.Versions != nil {
		out.Versions = &resolvedVersions{c.Versions.Ignore}
	}
	return out
}

func resolveImpact(c *ImpactCheck) *resolvedImpact {
	out := &resolvedImpact{Pairs: c.Pairs, Block: c.Block.String(), Settle: c.Settle.String(), Errors: c.Errors, Controls: string(c.Controls)}
	for _, m := range c.Margins {
		if out.Margins == nil {
			out.Margins = map[string]string{}
		}
		out.Margins["p"+strconv.FormatFloat(m.Quantile, 'f', -1, 64)] = marginText(m)
	}
	for _, size := range c.Uploads {
		out.Uploads = append(out.Uploads, strconv.Itoa(size)+"B")
	}
	return out
}

// shown is a duration as text, and nothing where it is 0.
func shown(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}
