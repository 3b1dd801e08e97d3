package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"umbra/capture"
	"umbra/internal/evidence"
	"umbra/internal/live"
	"umbra/internal/mesh"
	"umbra/internal/traffic"
	"umbra/replay"
	"umbra/scenarios"
)

type runOptions struct {
	mesh    meshOptions
	live    liveOptions
	out     string
	faults  []string
	shadow  string
	nightly bool
	keep    string
	json    bool
}

func runCommand() *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run FILE",
		Short: "Run a scenario: mirror, replay, reconcile, and give a verdict",
		Long: `Run a scenario from its file: stand the mesh up, check that it is configured as the manifests say,
replay the traffic, wait until the mirrors have ended, collect the receipts of every replica, and
judge. The folder of the run holds all evidence; "umbra verify" judges it again.

The first Ctrl-C ends the load, and what was done is judged and marked partial; the second leaves
at once.

While it goes on, standard error shows the stage, the rate asked and achieved, latency, errors, what
is in flight and what was mirrored by the gateway's count: drawn anew on a terminal, a line every 5
seconds elsewhere. --live :0 shows the same on a page, to this machine alone; it has a real gateway's
counters read once a second, but not in the paired blocks.

Faults make the embedded mesh misbehave, so that the verdicts can be seen to fail:
  fraction=12        mirror 12 % in place of what is configured           fails Sampling
  drop=0.005         lose that share of the mirrored requests             fails Delivery
  duplicate=0.005    send that share of the mirrored requests twice       fails Integrity
  mutate=0.005       change a byte of the shadow's copy                   fails Integrity
  mirror-writes=1    mirror writes of routes that do not mirror           fails Integrity
  lose-primary=0.001 answer without asking the primary                    fails Integrity
  slow-primary=20ms  delay the primary of mirrored requests               fails Impact
  shadow=MODE        slow, hung, dead (fails Delivery) or errors

Where the scenario has checks.impact, paired blocks with mirroring off and on follow its stages, and
with --shadow MODE umbra then looks for harm that such a shadow does to the primary: uploads of each
size of checks.impact.uploads, every request mirrored, off against on. Where more requests fail with
mirroring on, the verdict Harm FAILs, and umbra tries which setting removes it. --shadow all does so
for every mode, also with the scenario's own requests; the experiment itself has a healthy shadow then.`,

		Example: "  umbra run scenarios/examples/canary-10.yaml\n  umbra run scenarios/examples/full.yaml --on kind\n  umbra run scenarios/examples/canary-10.yaml --fault drop=0.001,duplicate=0.001",
		Args:    exactly("FILE"),
		RunE:    func(c *cobra.Command, args []string) error { return o.run(c, args[0]) },
	}
	o.mesh.add(c)
	c.Flags().StringVar(&o.out, "out", "", "the folder for the run, new or empty (default runs/<scenario>-<UTC time>)")
	c.Flags().StringArrayVar(&o.faults, "fault", nil, "make the embedded mesh misbehave; see above")
	c.Flags().StringVar(&o.shadow, "shadow", "", "how the shadow behaves: "+strings.Join(mesh.ShadowModes, ", ")+"; or all, to look for harm in each of these ways; see above")
	c.Flags().BoolVar(&o.nightly, "nightly", false, "play the controls of scenarios that say checks.impact.controls: nightly")
	c.Flags().StringVar(&o.keep, "keep", "never", "keep what the run made of the mesh: always (--keep alone), failed (where the run did not pass), never; the embedded mesh cannot be kept")
	c.Flags().Lookup("keep").NoOptDefVal = "always"
	o.live.add(c)
	jsonFlag(c, &o.json)
	return c
}

