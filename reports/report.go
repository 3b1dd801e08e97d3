// Package reports renders one Report value. A renderer computes nothing: every figure stands in the Report.
package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"reflect"
	"strings"
	"unicode/utf16"

	"github.com/invopop/jsonschema"

	"umbra/internal/arrivals"
	"umbra/internal/evidence"
	"umbra/internal/host"
	"umbra/internal/runs"
	"umbra/internal/summary"
	"umbra/internal/verdict"
)

// Format is the version that report.json names.
const Format = "report/v1"

// Report is a run's result: what report.json holds, and all that any renderer shows.
type Report struct {
	Umbra      string            `json:"umbra" jsonschema:"enum=report/v1"`
	Name       string            `json:"name"`
	Headline   string            `json:"headline"`       // the verdict in a sentence
	Lead       []Lead            `json:"lead,omitempty"` // the figures that carry it
	ExitStatus int               `json:"exit_status" jsonschema:"enum=0,enum=1,enum=3,enum=4"`
	Partial    string            `json:"partial,omitempty"` // why the run is not whole
	Verdicts   []verdict.Verdict `json:"verdicts"`          // without a mesh, the rate's alone
	// Versions is how the versions' answers to the same requests compare, which is no verdict; nil where none were compared.
	Versions *verdict.Versions `json:"versions,omitempty"`
	Figures  summary.Figures   `json:"figures"`
	// Client is what was measured of the machine that sent the load, and Connections how it was connected; nil where the
	// folder does not tell.
	Client      *Client           `json:"client,omitempty"`
	Connections *host.Connections `json:"connections,omitempty"`
	// Arrivals is how the replay's arrivals compare with those of its capture; nil where they were not captured.
	Arrivals *arrivals.Shape `json:"arrivals,omitempty"`
	Mesh     *Mesh           `json:"mesh,omitempty"`
	Load     string          `json:"load,omitempty"` // what was played, in a few words
	Seed     uint64          `json:"seed,omitempty"`
	// Digests tell whether two runs were of the same scenario; nil where there was none.
	Digests  *runs.Digests   `json:"digests,omitempty"`
	Warnings []string        `json:"warnings,omitempty"`
	Run      evidence.Record `json:"run"`
}

// Mesh is the mesh as it was configured.
type Mesh struct {
	Host   string  `json:"host"`
	Routes []Route `json:"routes"`
}

// Route is a route and its mirrors.
type Route struct {
	Name    string   `json:"name"`
	To      []string `json:"to,omitempty"` // clusters; none where the gateway answers itself
	Mirrors []Mirror `json:"mirrors,omitempty"`
	// Counts is what came by; nil where Integrity was not judged.
	Counts *RouteCounts `json:"counts,omitempty"`
}

// RouteCounts are the requests of a route, in all phases.
type RouteCounts struct {
	Sent    int `json:"sent"`
	OK      int `json:"ok"`      // that got a complete answer
	Arrived int `json:"arrived"` // that a primary has a receipt of
}

// Mirror is a mirror policy.
type Mirror struct {
	Cluster    string  `json:"cluster"`
	Percent    float64 `json:"percent"`    // as configured
	Numerator  uint32  `json:"numerator"`  // as programmed, per million
	Programmed float64 `json:"programmed"` // the same in percent
	// Counts is what came by; nil where Sampling was not judged.
	Counts *MirrorCounts `json:"counts,omitempty"`
}

// MirrorCounts are the requests of a route's stages, and those of them that arrived at a mirror.
type MirrorCounts struct {
	Eligible int `json:"eligible"`
	Mirrored int `json:"mirrored"`
}

// Close makes what follows from the rest: the exit status, the headline, and the counts of the mesh.
func (r *Report) Close() {
	r.Umbra = Format
	if r.Verdicts == nil {
		r.Verdicts = []verdict.Verdict{}
	}
	r.ExitStatus = verdict.ExitStatus(r.Verdicts)
	if r.ExitStatus == verdict.ExitPassed && r.Partial != "" {
		r.ExitStatus = verdict.ExitInconclusive
	}
	r.Headline, r.Lead = r.headline(), r.leading()
	r.count()
}

func (r *Report) headline() string {
	alone := r.Run.Mesh == evidence.NoMesh
	if len(r.Verdicts) == 0 {
		return r.answered()
	}
	for _, state := range []verdict.State{verdict.Fail, verdict.Invalid, verdict.Inconclusive} {
		if names, first := r.in(state); len(names) > 0 {
			return fmt.Sprintf("%s: %s. %s", state, strings.Join(names, ", "), first)
		}
	}
	passed, _ := r.in(verdict.Pass)
	switch {
	case len(passed) == 0 && alone:
		return r.answered()
	case len(passed) == 0:
		return "NOT TESTED: nothing was judged"
	}
	text := fmt.Sprintf("PASS: %s", strings.Join(passed, ", "))
	if untested, _ := r.in(verdict.NotTested); len(untested) > 0 {
		text += fmt.Sprintf(" (not tested: %s)", strings.Join(untested, ", "))
	}
	if alone {
		text += ". " + r.answered()
	}
	if r.Partial != "" {
		text = fmt.Sprintf("%s: %s. So far %s", verdict.Inconclusive, r.Partial, text)
	}
	return text
}

// answered sums up a run without a mesh.
func (r *Report) answered() string {
	f := &r.Figures
	return fmt.Sprintf("%d requests planned, %d answered, %d not; no mesh was judged", f.Planned, f.OK, f.Planned-f.OK)
}

// in names the verdicts in a state, and gives the first one's sentence.
func (r *Report) in(state verdict.State) (names []string, first string) {
	for _, v := range r.Verdicts {
		if v.State != state {
			continue
		}
		if len(names) == 0 {
			first = v.Summary
		}
		names = append(names, v.Name)
	}
	return names, first
}

// JSON is report.json. What a terminal would act on is escaped, as JSON allows for all characters of its strings, and only in these
// there is such.
func (r *Report) JSON() ([]byte, error) {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for _, c := range string(data) {
		switch {
		case c == '\n' || !active(c):
			b.WriteRune(c)
		case c > 0xffff:
			high, low := utf16.EncodeRune(c)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, c)
		}
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// WriteJSON writes report.json.
func (r *Report) WriteJSON(w io.Writer) error {
	data, err := r.JSON()
	if err == nil {
		_, err = w.Write(data)
	}
	return err
}

// qualified names a definition by its package too, as two packages may each have a type of the same name.
func qualified(t reflect.Type) string {
	if t.Name() == "" || t.PkgPath() == "" {
		return "" // the reflector's own name
	}
	return path.Base(t.PkgPath()) + "." + t.Name()
}

// Schema is the JSON Schema (draft 2020-12) of report.json, made from the Report type.
func Schema() []byte {
	reflector := jsonschema.Reflector{Anonymous: true, ExpandedStruct: true, Namer: qualified}
	schema := reflector.Reflect(&Report{})
	schema.Title = "umbra report.json, " + Format
	schema.Description = "Durations (…_ns) are nanoseconds, instants RFC 3339, percentages 0 to 100."
	data, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		panic(err) // of a constant
	}
	return append(data, '\n')
}
