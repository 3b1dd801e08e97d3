package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"umbra/cluster/doctor"
)

// Istioctl is the analysis of istioctl, of files, of a cluster, or of both.
type Istioctl struct {
	Files      []string
	Live       bool   // a cluster, too
	Kubeconfig []byte // of that cluster; nil: File and Context say it
	File       string
	Context    string
}

// analyzeIn bounds istioctl's analysis.
const analyzeIn = time.Minute

// Analyze gives the errors and warnings that istioctl finds; nothing where there is no istioctl on the PATH.
func (i Istioctl) Analyze(ctx context.Context) ([]doctor.Finding, error) {
	program, err := exec.LookPath("istioctl")
	if err != nil {
		return nil, nil
	}
	args, clean, err := i.args()
	if err != nil {
		return nil, err
	}
	defer clean()
	ctx, cancel := context.WithTimeout(ctx, analyzeIn)
	defer cancel()
	c := exec.CommandContext(ctx, program, args...)
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	failed := c.Run() // also where it found something
	findings, err := i.analysis(out.Bytes())
	if err != nil || failed != nil && len(findings) == 0 {
		return nil, fmt.Errorf("%w: %s", errors.Join(failed, err), strings.TrimSpace(said.String()))
	}
	return findings, nil
}

// args gives the command line, and what takes its files away.
func (i Istioctl) args() (args []string, clean func(), err error) {
	args, clean = []string{"analyze", "-o", "json"}, func() {}
	switch {
	case !i.Live:
		args = append(args, "--use-kube=false")
	case i.Kubeconfig != nil:
		file, err := os.CreateTemp("", "umbra-kubeconfig-")
		if err != nil {
			return nil, clean, err
		}
		clean = func() { os.Remove(file.Name()) }
		if _, err := file.Write(i.Kubeconfig); err != nil {
			clean()
			return nil, func() {}, errors.Join(err, file.Close())
		}
		args = append(args, "--all-namespaces", "--kubeconfig", file.Name())
		if err := file.Close(); err != nil {
			clean()
			return nil, func() {}, err
		}
	default:
		args = append(args, "--all-namespaces")
		if i.File != "" {
			args = append(args, "--kubeconfig", i.File)
		}
		if i.Context != "" {
			args = append(args, "--context", i.Context)
		}
	}
	return append(args, i.Files...), clean, nil
}

// notFound is istioctl's ReferencedResourceNotFound. Among files alone that is no error: what is not there may stand in the cluster,
// and the doctor's own checks know what a mirror cannot do without.
const notFound = "IST0101"

// analysis reads istioctl's JSON. Its level Info is left out: advice on namespaces, annotations and names of ports that is given of
// every healthy cluster; the doctor's own checks tell it where it touches a mirror.
func (i Istioctl) analysis(out []byte) ([]doctor.Finding, error) {
	var messages []struct {
		Code, Level, Message, Origin, Reference, DocumentationURL string
	}
	if len(bytes.TrimSpace(out)) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(out, &messages); err != nil {
		return nil, fmt.Errorf("its answer is no JSON: %w", err)
	}
	levels := map[string]doctor.Severity{"Error": doctor.Error, "Warning": doctor.Warning}
	var findings []doctor.Finding
	for _, m := range messages {
		severity, known := levels[m.Level]
		if !known || systemOrigin(m.Origin) {
			continue
		}
		if m.Code == notFound && !i.Live {
			severity = doctor.Warning
		}
		findings = append(findings, doctor.Finding{Check: "istioctl-" + m.Code, Severity: severity, Object: m.Origin, Finding: m.Message,
			Evidence: "istioctl analyze: " + or(m.Reference, m.Code), Remedy: "see " + or(m.DocumentationURL, "istioctl analyze")})
	}
	doctor.Sort(findings)
	return findings, nil
}

// systemOrigin tells whether a message is on Kubernetes' own objects: its origin is "Kind NAME" or "Kind NAMESPACE/NAME".
func systemOrigin(origin string) bool {
	kind, name, _ := strings.Cut(origin, " ")
	namespace, _, namespaced := strings.Cut(name, "/")
	return system(namespace) && (namespaced || kind == "Namespace")
}