func (o *runOptions) run(c *cobra.Command, file string) error {
	faults, err := o.check(c)
	if err != nil {
		return err
	}
	if err := o.live.listen(); err != nil {
		return err
	}
	defer o.live.close()
	dir := ""
	s, err := load(c.Context(), file, func(name string) (string, error) {
		dir, err = newFolder(o.out, name)
		return dir, err
	})
	if err == nil {
		err = o.checkImpact(s)
	}
	if err != nil {
		os.Remove(dir) // where nothing is in it
		return err
	}
	log, err := openLog(dir)
	if err != nil {
		return err
	}
	defer log.Close()
	watch := newProgress(c.ErrOrStderr(), log, live.Run{Title: s.Name, Folder: dir, Shares: s.MirrorShares()})
	defer watch.Close()
	watch.serve(&o.live)
	m := o.mesh.mesh(watch.Step, watch.Note)
	status, err := o.playOn(c, m, s, faults, dir, watch)
	keep := o.keep == "always" || o.keep == "failed" && (err != nil || status != exitPassed)
	if ended := m.End(c.Context(), keep); ended != nil {
		return errors.Join(err, broken(ended))
	}
	if m.Stands() {
		watch.Step(o.mesh.kept())
	}
	if err != nil {
		return err
	}
	return exit(status)
}

// playOn plays and judges, and gives the exit status that it comes to.
func (o *runOptions) playOn(c *cobra.Command, m provided, s *scenarios.Scenario, faults mesh.Faults, dir string, watch *progress) (int, error) {
	err := o.play(c.Context(), m, s, faults, dir, watch)
	watch.Close() // the report comes
	if err != nil {
		if c.Context().Err() != nil && errors.Is(err, context.Canceled) {
			return exitInterrupted, statusError{exitInterrupted, fmt.Errorf("interrupted; what the run left is in %s", dir)}
		}
		return 0, withFolder(err, dir)
	}
	status, err := conclude(c, dir, o.json)
	if err == nil && c.Context().Err() != nil {
		status = exitInterrupted
	}
	return status, err
}

// load reads a scenario and all that it names, so that a run that begins can end. Where it replays a capture that is no traffic
// file yet, that is made in the folder that place gives for the scenario's name.
func load(ctx context.Context, file string, place func(name string) (string, error)) (*scenarios.Scenario, error) {
	s, err := scenarios.Load(file)
	if err != nil {
		return nil, err
	}
	dir, err := place(s.Name)
	if err != nil {
		return nil, err
	}
	if err = ingest(ctx, s, dir); err == nil {
		err = s.CheckPlan()
	}
	if err != nil {
		os.Remove(filepath.Join(dir, capturedName))
		return nil, err
	}
	return s, nil
}

// capturedName is the traffic file that a run makes of a capture, redacted.
const capturedName = "traffic.jsonl.zst"

// ingest makes a traffic file of what a scenario replays, where it is none.
func ingest(ctx context.Context, s *scenarios.Scenario, dir string) error {
	if s.Capture == nil || !s.Capture.Raw {
		return nil
	}
	redactor, err := (&redaction{}).redactor()
	if err != nil {
		return err
	}
	path, err := filepath.Abs(filepath.Join(dir, capturedName))
	if err != nil {
		return err
	}
	w := capture.NewWriter(path, s.Capture.File, redactor, capture.Rotation{})
	if err := capture.Read(ctx, s.Capture.File, nil, capture.Options{}, w); err != nil {
		w.Abandon()
		return orInterrupted(err)
	}
	if _, err := w.Close(); err != nil {
		return broken(err)
	}
	s.Capture.Original, s.Capture.File, s.Capture.Raw = s.Capture.File, path, false
	return nil
}

func (o *runOptions) check(c *cobra.Command) (mesh.Faults, error) {
	if err := errors.Join(o.mesh.check(c, onEmbedded, onKind, onExisting), o.live.check()); err != nil {
		return mesh.Faults{}, err
	}
	if !slices.Contains([]string{"always", "failed", "never"}, o.keep) {
		return mesh.Faults{}, fmt.Errorf("--keep=%s: write --keep (always), --keep=failed or --keep=never", o.keep)
	}
	if o.mesh.on == onEmbedded && o.keep != "never" {
		return mesh.Faults{}, fmt.Errorf("--keep=%s: the embedded mesh lives in this process and ends with it; umbra up keeps one standing", o.keep)
	}
	if o.mesh.on != onEmbedded && len(o.faults) > 0 {
		return mesh.Faults{}, fmt.Errorf("--fault: only the embedded mesh misbehaves as it is told; --shadow works on every mesh")
	}
	faults, err := mesh.ParseFaults(o.faultList()...)
	if err != nil {
		return faults, fmt.Errorf("--fault or --shadow: %w", err)
	}
	return faults, nil
}

