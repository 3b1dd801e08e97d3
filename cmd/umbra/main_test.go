package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"umbra/internal/sample"
	"umbra/internal/traffic"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"umbra": main})
}

// TestScripts runs the real command: each verb and each exit status.
func TestScripts(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "ok")
	}))
	t.Cleanup(server.Close)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("URL", server.URL)
			e.Setenv("NO_COLOR", "1")
			return errors.Join(
				writeTraffic(filepath.Join(e.WorkDir, "shop.jsonl.zst")),
				writeCaptures(e.WorkDir),
				writeHistory(filepath.Join(e.WorkDir, "history")),
				os.WriteFile(filepath.Join(e.WorkDir, "istio.yaml"), manifests, 0o644))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": status, "await": await, "lines": lines},
	})
}

// writeCaptures makes the examples' captures, and one that ends within a packet.
func writeCaptures(dir string) error {
	if err := sample.Make(dir); err != nil {
		return err
	}
	packets, err := os.ReadFile(filepath.Join(dir, sample.PCAP))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cut.pcap"), packets[:len(packets)/2-3], 0o644)
}

// status N command...: the command ends with exit status N, or one of N,M,… where the speed of the machine has a say.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command...")
	}
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if !slices.Contains(strings.Split(args[0], ","), strconv.Itoa(got)) {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}

// await FILE BYTES: waits, within a bound, until the file has that many bytes.
func await(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	deadline := time.Now().Add(time.Minute)
	for {
		if info, err := os.Stat(ts.MkAbs(args[0])); err == nil && info.Size() >= size {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s did not grow to %d bytes", args[0], size)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// lines N FILE: no line of the file (or stdout, stderr) is longer than N columns.
func lines(ts *testscript.TestScript, _ bool, args []string) {
	most, err := strconv.Atoi(args[0])
	ts.Check(err)
	line := 0
	for _, r := range ts.ReadFile(args[1]) {
		if line++; r == '\n' {
			line = 0
		} else if line > most {
			ts.Fatalf("%s has a line of more than %d columns", args[1], most)
		}
	}
}

// writeTraffic writes a traffic file of three requests within 20 ms.
func writeTraffic(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w, err := traffic.NewWriter(f, "test", nil)
	if err != nil {
		return err
	}
	for i, r := range []traffic.Request{
		{Method: "GET", Scheme: "http", Authority: "shop.example.com", Path: "/a"},
		{Method: "POST", Scheme: "http", Authority: "shop.example.com", Path: "/b", Body: []byte("x")},
		{Method: "HEAD", Scheme: "http", Authority: "shop.example.com", Path: "/c"},
	} {
		r.At = time.Duration(i) * 10 * time.Millisecond
		err = errors.Join(err, w.Write(&r))
	}
	return errors.Join(err, w.Close(), f.Close())
}

// manifests are those of the scripts' scenarios: all of a host mirrored to v2, /half to the half, writes under /reads
// not at all.
var manifests = []byte(`apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com]}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: app, namespace: shop}
spec:
  host: app
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: app, namespace: shop}
spec:
  hosts: [shop.example.com]
  gateways: [gw]
  http:
  - name: half
    match: [{uri: {prefix: /half}}]
    route: [{destination: {host: app, subset: v1, port: {number: 80}}}]
    mirror: {host: app, subset: v2, port: {number: 80}}
    mirrorPercentage: {value: 50}
  - name: writes
    match: [{uri: {prefix: /reads}, method: {regex: POST|PUT|PATCH|DELETE}}]
    route: [{destination: {host: app, subset: v1, port: {number: 80}}}]
  - name: all
    route: [{destination: {host: app, subset: v1, port: {number: 80}}}]
    mirror: {host: app, subset: v2, port: {number: 80}}
`)
