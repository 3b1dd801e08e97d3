package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"umbra/internal/evidence"
	"umbra/internal/mesh"
	"umbra/internal/traffic"
)

const (
	primaryCluster = "outbound|80|v1|app.shop.svc.cluster.local"
	shadowCluster  = "outbound|80|v2|app.shop.svc.cluster.local"
)

// madeFolder writes the folder of a run of n requests, all mirrored, each lag late and 1 ms long, with an objective of
// 50 ms at p50. twice names a request that the shadow got twice.
func madeFolder(t *testing.T, n int, lag time.Duration, twice int) string {
	t.Helper()
	dir := t.TempDir()
	start := time.Unix(1700000000, 0)
	scenario := `apiVersion: umbra/v1
kind: Scenario
name: made
mesh: {manifests: [manifests.yaml], host: shop.example.com, versions: {primary: v1, shadow: v2}}
traffic: {mix: [{name: a, path: /a}]}
load: {stages: [{rate: 100, for: 10s}]}
checks: {fraction: {within: 1}, objectives: [{quantile: 50, under: 50ms}]}
`
	before := mesh.State{
		Routes: []mesh.Route{{Name: "shop/app/half", Mirrors: []mesh.Mirror{{Cluster: shadowCluster, Numerator: 500000}}}, {Name: "shop/app/writes"},
			{Name: "shop/app/all", Mirrors: []mesh.Mirror{{Cluster: shadowCluster, Numerator: 1000000}}}},
		Endpoints: map[string][]string{primaryCluster: {"app-v1-0"}, shadowCluster: {"app-v2-0"}},
		Counters:  map[string]uint64{"cluster." + primaryCluster + ".upstream_rq_total": 0, "cluster." + shadowCluster + ".upstream_rq_total": 0},
	}
	after := before
	after.Counters = map[string]uint64{}
	for name := range before.Counters {
		after.Counters[name] = uint64(n)
	}
	record := evidence.Record{Mesh: "embedded", Planned: n, Started: start, Ended: start, Finished: true, Drained: true, Collected: []string{"app-v1-0", "app-v2-0"}}
	var results, primary, shadow bytes.Buffer
	rw, pw, sw := traffic.NewResultWriter(&results, start), traffic.NewReceiptWriter(&primary), traffic.NewReceiptWriter(&shadow)
	var errs []error
	for i := range n {
		id, due := fmt.Sprintf("%016x", i), time.Duration(i)*10*time.Millisecond
		sent := due + lag
		errs = append(errs, rw.Write(&traffic.Result{ID: id, Name: "a", Route: "shop/app/all", Method: "GET", Path: "/a", Phase: traffic.PhaseStage, Block: -1,
			Due: due, Ready: due, Sent: sent, FirstByte: sent + time.Millisecond, LastByte: sent + time.Millisecond, End: sent + time.Millisecond, Outcome: traffic.OK, Status: 200}))
		receipt := traffic.Receipt{ID: id, Version: "v1", Pod: "app-v1-0", Arrived: start.Add(sent), Method: "GET", Authority: "shop.example.com", Path: "/a",
			HeaderSHA256: strings.Repeat("a", 64), BodySHA256: strings.Repeat("b", 64), Status: 200, ResponseSHA256: strings.Repeat("c", 64)}
		errs = append(errs, pw.Write(&receipt))
		receipt.Version, receipt.Pod = "v2", "app-v2-0"
		errs = append(errs, sw.Write(&receipt))
		if i == twice {
			errs = append(errs, sw.Write(&receipt))
		}
	}
	errs = append(errs, rw.Close(), pw.Close(), sw.Close(), os.Mkdir(filepath.Join(dir, "mesh"), 0o755), record.Write(dir),
		evidence.WriteJSON(dir, evidence.Before, before), evidence.WriteJSON(dir, evidence.After, after))
	for name, data := range map[string][]byte{evidence.Scenario: []byte(scenario), evidence.Manifests: manifests, evidence.Results: results.Bytes(),
		evidence.PrimaryReceipts: primary.Bytes(), evidence.ShadowReceipts: shadow.Bytes()} {
		errs = append(errs, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A run whose client was late is INVALID where a time figure is gated, with an exit status of its own; that hides no
// failure of integrity.
func TestExitStatusOfALateClient(t *testing.T) {
	for name, c := range map[string]struct {
		lag    time.Duration
		twice  int
		status int
		want   string
	}{
		"on time":             {0, -1, exitPassed, "PASS: Integrity, Delivery, Sampling, Objectives"},
		"late":                {30 * time.Millisecond, -1, exitClient, "INVALID: Objectives"},
		"late and duplicated": {30 * time.Millisecond, 7, exitFailed, "FAIL: Integrity"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			status := run(t.Context(), []string{"verify", madeFolder(t, 1000, c.lag, c.twice)}, &out, io.Discard)
			if status != c.status || !strings.HasPrefix(out.String(), c.want) {
				t.Errorf("exit status %d, want %d:\n%s", status, c.status, out.String())
			}
		})
	}
}

// spoiled judges a made folder after a change that takes its PASS away.
func spoiled(t *testing.T, change func(dir string) error) string {
	t.Helper()
	dir := madeFolder(t, 1000, 0, -1)
	if err := change(dir); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"verify", dir}, &out, &errs); status == exitPassed {
		t.Errorf("passed:\n%s", out.String())
	}
	return strings.Join(strings.Fields(out.String()+errs.String()), " ") // without the line breaks
}

