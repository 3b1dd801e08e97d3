package istio

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"umbra/internal/route"
)

func TestDeployOfEveryExample(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(examplesDir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, file := range files {
		if strings.HasSuffix(file, "-istio.yaml") {
			continue
		}
		seen++
		t.Run(filepath.Base(file), func(t *testing.T) {
			sources := example(t, filepath.Base(file))
			m, _, workloads := plan(t, sources...)
			d := deploy(t, sources...)
			if len(d.Apps) != len(workloads) {
				t.Errorf("%d apps of %d workloads", len(d.Apps), len(workloads))
			}
			if len(d.Objects) < len(m.Objects) {
				t.Errorf("%d objects of %d in the manifests", len(d.Objects), len(m.Objects))
			}
			if got := Images(d.Objects); !cmp.Equal(got, []string{"umbra-app:0123456789ab"}) {
				t.Errorf("images %v", got)
			}
			checkNamespacesFirst(t, d.Objects)
		})
	}
	if seen < 20 {
		t.Errorf("only %d examples were found", seen)
	}
}

// What Applied gives of an object is what Deploy gives of it, whether or not its namespace is written.
func TestApplied(t *testing.T) {
	const service = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a%s}\nspec: {hosts: [a], gateways: [g], http: [{route: [{destination: {host: a}}]}]}\n"
	m, table, workloads := plan(t, route.Source{Name: "m.yaml", Data: []byte(fmt.Sprintf(service, "") + "---\n" + fmt.Sprintf(service, ", namespace: shop"))})
	d, err := Deploy(m, table, workloads, "umbra-app:1")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Applied(m.Objects)
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	for _, o := range got {
		if diff := cmp.Diff(find(t, d.Objects, id(o)).Object, o.Object); diff != "" {
			t.Error(diff)
		}
	}
	m, _, _ = plan(t, route.Source{Name: "m.yaml", Data: []byte(fmt.Sprintf(service, ", uid: x"))})
	if _, err := Applied(m.Objects); err == nil || !strings.Contains(err.Error(), "m.yaml:1: VirtualService default/a has metadata.uid") {
		t.Errorf("error %v", err)
	}
}

// checkNamespacesFirst checks that every namespace that is used comes before all that is not a Namespace.
func checkNamespacesFirst(t *testing.T, objects []*Object) {
	t.Helper()
	made := map[string]bool{}
	others := false
	for _, o := range objects {
		if o.GetKind() == "Namespace" {
			made[o.GetName()] = true
			if others {
				t.Errorf("%s comes after objects", id(o))
			}
			continue
		}
		others = true
		if !made[o.GetNamespace()] {
			t.Errorf("nothing makes the namespace of %s", id(o))
		}
	}
}

func TestDeployGolden(t *testing.T) {
	for _, name := range []string{"full", "canary-10"} {
		t.Run(name, func(t *testing.T) {
			d := deploy(t, example(t, name+".yaml")...)
			golden(t, name+".golden", "# "+strings.Join(d.Changes, "\n# ")+"\n"+asYAML(t, d.Objects...))
		})
	}
}

const shopGateway = `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
`

func shopRoutes(namespace, to string) string {
	return shopGateway + `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: vs, namespace: ` + namespace + `}
spec: {hosts: ["*"], gateways: [shop/gw], http: [{route: [` + to + `]}]}
`
}

// appDeployment gives a Deployment with a pod of one container, to which more YAML in flow style is added.
func appDeployment(container, pod string) string {
	return `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, version: v1}}
    spec: {containers: [{name: app, ` + container + `}` + pod + `}
`
}