func (o *runOptions) play(ctx context.Context, m provided, s *scenarios.Scenario, faults mesh.Faults, dir string, watch *progress) error {
	run := scenarios.Run{
		Scenario: s, Mesh: m, Faults: faults, Dir: dir, Watcher: watch, AccessLog: o.mesh.settings.AccessLog,
		Counts:  o.mesh.on == onEmbedded || o.live.address != "", // in this process a reading costs some microseconds
		Nightly: o.nightly, Looks: o.looks(s), Buffers: o.mesh.on == onEmbedded, Shared: o.mesh.on != onExisting,
		Transport: func(how replay.Options) (replay.Transport, error) {
			if err := how.Check(s.Demand()); err != nil {
				return nil, err
			}
			how.Gauge = &watch.gauge
			return replay.New(how)
		},
		Record: record(o.mesh.on, replay.PathName(false)),
	}
	run.Record.Faults = strings.Join(o.faultList(), ",")
	for _, w := range s.Table.Warnings() {
		run.Record.Warnings = append(run.Record.Warnings, w.String())
	}
	for _, n := range s.Table.Notes() {
		if o.mesh.on != onEmbedded {
			break // a real gateway does all of it
		}
		run.Record.NotModelled = append(run.Record.NotModelled, fmt.Sprintf("%s (%s:%d)", n.What, n.File, n.Line))
	}
	space, err := replay.CheckSpace(dir, s.Count()+s.Rows(o.nightly, run.Faults.Shadow), traffic.RowBytes)
	if err != nil {
		return broken(err)
	}
	watch.Step(fmt.Sprintf("the load is sent by %s; its results are %s", run.Record.Transport, space))
	return run.Play(ctx)
}

// everyShadow is the value of --shadow that stands for every mode.
const everyShadow = "all"

// looks are the shadow's modes in which to look for harm.
func (o *runOptions) looks(s *scenarios.Scenario) []string {
	switch {
	case s.Checks.Impact == nil || o.shadow == "":
		return nil
	case o.shadow == everyShadow:
		return mesh.ShadowModes
	}
	return []string{o.shadow}
}

// checkImpact refuses what paired blocks cannot be played with.
func (o *runOptions) checkImpact(s *scenarios.Scenario) error {
	switch {
	case s.Checks.Impact == nil && o.shadow == everyShadow:
		return fmt.Errorf("--shadow all looks for harm by paired blocks, and %s has no checks.impact; add it, or name one of %s", s.File, strings.Join(mesh.ShadowModes, ", "))
	case s.Checks.Impact != nil && o.mesh.on == onExisting && !o.mesh.settings.Apply:
		return fmt.Errorf("checks.impact switches mirroring off and on, and nothing in your cluster is changed without --apply: add it, or leave checks.impact out of %s", s.File)
	}
	return nil
}

// faultList is what both flags ask for.
func (o *runOptions) faultList() []string {
	if o.shadow == "" || o.shadow == everyShadow {
		return o.faults
	}
	return append([]string{"shadow=" + o.shadow}, o.faults...)
}

// record is what the command knows of a run that begins.
func record(mesh, transport string) evidence.Record {
	return evidence.Record{Version: version, Command: os.Args, Mesh: mesh, Transport: transport,
		Machine: evidence.Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()}}
}

// withFolder tells where the evidence of a failed run lies.
func withFolder(err error, dir string) error {
	if errors.Is(err, scenarios.ErrMesh) {
		return statusError{exitMesh, fmt.Errorf("%w\nwhat the run left is in %s", err, dir)}
	}
	return err
}
