//go:build e2e

package cluster_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The exit statuses of a run on settings that are wrong.
const (
	badInput = 2
	badMesh  = 5
)

// toldIn bounds a run that cannot be: on an idle machine each takes less than 30 s, and twice that is still no hang.
const toldIn = time.Minute

// wrong is a run that cannot be.
type wrong struct {
	name   string
	args   []string
	env    []string // NAME=value
	extra  string   // a manifest beside those of the example
	status int
	says   []string // substance of the message, among it what to do
}

// TestE2EWrongBefore: what is wrong with the engine, the machine or the cluster's name is told before anything is made.
func TestE2EWrongBefore(t *testing.T) {
	needEngine(t)
	name := clusterName() + "-wrong"
	for _, w := range []wrong{
		{name: "unknown node image", args: []string{"--node-image", "nowhere.invalid/node:v0"}, status: badMesh,
			says: []string{"the node image cannot be had", "nowhere.invalid/node:v0", "--node-image", "UMBRA_NODE_IMAGE"}},
		{name: "gateway port in use", args: []string{"--gateway-port", strconv.Itoa(taken(t))}, status: badMesh,
			says: []string{"the host port is in use", "choose another, or 0 for a free one"}},
		{name: "no engine runs", env: []string{"DOCKER_HOST=unix:///nonexistent", "KIND_EXPERIMENTAL_PROVIDER=docker"}, status: badMesh,
			says: []string{"no container engine", "docker", "start it"}},
		{name: "no engine installed", env: []string{"PATH=", "KIND_EXPERIMENTAL_PROVIDER="}, status: badMesh,
			says: []string{"no container engine", "docker, podman and nerdctl", "install and start one"}},
	} {
		t.Run(w.name, func(t *testing.T) { w.play(t, name) })
	}
	nothingOf(t, name)
}

// TestE2EHalfMade: a cluster whose node was stopped, or that was never finished, is told with what removes it, and that does.
func TestE2EHalfMade(t *testing.T) {
	name := clusterName() + "-half"
	image := nodeImage(t, cluster(t))
	ours := filepath.Join(t.TempDir(), "umbra") // by which umbra knows a node of its own
	if err := os.WriteFile(ours, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		make []string
		says string
	}{
		{"stopped", []string{"create"}, "its node is stopped or was never finished"},
		{"never finished", []string{"run", "--detach", "--entrypoint", "sleep"}, "never finished"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Cleanup(func() { engine(t, "rm", "--force", "--volumes", name+"-control-plane") })
			args := append(c.make, "--name", name+"-control-plane",
				"--label", "io.x-k8s.kind.cluster="+name, "--label", "io.x-k8s.kind.role=control-plane", image)
			engine(t, append(args, "600")...)
			wrong{status: badMesh, says: []string{name, "was not made by umbra", "kind delete cluster --name " + name}}.play(t, name)
			engine(t, "cp", ours, name+"-control-plane:/kind/umbra")
			wrong{status: badMesh, says: []string{name, c.says, "umbra down --on kind --name " + name}}.play(t, name)
			if _, stderr, status := umbra(t, "down", "--on", "kind", "--name", name); status != 0 {
				t.Errorf("umbra down: exit status %d: %s", status, stderr)
			}
			nothingOf(t, name)
		})
	}
}

// TestE2EWrongManifests: what the cluster does not take, or cannot run, is told with the object, where it is written or what
// happened to it, long before the time to wait for it is over where it cannot change. The cluster serves again afterwards.
func TestE2EWrongManifests(t *testing.T) {
	name := cluster(t)
	for _, w := range []wrong{
		{name: "rejected by the API server", extra: badService, status: badMesh,
			says: []string{"Service shop/extra", "rejected by the API server", "Under_Score", "extra.yaml:2"}},
		{name: "unknown field", extra: badField, status: badMesh,
			says: []string{"ConfigMap shop/extra", "rejected by the API server", "dta", "extra.yaml:2"}},
		{name: "invalid VirtualService", extra: badVirtualService, status: badInput,
			says: []string{"extra.yaml:", "weight"}},
		{name: "rejected by istiod", extra: badTelemetry, status: badMesh,
			says: []string{"Telemetry shop/extra", "rejected by the API server", "denied the request", "extra.yaml:2"}},
		{name: "never ready", extra: neverReady, args: []string{"--wait", "20s"}, status: badMesh,
			says: []string{"Deployment shop/extra", "not ready after 20", "0 of 1 replicas available", "Readiness probe failed", "last lines of container"}},
		{name: "unknown app image", args: []string{"--app-image", "nowhere.invalid/app:v0"}, status: badMesh,
			says: []string{"Deployment shop/my-app-v1", "can't become ready by itself", "ImagePull", "nowhere.invalid/app:v0", "UMBRA_APP_IMAGE"}},
		{name: "another gateway port", args: []string{"--gateway-port", "1"}, status: badMesh,
			says: []string{"stands with its gateway at port", "asks for 1", "umbra down --on kind --name " + name}},
		{name: "unknown Istio tag", args: []string{"--istio-tag", "0.0.0-none"}, status: badMesh,
			says: []string{"Deployment istio-system/istiod", "can't become ready by itself", "ImagePull", "0.0.0-none", "UMBRA_ISTIO_TAG"}},
	} {
		t.Run(w.name, func(t *testing.T) { w.play(t, name) })
	}
	// A pod that comes now gets a sidecar, of the right Istio again.
	if _, _, status := umbra(t, "up", example("two-mirrors"), "--on", "kind", "--name", name); status != 0 {
		t.Errorf("the cluster does not serve afterwards: exit status %d", status)
	}
}

