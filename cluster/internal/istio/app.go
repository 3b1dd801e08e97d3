package istio

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"umbra/internal/route"
)

// How umbra's app runs in a pod, where the user's manifest does not say otherwise.
const (
	defaultPort    = 8080
	defaultAdmin   = 8081
	receiptsVolume = "umbra-receipts"
	receiptsDir    = "/umbra-receipts" // on an emptyDir, which outlives a container that is restarted
	shutdownDelay  = "3s"              // how long a pod that is to end takes requests: until every gateway knows
	linger         = "15s"             // how long its receipts can be read then; with the app's drain of 10 s below Kubernetes' 30 s of grace
)

// isApp tells whether a container's image is umbra-app, with any tag or none.
func isApp(container map[string]any) bool {
	image, _ := container["image"].(string)
	name, _, _ := strings.Cut(image, "@")
	name, _, _ = strings.Cut(name, ":")
	return name == route.AppImage
}

// image gives a container of the app its image.
func (d *deployment) image(id string, c map[string]any) {
	d.change("%s: the image %v of container %v is %s, loaded into the node (imagePullPolicy IfNotPresent)", id, c["image"], c["name"], d.appImage)
	c["image"], c["imagePullPolicy"] = d.appImage, "IfNotPresent"
}

// app makes a container of a pod run as umbra's app.
func (d *deployment) app(id string, pod, c map[string]any) (App, error) {
	name, _ := c["name"].(string)
	if name == "" {
		return App{}, errors.New("its container of the app has no name: give it one")
	}
	d.image(id, c)
	d.environment(id, pod, c)
	a := App{Container: name}
	if _, ok := c["command"]; ok || len(stringsOf(c["args"])) > 0 {
		return a.listening(stringsOf(c["args"]))
	}
	a.Port = firstPort(c)
	a.AdminPort = freePort(pod, a.Port)
	args := []string{fmt.Sprintf("--listen=:%d", a.Port), fmt.Sprintf("--admin=:%d", a.AdminPort), "--receipts-dir=" + receiptsDir, "--shutdown-delay=" + shutdownDelay, "--linger=" + linger}
	c["args"] = anys(args)
	spec := pod["spec"].(map[string]any)
	addNamed(spec, "volumes", "name", map[string]any{"name": receiptsVolume, "emptyDir": map[string]any{}})
	addNamed(c, "volumeMounts", "mountPath", map[string]any{"name": receiptsVolume, "mountPath": receiptsDir})
	d.change("%s: container %s, which has no arguments, gets %s, and an emptyDir volume at %s", id, name, strings.Join(args, " "), receiptsDir)
	return a, nil
}

// environment tells the app which pod and which version it is.
func (d *deployment) environment(id string, pod, c map[string]any) {
	var added []string
	add := func(name, field string) {
		from := map[string]any{"fieldRef": map[string]any{"fieldPath": field}}
		if addNamed(c, "env", "name", map[string]any{"name": name, "valueFrom": from}) {
			added = append(added, name)
		}
	}
	meta, _ := pod["metadata"].(map[string]any)
	if labels, _ := meta["labels"].(map[string]any); labels["version"] != nil {
		add("VERSION", "metadata.labels['version']")
	}
	add("POD_NAME", "metadata.name")
	if len(added) > 0 {
		d.change("%s: container %v gets the environment variables %s, from the pod's own metadata", id, c["name"], strings.Join(added, " and "))
	}
}

// listening reads where an app with arguments of its own listens; what they leave out is the app's default.
func (a App) listening(args []string) (App, error) {
	for _, flag := range []struct {
		name string
		port *int32
		def  int32
	}{{"--listen", &a.Port, defaultPort}, {"--admin", &a.AdminPort, defaultAdmin}} {
		*flag.port = flag.def
		value, ok := argument(args, flag.name)
		if !ok {
			continue
		}
		_, port, err := net.SplitHostPort(value)
		n, bad := strconv.ParseUint(port, 10, 16)
		if err != nil || bad != nil || n == 0 {
			return a, fmt.Errorf("%s=%s of container %s: give a port that is fixed, as in %s=:%d", flag.name, value, a.Container, flag.name, flag.def)
		}
		*flag.port = int32(n)
	}
	return a, nil
}

// argument finds the last value of a flag, written --name=value or --name value.
func argument(args []string, name string) (value string, ok bool) {
	for i, arg := range args {
		if v, found := strings.CutPrefix(arg, name+"="); found {
			value, ok = v, true
		}
		if arg == name && i+1 < len(args) {
			value, ok = args[i+1], true
		}
	}
	return value, ok
}

// firstPort is where the app listens: its container's first port.
func firstPort(c map[string]any) int32 {
	if ports := portsOf(c); len(ports) > 0 {
		return ports[0]
	}
	return defaultPort
}

// freePort gives the first port from defaultAdmin on that no container of the pod has.
func freePort(pod map[string]any, listen int32) int32 {
	taken := []int32{listen}
	for _, c := range slices.Concat(containersOf(pod, "initContainers"), containersOf(pod, "containers")) {
		taken = append(taken, portsOf(c)...)
	}
	port := int32(defaultAdmin)
	for slices.Contains(taken, port) {
		port++
	}
	return port
}

func portsOf(c map[string]any) []int32 {
	list, _ := c["ports"].([]any)
	var out []int32
	for _, item := range list {
		p, _ := item.(map[string]any)
		if n, ok := p["containerPort"].(int64); ok {
			out = append(out, int32(n))
		}
	}
	return out
}

// addNamed appends an item to a list of a mapping unless one with the same key is there. It tells whether it did.
func addNamed(in map[string]any, list, key string, item map[string]any) bool {
	have, _ := in[list].([]any)
	for _, h := range have {
		if m, ok := h.(map[string]any); ok && m[key] == item[key] {
			return false
		}
	}
	in[list] = append(have, item)
	return true
}

func stringsOf(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, item := range list {
		out = append(out, fmt.Sprint(item))
	}
	return out
}

func anys(in []string) []any {
	out := make([]any, len(in))
	for i, s := range in {
		out[i] = s
	}
	return out
}

// labelsOf gives labels as an object holds them.
func labelsOf(labels map[string]string) map[string]any {
	out := make(map[string]any, len(labels))
	for k, v := range labels {
		out[k] = v
	}
	return out
}

// labelText writes labels as kubectl's selectors are: "app=shop,version=v1".
func labelText(labels map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, k+"="+labels[k])
	}
	return strings.Join(out, ",")
}

// within tells whether every label of selector is in labels.
func within(selector, labels map[string]string) bool {
	for k, v := range selector {
		if have, ok := labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}