func rewrite(dir string, change func(*evidence.Record)) error {
	r, err := evidence.ReadRecord(dir)
	change(&r)
	return errors.Join(err, r.Write(dir))
}

// What another run, a lost replica or a part of the rows would hide takes the PASS away, and is named.
func TestDoubtsNeverPass(t *testing.T) {
	for name, c := range map[string]struct {
		change func(dir string) error
		want   string
	}{
		"another run's receipts": {func(dir string) error {
			return rewrite(dir, func(r *evidence.Record) { r.Started = r.Started.Add(time.Hour); r.Ended = r.Started })
		}, "another run's"},
		"a replica's stream is lost": {func(dir string) error {
			return rewrite(dir, func(r *evidence.Record) { r.Collected = r.Collected[:1] })
		}, "no receipts were collected from pod app-v2-0"},
		"rows are lost": {func(dir string) error { return rewrite(dir, func(r *evidence.Record) { r.Planned++ }) }, "1000 rows of 1001 planned"},
		"interrupted":   {func(dir string) error { return rewrite(dir, func(r *evidence.Record) { r.Interrupted = true }) }, "PARTIAL"},
		"no state":      {func(dir string) error { return evidence.WriteJSON(dir, evidence.Before, mesh.State{}) }, "names no routes"},
		"joined streams": {func(dir string) error {
			path := filepath.Join(dir, evidence.ShadowReceipts)
			data, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path, append(data, data...), 0o644))
		}, "bytes behind the end"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := spoiled(t, c.change); !strings.Contains(got, c.want) {
				t.Errorf("%q is not in:\n%s", c.want, got)
			}
		})
	}
}

// Evidence that is missing or cut takes the PASS away.
func TestMissingEvidenceNeverPasses(t *testing.T) {
	for _, name := range []string{evidence.Scenario, evidence.Manifests, evidence.Run, evidence.Results, evidence.PrimaryReceipts, evidence.ShadowReceipts, evidence.Before, evidence.After} {
		for how, spoil := range map[string]func(path string) error{
			"removed": os.Remove,
			"cut": func(path string) error {
				info, err := os.Stat(path)
				if err != nil {
					return err
				}
				return os.Truncate(path, info.Size()*2/3)
			},
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				spoiled(t, func(dir string) error { return spoil(filepath.Join(dir, name)) })
			})
		}
	}
}