// play runs it and holds what was told, and when, against what is wrong.
func (w wrong) play(t *testing.T, cluster string) {
	t.Helper()
	for _, e := range w.env {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	dir := t.TempDir()
	args := append([]string{"run", w.scenario(t, dir), "--on", "kind", "--name", cluster, "--out", filepath.Join(dir, "run")}, w.args...)
	began := time.Now()
	_, stderr, status := umbra(t, args...)
	if took := time.Since(began); took > toldIn {
		t.Errorf("told after %v", took)
	}
	if status != w.status {
		t.Errorf("exit status %d instead of %d", status, w.status)
	}
	for _, s := range w.says {
		if !strings.Contains(stderr, s) {
			t.Errorf("%q is not told", s)
		}
	}
}

// scenario writes the example canary-10 with the extra manifest.
func (w wrong) scenario(t *testing.T, dir string) string {
	t.Helper()
	const manifests = "canary-10-istio.yaml"
	scenario := read(t, example("canary-10"))
	if w.extra != "" {
		scenario = strings.Replace(scenario, "["+manifests+"]", "["+manifests+", extra.yaml]", 1)
	}
	for name, text := range map[string]string{"scenario.yaml": scenario, manifests: read(t, example("canary-10-istio")), "extra.yaml": w.extra} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "scenario.yaml")
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// taken is a port on loopback that is listened on until the test ends.
func taken(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

// engine runs a command of the container engine and gives what it says.
func engine(t *testing.T, args ...string) string {
	t.Helper()
	name := "docker"
	if asked := os.Getenv("KIND_EXPERIMENTAL_PROVIDER"); asked != "" {
		name = asked
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// nodeImage is the image that a cluster's node was made of: it is here.
func nodeImage(t *testing.T, cluster string) string {
	t.Helper()
	return engine(t, "inspect", "--format", "{{.Image}}", cluster+"-control-plane")
}

// nothingOf sees that no container of a cluster is there.
func nothingOf(t *testing.T, cluster string) {
	t.Helper()
	if left := engine(t, "ps", "--all", "--quiet", "--filter", "label=io.x-k8s.kind.cluster="+cluster); left != "" {
		t.Errorf("containers of the cluster %s are left: %s", cluster, left)
	}
}

const badService = `
apiVersion: v1
kind: Service
metadata: {name: extra, namespace: shop}
spec: {selector: {app: extra}, ports: [{name: Under_Score, port: 80}]}
`

const badField = `
apiVersion: v1
kind: ConfigMap
metadata: {name: extra, namespace: shop}
dta: {a: b}
`

const badVirtualService = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: extra, namespace: shop}
spec:
  hosts: [extra.example.com]
  gateways: [my-app-gateway]
  http: [{route: [{destination: {host: my-app, subset: v1}, weight: -5}]}]
`

// badTelemetry is of a kind that umbra applies as it is, and the API server too: only istiod's webhook reads the expression.
const badTelemetry = `
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: extra, namespace: shop}
spec: {accessLogging: [{filter: {expression: "response.code >="}}]}
`

// neverReady runs, and its probe asks where nobody listens.
const neverReady = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: extra, namespace: shop}
spec:
  selector: {matchLabels: {app: extra}}
  template:
    metadata: {labels: {app: extra}, annotations: {sidecar.istio.io/inject: "false"}}
    spec:
      containers:
      - name: app
        image: umbra-app
        readinessProbe: {tcpSocket: {port: 9}, periodSeconds: 1}
`
