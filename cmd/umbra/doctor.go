package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"umbra/cluster"
	"umbra/cluster/doctor"
	"umbra/internal/route"
)

type doctorOptions struct {
	mesh  meshOptions
	files []string
	rate  float64
	json  bool
}

func doctorCommand() *cobra.Command {
	var o doctorOptions
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Examine manifests, or a cluster, for what would make a mirror or its figures wrong",
		Long: `Examine what would make a mirror, or the figures told of it, wrong: each check with its finding, its
evidence and its remedy. Exit status 1 where there is an error among them.

With -f it reads manifests alone (files, and folders with all their *.yaml, *.yml and *.json): Istio's
and Kubernetes' objects, ServiceMonitors, PrometheusRules, Grafana dashboards. With --on kind or
--on existing it reads a cluster, and what its gateways were really given; with both, the files stand
in place of the cluster's objects of their names, and the gateways are held against them. Where
istioctl is on the PATH its warnings and errors are included.

Checks:
` + checks(),
		Example: "  umbra doctor -f deploy/\n  umbra doctor --on existing --context staging --rate 500",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return o.run(c) },
	}
	o.mesh.add(c)
	c.Flags().StringArrayVarP(&o.files, "file", "f", nil, "a file or folder of manifests; may be repeated")
	c.Flags().Float64Var(&o.rate, "rate", 0, "judge connection pools for so many requests a second")
	jsonFlag(c, &o.json)
	return c
}

func checks() string {
	var b strings.Builder
	for _, c := range doctor.Checks() {
		fmt.Fprintf(&b, "  %-26s %s\n", c.ID, c.What)
	}
	return b.String()
}

func (o *doctorOptions) run(c *cobra.Command) error {
	live := o.mesh.on != onEmbedded
	if !live && len(o.files) == 0 {
		return errors.New("doctor: give -f FILE or -f FOLDER, or --on kind or --on existing")
	}
	if err := o.mesh.check(c, onEmbedded, onKind, onExisting); err != nil {
		return err
	}
	if !(o.rate >= 0) {
		return fmt.Errorf("--rate %g: give requests a second", o.rate)
	}
	sources, err := readSources(o.files)
	if err != nil {
		return err
	}
	in := doctor.Input{Sources: sources}
	var patient *cluster.Diagnosed
	if live {
		if patient, err = cluster.Patient(c.Context(), o.mesh.on == onKind, o.mesh.settings); err != nil {
			return broken(err)
		}
		if in, err = patient.Facts(c.Context(), sources); err != nil {
			return broken(err)
		}
	}
	in.Rate = o.rate
	findings := doctor.Examine(in)
	more, err := o.analysis(c.Context(), sources, patient)
	if err != nil {
		fmt.Fprintln(c.ErrOrStderr(), "umbra: istioctl analyze:", err)
	}
	findings = append(findings, more...)
	doctor.Sort(findings)
	return o.show(c, findings)
}

// analysis is istioctl's, where it is on the PATH: of the files that have objects, as it refuses others.
func (o *doctorOptions) analysis(ctx context.Context, sources []route.Source, patient *cluster.Diagnosed) ([]doctor.Finding, error) {
	how := cluster.Istioctl{}
	for _, s := range sources {
		if bytes.Contains(s.Data, []byte("apiVersion")) {
			how.Files = append(how.Files, s.Name)
		}
	}
	if patient == nil && len(how.Files) == 0 {
		return nil, nil
	}
	if patient != nil {
		how.Live, how.Kubeconfig, how.File, how.Context = true, patient.Kubeconfig, o.mesh.settings.Kubeconfig, o.mesh.settings.Context
	}
	return how.Analyze(ctx)
}

func (o *doctorOptions) show(c *cobra.Command, findings []doctor.Finding) error {
	var err error
	if o.json {
		if findings == nil {
			findings = []doctor.Finding{}
		}
		err = printJSON(c.OutOrStdout(), findings)
	} else {
		err = printFindings(c.OutOrStdout(), findings)
	}
	if err != nil {
		return broken(err)
	}
	if slices.ContainsFunc(findings, func(f doctor.Finding) bool { return f.Severity == doctor.Error }) {
		return exit(exitFailed)
	}
	return nil
}

func printFindings(w io.Writer, findings []doctor.Finding) error {
	var b strings.Builder
	count := map[doctor.Severity]int{}
	for _, f := range findings {
		count[f.Severity]++
		fmt.Fprintf(&b, "%s %s", strings.ToUpper(string(f.Severity)), f.Check)
		if f.Object != "" {
			fmt.Fprintf(&b, ", %s", f.Object)
		}
		if f.File != "" {
			fmt.Fprintf(&b, " (%s:%d)", f.File, f.Line)
		}
		fmt.Fprintf(&b, "\n  %s\n", indented(f.Finding))
		if f.Evidence != "" {
			fmt.Fprintf(&b, "  evidence: %s\n", indented(f.Evidence))
		}
		if f.Remedy != "" {
			fmt.Fprintf(&b, "  remedy: %s\n", indented(f.Remedy))
		}
	}
	if len(findings) == 0 {
		b.WriteString("nothing found\n")
	} else {
		fmt.Fprintf(&b, "%d errors, %d warnings, %d to know\n", count[doctor.Error], count[doctor.Warning], count[doctor.Info])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func indented(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") }

// readSources reads files, and every manifest in folders, in the order of their names.
func readSources(paths []string) (sources []route.Source, err error) {
	var files []string
	for _, path := range paths {
		err := filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || file != path && !isManifest(file) {
				return err
			}
			files = append(files, file)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("-f %s: %w", path, err)
		}
	}
	if len(paths) > 0 && len(files) == 0 {
		return nil, fmt.Errorf("-f %s: there is no *.yaml, *.yml or *.json in it", strings.Join(paths, " -f "))
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("-f: %w", err)
		}
		sources = append(sources, route.Source{Name: file, Data: data})
	}
	return sources, nil
}

func isManifest(file string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(file)))
}
