package cluster

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbra/cluster/doctor"
	"umbra/internal/app"
	"umbra/internal/route"
)

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// wrong is a machine whose clock is ahead of ours, as its Envoy and its app tell.
func wrong(ahead time.Duration) transport {
	return func(r *http.Request) (*http.Response, error) {
		now := time.Now().Add(ahead)
		res := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}
		res.Header.Set("Date", now.UTC().Format(http.TimeFormat))
		if r.URL.Path == "/status" {
			data, err := json.Marshal(app.Status{Clock: now.UnixNano()})
			res.Body = io.NopCloser(strings.NewReader(string(data)))
			return res, err
		}
		return res, nil
	}
}

// TestClock: a slow answer makes a skew look smaller, never larger.
func TestClock(t *testing.T) {
	for _, who := range []struct {
		name string
		clock
	}{{"app", clock{says: appClock}}, {"envoy", clock{says: envoyClock}}} {
		for _, c := range []struct {
			name             string
			ahead, low, high time.Duration
		}{
			{"agrees", 0, 0, 0},
			{"ahead", time.Hour, time.Minute, time.Hour},
			{"behind", -time.Hour, -time.Hour, -time.Minute},
		} {
			t.Run(who.name+" "+c.name, func(t *testing.T) {
				s := who.read(t.Context(), wrong(c.ahead))
				if s == nil {
					t.Fatal("the clock is not known")
				}
				if got := s.skew(); got < c.low || got > c.high {
					t.Errorf("skew %v, want %v to %v", got, c.low, c.high)
				}
			})
		}
		t.Run(who.name+" silent", func(t *testing.T) {
			silent := transport(func(*http.Request) (*http.Response, error) { return nil, errors.New("nobody is there") })
			if s := who.read(t.Context(), silent); s != nil {
				t.Errorf("known from nobody: %+v", s)
			}
		})
	}
	dateless := transport(func(*http.Request) (*http.Response, error) { return &http.Response{Body: http.NoBody}, nil })
	if s := (clock{says: envoyClock}).read(t.Context(), dateless); s != nil {
		t.Errorf("known without a date: %+v", s)
	}
}

func onNode(node, name string, ready bool, containers ...corev1.Container) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: corev1.PodSpec{NodeName: node, Containers: containers}}
	if ready {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	return p
}

// TestClocksOf: one pod tells the time of a node, umbra's app where there is one.
func TestClocksOf(t *testing.T) {
	proxy := corev1.Container{Name: "istio-proxy"}
	umbra := corev1.Container{Name: "app", Args: []string{"--listen=:8080", "--admin=:9000", "--receipts-dir=/r"}}
	other := corev1.Container{Name: "app", Args: []string{"--admin=:9000"}}
	got := map[string]string{}
	for _, c := range clocksOf([]corev1.Pod{
		onNode("a", "sidecar", true, other, proxy), onNode("a", "umbra", true, umbra, proxy), onNode("a", "umbra-2", true, umbra, proxy),
		onNode("b", "umbra", false, umbra, proxy), onNode("b", "sidecar", true, proxy), onNode("b", "sidecar-2", true, proxy),
		onNode("c", "plain", true, other),
	}) {
		if _, twice := got[c.pod.Spec.NodeName]; twice {
			t.Errorf("node %s is asked twice", c.pod.Spec.NodeName)
		}
		got[c.pod.Spec.NodeName] = c.pod.Name
		if want := map[string]int{"umbra": 9000, "sidecar": envoyAdmin}[c.pod.Name]; c.port != want {
			t.Errorf("port %d of %s", c.port, c.pod.Name)
		}
	}
	if diff := cmp.Diff(map[string]string{"a": "umbra", "b": "sidecar"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestOverlaid: files take the place of the objects of their names, and of no others.
func TestOverlaid(t *testing.T) {
	service := func(name string) []byte {
		return []byte("apiVersion: v1\nkind: Service\nmetadata: {name: " + name + ", namespace: shop}\nspec: {ports: [{port: 80}]}\n")
	}
	stand := []route.Source{{Name: "Service shop/a", Data: service("a")}, {Name: "Service shop/b", Data: service("b")}}
	var names []string
	for _, s := range overlaid(stand, []route.Source{{Name: "files.yaml", Data: append(service("b"), append([]byte("---\n"), service("c")...)...)}}) {
		names = append(names, s.Name)
	}
	if diff := cmp.Diff([]string{"Service shop/a", "files.yaml"}, names); diff != "" {
		t.Error(diff)
	}
	if len(overlaid(stand, nil)) != 2 {
		t.Error("without files all that stands is looked at")
	}
}

// TestOfInterest: a gateway is asked for the counters of the routes' clusters, not for those of a whole mesh.
func TestOfInterest(t *testing.T) {
	all := map[string]doctor.Cluster{"agent": {}, "outbound|90||z": {}, "outbound|70||a": {}, v1: {}}
	table, err := modelled([]route.Source{{Name: "m.yaml", Data: []byte(frame + `
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: vs}
spec:
  hosts: ["*"]
  gateways: [gw]
  http: [{route: [{destination: {host: shop, subset: v1, port: {number: 80}}}], mirror: {host: shop, subset: v9, port: {number: 80}}}]
`)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		table *route.Table
		want  []string
	}{
		{"routes", table, []string{v1}},
		{"no routes", nil, []string{"outbound|70||a"}},
	} {
		if diff := cmp.Diff(c.want, ofInterest(all, c.table)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	if name, what, ok := cutCounter("cluster." + v1 + ".upstream_rq_total"); name != v1 || what != "upstream_rq_total" || !ok {
		t.Errorf("%q, %q, %v", name, what, ok)
	}
	if _, _, ok := cutCounter("cluster." + v1 + ".membership_healthy"); ok {
		t.Error("membership_healthy is no counter of upstream requests")
	}
}
