// Package evidence is the run folder: the names of its files, and the record that a run keeps of itself. Reports are
// made from such a folder alone.
package evidence

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"umbra/internal/host"
	"umbra/internal/verdict"
)

// The files of a run folder. The first ones are evidence; the last ones are made from it.
const (
	Scenario        = "scenario.yaml"
	Manifests       = "manifests.yaml"
	Results         = "results.arrows"
	PrimaryReceipts = "receipts-primary.arrows"
	ShadowReceipts  = "receipts-shadow.arrows"
	Before          = "mesh/before.json" // config dump, endpoints and counters before the load
	After           = "mesh/after.json"  // likewise, after the drain
	Run             = "run.json"
	Figures         = "figures.json" // in place of Results, where a run kept no rows
	HDR             = "hdr"          // the folder of the .hlog and .hgrm files
	Log             = "umbra.log"
	Report          = "report.json"
	HTML            = "report.html"
	Markdown        = "report.md"
	JUnit           = "junit.xml"
	Metrics         = "metrics.prom"
)

// NoMesh is Record.Mesh of a run without one.
const NoMesh = "none"

// NoRows is Record.Results of a run that kept no rows.
const NoRows = "none"

// Record is run.json: what a run says of itself beside its evidence.
type Record struct {
	Version     string              `json:"umbra_version"`
	Command     []string            `json:"command,omitempty"`
	Mesh        string              `json:"mesh"`      // "embedded"; "none" where no mesh was asked for
	Transport   string              `json:"transport"` // which path sent the load
	Machine     Machine             `json:"machine"`
	Faults      string              `json:"faults,omitempty"` // as asked for
	FaultHits   map[string]int      `json:"fault_hits,omitempty"`
	Warnings    []string            `json:"warnings,omitempty"`       // of the manifests
	NotModelled []string            `json:"not_modelled,omitempty"`   // what the manifests ask for and this mesh does not do
	Results     string              `json:"results,omitempty"`        // "none": figures.json instead of results.arrows
	ClosedLoop  bool                `json:"closed_loop,omitempty"`    // no rate was asked for
	Stages      []verdict.Stage     `json:"stages,omitempty"`         // those that are judged; none where no rate was asked for, or as it was captured
	Errors      *float64            `json:"errors_percent,omitempty"` // how many requests of a run without a mesh may fail; nil: not asked for
	Quantum     time.Duration       `json:"quantum_ns,omitempty"`     // requests due within it were sent by one wake-up
	Connections *host.Connections   `json:"connections,omitempty"`
	Capture     *Capture            `json:"capture,omitempty"`    // what was replayed of a traffic file; nil where the requests were made up
	Planned     int                 `json:"planned"`              // requests that the plan had; results.arrows has a row for each
	Collected   []string            `json:"collected,omitempty"`  // pods whose receipts were fetched
	Changes     []string            `json:"changes,omitempty"`    // what umbra changed in the user's manifests, or added to them
	Restarts    []verdict.Restart   `json:"restarts,omitempty"`   // pods of the app that did not last the whole run
	CPU         []CPUUse            `json:"cpu,omitempty"`        // of gateways and apps, during the run
	Steps       []Step              `json:"steps,omitempty"`      // of standing the mesh up, in the order of their ends
	Experiment  *verdict.Experiment `json:"experiment,omitempty"` // the paired blocks; nil where there are none
	Cluster     *ClusterFacts       `json:"cluster,omitempty"`    // nil where the mesh is no cluster
	Started     time.Time           `json:"started"`
	Ended       time.Time           `json:"ended"`
	Finished    bool                `json:"finished"` // false while it runs, and for ever where it was killed
	Interrupted bool                `json:"interrupted"`
	Drained     bool                `json:"drained"`
	Failure     string              `json:"failure,omitempty"`
}

// Machine is where the load came from.
type Machine struct {
	OS   string `json:"os"`
	Arch string `json:"arch"`
	CPUs int    `json:"cpus"`
	Go   string `json:"go"`
}

// CPUUse is what a container used, on average over the time from before the load to behind its drain.
type CPUUse struct {
	Namespace string        `json:"namespace"`
	Pod       string        `json:"pod"`
	Container string        `json:"container"`
	Version   string        `json:"version,omitempty"` // of the app; empty for a gateway
	Cores     float64       `json:"cores"`
	Over      time.Duration `json:"over_ns"` // the time that was measured over
}

// Step is a step of standing the mesh up. Steps may have overlapped.
type Step struct {
	Name string        `json:"name"`
	Took time.Duration `json:"took_ns"`
}

// ClusterFacts are the versions of what a cluster is made of, as it says itself.
type ClusterFacts struct {
	Kubernetes string `json:"kubernetes"` // of the API server
	Istio      string `json:"istio"`      // of istiod
	Proxy      string `json:"proxy"`      // of the gateway's Envoy
	Node       string `json:"node"`       // the node's image, or its own words
	Reused     bool   `json:"reused"`     // it stood already
}

// Partial tells why the run is not whole; "" where it is.
func (r *Record) Partial() string {
	switch {
	case r.Failure != "":
		return "the run failed: " + r.Failure
	case r.Interrupted:
		return "the run was interrupted"
	case !r.Finished:
		return "the run was killed before its end"
	}
	return ""
}

// Write puts the record into the folder.
func (r *Record) Write(dir string) error { return WriteJSON(dir, Run, r) }

// ReadRecord reads the record of a folder.
func ReadRecord(dir string) (Record, error) {
	var r Record
	err := ReadJSON(dir, Run, &r)
	return r, err
}

// HDRFiles makes the files of a folder's histograms, and their folder with the first one.
func HDRFiles(dir string) func(name string) (io.WriteCloser, error) {
	return func(name string) (io.WriteCloser, error) {
		if err := os.MkdirAll(filepath.Join(dir, HDR), 0o755); err != nil {
			return nil, err
		}
		return os.Create(filepath.Join(dir, HDR, name))
	}
}

// WriteJSON replaces a file of the folder as a whole.
func WriteJSON(dir, name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return Replace(dir, name, append(data, '\n'))
}

// Replace writes a file of the folder as a whole, so that a kill leaves the old one or the new one.
func Replace(dir, name string, data []byte) error {
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.WriteFile(path+".part", data, 0o644); err != nil {
		return errors.Join(err, os.Remove(path+".part"))
	}
	return os.Rename(path+".part", path)
}

// ReadJSON reads a file of the folder.
func ReadJSON(dir, name string, v any) error {
	data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}