func TestAppContainer(t *testing.T) {
	args := func(listen, admin string) []any {
		return []any{"--listen=:" + listen, "--admin=:" + admin, "--receipts-dir=/umbra-receipts", "--shutdown-delay=3s", "--linger=15s"}
	}
	for _, c := range []struct {
		name, container, pod string
		port, admin          int32
		args                 any
	}{
		{"nothing is written", `image: umbra-app`, `]`, 8080, 8081, args("8080", "8081")},
		{"a tag", `image: "umbra-app:v7"`, `]`, 8080, 8081, args("8080", "8081")},
		{"a digest", `image: "umbra-app@sha256:00"`, `]`, 8080, 8081, args("8080", "8081")},
		{"the first of its ports", `image: umbra-app, ports: [{containerPort: 9000}, {containerPort: 8080}]`, `]`, 9000, 8081, args("9000", "8081")},
		{"it serves on the admin port", `image: umbra-app, ports: [{containerPort: 8081}]`, `]`, 8081, 8082, args("8081", "8082")},
		{"a neighbour has the admin port", `image: umbra-app`, `, {name: b, image: other, ports: [{containerPort: 8081}, {containerPort: 8082}]}]`, 8080, 8083, args("8080", "8083")},
		{"empty arguments", `image: umbra-app, args: []`, `]`, 8080, 8081, args("8080", "8081")},
		{"arguments of its own", `image: umbra-app, args: [--listen=:7000, --admin, ":7001"]`, `]`, 7000, 7001, []any{"--listen=:7000", "--admin", ":7001"}},
		{"arguments that say nothing of ports", `image: umbra-app, args: [--size=10]`, `]`, 8080, 8081, []any{"--size=10"}},
		{"a command of its own", `image: umbra-app, command: [/umbra, app]`, `]`, 8080, 8081, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := deploy(t, route.Source{Name: "m.yaml", Data: []byte(appDeployment(c.container, c.pod))})
			if len(d.Apps) != 1 {
				t.Fatalf("%d apps", len(d.Apps))
			}
			a := d.Apps[0]
			if a.Workload.Name != "web" || a.Container != "app" || a.Port != c.port || a.AdminPort != c.admin {
				t.Errorf("the app is %+v, want ports %d and %d", a, c.port, c.admin)
			}
			app := containersOf(podOf(find(t, d.Objects, "Deployment shop/web")), "containers")[0]
			if app["image"] != "umbra-app:0123456789ab" || app["imagePullPolicy"] != "IfNotPresent" {
				t.Errorf("its image is %v, pulled %v", app["image"], app["imagePullPolicy"])
			}
			if diff := cmp.Diff(c.args, app["args"]); diff != "" {
				t.Errorf("its arguments (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAppKeepsWhatTheUserWrote(t *testing.T) {
	const container = `image: umbra-app, env: [{name: VERSION, value: mine}], volumeMounts: [{name: umbra-receipts, mountPath: /umbra-receipts}]`
	d := deploy(t, route.Source{Name: "m.yaml", Data: []byte(appDeployment(container, `], volumes: [{name: umbra-receipts, hostPath: {path: /x}}]`))})
	pod := podOf(find(t, d.Objects, "Deployment shop/web"))
	app := containersOf(pod, "containers")[0]
	podName := map[string]any{"name": "POD_NAME", "valueFrom": map[string]any{"fieldRef": map[string]any{"fieldPath": "metadata.name"}}}
	if diff := cmp.Diff([]any{map[string]any{"name": "VERSION", "value": "mine"}, podName}, app["env"]); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if got := app["volumeMounts"].([]any); len(got) != 1 {
		t.Errorf("mounts %v", got)
	}
	volumes, _, _ := unstructured.NestedSlice(pod, "spec", "volumes")
	if diff := cmp.Diff([]any{map[string]any{"name": "umbra-receipts", "hostPath": map[string]any{"path": "/x"}}}, volumes); diff != "" {
		t.Errorf("volumes (-want +got):\n%s", diff)
	}
}

func TestOtherImagesStayAsTheyAre(t *testing.T) {
	for _, image := range []string{"umbra-app-two", "mine.test/umbra-app:1", "nginx"} {
		d := deploy(t, route.Source{Name: "m.yaml", Data: []byte(appDeployment(`image: "`+image+`"`, `]`))})
		if len(d.Apps) != 0 || !cmp.Equal(Images(d.Objects), []string{image}) {
			t.Errorf("%s: apps %v, images %v", image, d.Apps, Images(d.Objects))
		}
	}
}

func TestAppsInOtherKindsOfPods(t *testing.T) {
	d := deploy(t, route.Source{Name: "m.yaml", Data: []byte(`
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: shop}
spec:
  schedule: "0 3 * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, initContainers: [{name: i, image: umbra-app}], containers: [{name: c, image: umbra-app}]}}}}
`)})
	if len(d.Apps) != 0 || !cmp.Equal(Images(d.Objects), []string{"umbra-app:0123456789ab"}) {
		t.Errorf("apps %v, images %v", d.Apps, Images(d.Objects))
	}
	init := containersOf(podOf(find(t, d.Objects, "CronJob shop/nightly")), "initContainers")[0]
	if init["args"] != nil {
		t.Errorf("the init container gets the arguments %v", init["args"])
	}
}

func TestNamespaces(t *testing.T) {
	enabled := map[string]string{"istio-injection": "enabled"}
	for _, c := range []struct {
		name, manifests string
		want            map[string]map[string]string // labels by namespace that is applied
	}{
		{"declared", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: a}}\n---\n" + appDeployment("image: x", "]"), map[string]map[string]string{"shop": {"team": "a"}}},
		{"used", appDeployment("image: x", "]"), map[string]map[string]string{"shop": enabled}},
		{"not written", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n", map[string]map[string]string{"default": enabled}},
		{"of the system", "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: istio-system}\n", map[string]map[string]string{}},
		{"of a kind that has none", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: 'system:x', namespace: odd}\n", map[string]map[string]string{}},
		{"of a kind that nobody knows", "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: x, namespace: things}\n", map[string]map[string]string{"things": enabled}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := deploy(t, route.Source{Name: "m.yaml", Data: []byte(c.manifests)})
			got := map[string]map[string]string{}
			for _, o := range d.Objects {
				if o.GetKind() == "Namespace" {
					got[o.GetName()] = o.GetLabels()
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("namespaces (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNamespaceIsWrittenOnlyWhereAKindHasOne(t *testing.T) {
	d := deploy(t, route.Source{Name: "m.yaml", Data: []byte(`
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: r}
---
apiVersion: example.com/v1
kind: Thing
metadata: {name: x}
`)})
	if diff := cmp.Diff("Namespace default\nConfigMap default/c\nClusterRole r\nThing x\n", listing(d.Objects)); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	want := []string{"ConfigMap default/c: metadata.namespace, which is not written, is default", "Namespace default: gets the label istio-injection: enabled"}
	if diff := cmp.Diff(want, d.Changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestAddedService(t *testing.T) {
	two := shopRoutes("shop", `{destination: {host: web, port: {number: 80}}, weight: 50}, {destination: {host: web, port: {number: 81}}, weight: 50}`)
	d := deploy(t, route.Source{Name: "m.yaml", Data: []byte(two + "---" + appDeployment(`image: umbra-app, ports: [{containerPort: 9000}]`, `]`))})
	service := find(t, d.Objects, "Service shop/web")
	port := func(name string, n int64) any {
		return map[string]any{"name": name, "port": n, "targetPort": int64(9000), "protocol": "TCP"}
	}
	want := map[string]any{"selector": map[string]any{"app": "web"}, "ports": []any{port("http-80", 80), port("http-81", 81)}}
	if diff := cmp.Diff(want, service.Object["spec"]); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	const sentence = "Service shop/web: added, ports [80 81] to 9000 of the pods with app=web, as routes lead to it and the manifests have none"
	if got := strings.Join(d.Changes, "\n"); !strings.Contains(got, sentence) {
		t.Errorf("the changes lack %q:\n%s", sentence, got)
	}
}

func TestAddedWorkloadAndServiceWhereNothingIsDeclared(t *testing.T) {
	d := deploy(t, route.Source{Name: "m.yaml", Data: []byte(shopRoutes("shop", `{destination: {host: web.back.svc.cluster.local, port: {number: 80}}}`))})
	want := "Namespace shop\nNamespace back\nGateway shop/gw\nVirtualService shop/vs\nDeployment back/web\nService back/web\n"
	if diff := cmp.Diff(want, listing(d.Objects)); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if len(d.Apps) != 1 || !d.Apps[0].Workload.Added || d.Apps[0].Port != 8080 || d.Apps[0].AdminPort != 8081 || d.Apps[0].Container != "app" {
		t.Errorf("apps %+v", d.Apps)
	}
	spec, _, _ := unstructured.NestedSlice(find(t, d.Objects, "Service back/web").Object, "spec", "ports")
	if name := spec[0].(map[string]any)["name"]; name != "http" {
		t.Errorf("the Service's port is named %v", name)
	}
}

func TestDeployRefuses(t *testing.T) {
	for _, c := range []struct{ name, manifests, want string }{
		{"two apps in a pod", appDeployment("image: umbra-app", ", {name: b, image: umbra-app}]"), "m.yaml:2: Deployment shop/web has two containers of image umbra-app"},
		{"an admin port that is drawn", appDeployment("image: umbra-app, args: ['--admin=:0']", "]"), "--admin=:0 of container app: give a port"},
		{"a listen address without a port", appDeployment("image: umbra-app, args: [--listen=web]", "]"), "--listen=web of container app"},
		{"what the API server wrote", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, resourceVersion: '7', managedFields: []}\n", "m.yaml:1: ConfigMap default/c has metadata.resourceVersion"},
		{
			"pods of an added Service on two ports",
			shopRoutes("shop", `{destination: {host: web, port: {number: 80}}}`) + "---" + appDeployment("image: a, ports: [{containerPort: 1}]", "]") +
				"---" + strings.Replace(appDeployment("image: a, ports: [{containerPort: 2}]", "]"), "name: web,", "name: web-two,", 1),
			"web on 1 and web-two on 2",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, table, workloads := plan(t, route.Source{Name: "m.yaml", Data: []byte(c.manifests)})
			d, err := Deploy(m, table, workloads, "umbra-app:1")
			if err == nil || d != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Deploy gives %v and the error %v, want one with %q", d, err, c.want)
			}
		})
	}
	m, table, workloads := plan(t)
	if _, err := Deploy(m, table, workloads, ""); err == nil {
		t.Error("Deploy takes no image for one")
	}
}

// FuzzDeploy holds that what the route model takes is deployed or refused, and never crashes.
func FuzzDeploy(f *testing.F) {
	f.Add([]byte(appDeployment("image: umbra-app", "]")))
	f.Add([]byte(appDeployment("image: umbra-app, args: [--admin, 5], ports: [{containerPort: 8081}]", ", {name: b}], volumes: [{}]")))
	f.Add([]byte(shopRoutes("shop", `{destination: {host: web, port: {number: 80}}}`)))
	f.Add([]byte("apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {a: b}}\nspec: {containers: [{image: umbra-app, env: 7, ports: [{containerPort: x}]}]}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := route.Load(route.Source{Name: "m.yaml", Data: data})
		if err != nil {
			return
		}
		table, err := route.NewTable(m)
		if err != nil {
			return
		}
		d, err := Deploy(m, table, route.Workloads(m, table), "umbra-app:1")
		if err == nil && len(d.Objects) < len(m.Objects) {
			t.Errorf("%d objects of %d in the manifests", len(d.Objects), len(m.Objects))
		}
	})
}
