package envoy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeEnvoy answers each path with a file or a text, and keeps the queries.
type fakeEnvoy struct {
	answers map[string][]byte // by path, or path?resource
	status  int
	asked   []string
}

func (f *fakeEnvoy) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	f.asked = append(f.asked, r.URL.Path+" "+r.URL.RawQuery)
	body, ok := f.answers[r.URL.Path]
	if named, there := f.answers[r.URL.Path+"?"+r.URL.Query().Get("resource")]; there {
		body, ok = named, true
	}
	status := max(f.status, http.StatusOK)
	if !ok {
		status = http.StatusNotFound
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
}

const (
	v1 = "outbound|80|v1|my-app.shop.svc.cluster.local"
	v2 = "outbound|80|v2|my-app.shop.svc.cluster.local"
)

func TestConfigDump(t *testing.T) {
	f := &fakeEnvoy{answers: map[string][]byte{"/config_dump": read(t, "testdata/routes/canary-10.json")}}
	dump, err := Admin{f}.ConfigDump(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	agree(t, dump, example(t, "canary-10"))
	if want := []string{"/config_dump resource=dynamic_route_configs"}; cmp.Diff(want, f.asked) != "" {
		t.Errorf("asked for %q", f.asked)
	}
}

func TestAdminErrors(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		f    *fakeEnvoy
		want string
	}{
		{"an error of Envoy's", context.Background(), &fakeEnvoy{status: 400, answers: map[string][]byte{"/clusters": []byte("no\n")}}, "answers 400 to /clusters?format=json: no"},
		{"no JSON", context.Background(), &fakeEnvoy{answers: map[string][]byte{"/clusters": []byte("<html>")}}, "reading the clusters"},
		{"a context that ended", ended, &fakeEnvoy{}, "context canceled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := (Admin{c.f}).Clusters(c.ctx); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}

type endless struct{}

func (endless) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(zeros{})}, nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestAnswersAreBounded(t *testing.T) {
	if _, err := (Admin{endless{}}).ConfigDump(context.Background()); err == nil || !strings.Contains(err.Error(), "more than 64 MiB") {
		t.Errorf("error %v", err)
	}
}

func TestClusters(t *testing.T) {
	f := &fakeEnvoy{answers: map[string][]byte{"/clusters": read(t, "testdata/clusters.json")}}
	got, err := Admin{f}.Clusters(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]Endpoint{
		"BlackHoleCluster": nil,
		"sds-grpc":         {{Address: "./var/run/secrets/workload-spiffe-uds/socket", Healthy: true}},
		v1:                 {{Address: "10.244.0.9:8080", Healthy: true}},
		v2:                 {{Address: "10.244.0.8:8080", Healthy: true}},
		"outbound|80||my-app.shop.svc.cluster.local": {{Address: "10.244.0.9:8080", Healthy: true}, {Address: "10.244.0.8:8080", Healthy: true}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestHealth(t *testing.T) {
	for status, want := range map[string]bool{
		`{"eds_health_status":"HEALTHY"}`:   true,
		`{"eds_health_status":"UNKNOWN"}`:   true,
		`{}`:                                true,
		`{"eds_health_status":"UNHEALTHY"}`: false,
		`{"eds_health_status":"DRAINING"}`:  false,
		`{"eds_health_status":"DEGRADED"}`:  false,
		`{"eds_health_status":"HEALTHY","failed_outlier_check":true}`:       false,
		`{"eds_health_status":"HEALTHY","failed_active_health_check":true}`: false,
		`{"eds_health_status":"HEALTHY","pending_dynamic_removal":true}`:    false,
	} {
		got, err := parseClusters([]byte(`{"cluster_statuses":[{"name":"c","host_statuses":[{"address":{"socket_address":{"address":"::1","port_value":80}},"health_status":` + status + `}]}]}`))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]Endpoint{{Address: "[::1]:80", Healthy: want}}, got["c"]); diff != "" {
			t.Errorf("%s: %s", status, diff)
		}
	}
}

func statsOf(t *testing.T, matcher []byte, clusters ...string) map[string]uint64 {
	t.Helper()
	f := &fakeEnvoy{answers: map[string][]byte{"/config_dump": matcher, "/stats": read(t, "testdata/stats.json"),
		"/config_dump?dynamic_active_clusters": read(t, "testdata/names.json")}}
	got, err := Admin{f}.Counters(context.Background(), clusters...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// The gateway has made v1's statistics, none of v2's, and leaves upstream_cx_* out.
func TestCounters(t *testing.T) {
	got := statsOf(t, read(t, "testdata/bootstrap.json"), v1, v2)
	want := map[string]uint64{
		v1 + ".upstream_rq_total": 1, v1 + ".upstream_rq_completed": 1, v1 + ".external.upstream_rq_2xx": 1, v1 + ".upstream_rq_active": 0,
		v1 + ".upstream_rq_timeout": 0, v2 + ".upstream_rq_total": 0, v2 + ".upstream_rq_active": 0, v2 + ".upstream_rq_pending_overflow": 0,
	}
	for name, value := range want {
		if v, known := got["cluster."+name]; !known || v != value {
			t.Errorf("%s is %d (known: %v), want %d", name, v, known, value)
		}
	}
	for _, hidden := range []string{v1 + ".upstream_cx_none_healthy", v2 + ".upstream_cx_none_healthy", v1 + ".upstream_rq_time", v2 + ".internal.upstream_rq_2xx"} {
		if v, known := got["cluster."+hidden]; known {
			t.Errorf("%s is %d, but the gateway does not say so", hidden, v)
		}
	}
}

func TestCountersByStatsMatcher(t *testing.T) {
	const none = "upstream_cx_none_healthy"
	for _, c := range []struct {
		name, matcher string
		total, none   bool // known of v2
	}{
		{"no matcher", `{}`, true, true},
		{"an empty one", `{"stats_matcher":{}}`, true, true},
		{"nothing at all", `{"stats_matcher":{"reject_all":true}}`, false, false},
		{"another cluster", `{"stats_matcher":{"inclusion_list":{"patterns":[{"prefix":"cluster.xds-grpc"}]}}}`, false, false},
		{"a prefix", `{"stats_matcher":{"inclusion_list":{"patterns":[{"prefix":"cluster.outbound"}]}}}`, true, true},
		{"a suffix", `{"stats_matcher":{"inclusion_list":{"patterns":[{"suffix":"_total"}]}}}`, true, false},
		{"an exclusion", `{"stats_matcher":{"exclusion_list":{"patterns":[{"contains":"none"}]}}}`, true, false},
		{"a regex of a part", `{"stats_matcher":{"inclusion_list":{"patterns":[{"safe_regex":{"regex":"upstream"}}]}}}`, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := statsOf(t, []byte(`{"configs":[{"bootstrap":{"stats_config":`+c.matcher+`}}]}`), v2)
			_, total := got["cluster."+v2+".upstream_rq_total"]
			_, unhealthy := got["cluster."+v2+"."+none]
			if total != c.total || unhealthy != c.none {
				t.Errorf("upstream_rq_total known: %v, want %v; %s known: %v, want %v", total, c.total, none, unhealthy, c.none)
			}
		})
	}
}

// Zeros are only filled in where it is known what Envoy hides.
func TestCountersWithoutBootstrap(t *testing.T) {
	for _, dump := range []string{`{}`, `{"configs":[]}`, `{"configs":[{"static_clusters":[]}]}`} {
		f := &fakeEnvoy{answers: map[string][]byte{"/config_dump": []byte(dump), "/stats": read(t, "testdata/stats.json"),
			"/config_dump?dynamic_active_clusters": read(t, "testdata/names.json")}}
		got, err := Admin{f}.Counters(context.Background(), v2)
		if err == nil || !strings.Contains(err.Error(), "no bootstrap configuration") {
			t.Errorf("%s gives %v, %v", dump, got, err)
		}
	}
	if m, err := parseStatsMatcher([]byte(`{"configs":[{"bootstrap":{}}]}`)); m != nil || err != nil {
		t.Errorf("a bootstrap without a matcher: %v, %v", m, err)
	}
}

func TestCountersOfNoCluster(t *testing.T) {
	got, err := Admin{endless{}}.Counters(context.Background())
	if err != nil || len(got) != 0 {
		t.Errorf("%v, error %v: want nothing, and nothing asked", got, err)
	}
}

// The names in statistics are Envoy's to tell: with Istio's separator, without, or a mesh's own.
func TestStatNames(t *testing.T) {
	dump := func(stat ...string) []byte {
		return []byte(`{"configs":[{"cluster":{"name":"v1","alt_stat_name":"` + stat[0] + `"}},{"cluster":{"name":"v2","alt_stat_name":"` + stat[1] + `"}},{"cluster":{"name":"v22","alt_stat_name":"v2;"}}]}`)
	}
	for _, c := range []struct {
		name string
		dump []byte
		want map[string]string // nil: an error
	}{
		{"a separator", dump("v1;", "v2;"), map[string]string{"v1;": "v1", "v2;": "v2"}},
		{"none", dump("", ""), map[string]string{"v1": "v1", "v2": "v2"}},
		{"its own", dump("shop:80_v1", "shop:80_v2"), map[string]string{"shop_80_v1": "v1", "shop_80_v2": "v2"}},
		{"one for two", dump("shop", "shop"), nil},
		{"no such clusters", []byte(`{}`), map[string]string{"v1;": "v1", "v2;": "v2"}},
		{"no JSON", []byte(`<`), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseStatNames(c.dump, []string{"v2", "v1", "v2"})
			if diff := cmp.Diff(c.want, got); diff != "" || (err != nil) != (c.want == nil) {
				t.Errorf("error %v; %s", err, diff)
			}
		})
	}
}

func TestPlainName(t *testing.T) {
	names := map[string]string{"a.b": "a.b", "a.b.c": "a.b.c", "shop;": "outbound|80||shop"}
	for stat, want := range map[string]string{
		"cluster.a.b.upstream_rq_total":            "cluster.a.b.upstream_rq_total",
		"cluster.a.b.c.upstream_rq_total":          "cluster.a.b.c.upstream_rq_total",
		"cluster.shop;.internal.upstream_rq_200":   "cluster.outbound|80||shop.internal.upstream_rq_200",
		"cluster.shop.upstream_rq_total":           "",
		"cluster.a.bc.upstream_rq_total":           "",
		"listener.a.b.upstream_rq_total":           "",
		"vhost.cluster.a.b.route.upstream_rq_time": "",
	} {
		if got, ok := plainName(stat, names); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q (%v), want %q", stat, got, ok, want)
		}
	}
}

func TestTransportError(t *testing.T) {
	broken := errors.New("the port-forward ended")
	a := Admin{roundTrip(func(*http.Request) (*http.Response, error) { return nil, broken })}
	if _, err := a.Counters(context.Background(), v1); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func FuzzStatistics(f *testing.F) {
	f.Add(read(f, "testdata/stats.json"))
	f.Add(read(f, "testdata/clusters.json"))
	f.Add(read(f, "testdata/bootstrap.json"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if got, err := parseStats(in, map[string]string{v1 + ";": v1, v2 + ";": v2}); err == nil {
			for name := range got {
				if !strings.HasPrefix(name, "cluster."+v1+".") && !strings.HasPrefix(name, "cluster."+v2+".") {
					t.Errorf("a statistic of another's: %s", name)
				}
			}
		}
		if m, err := parseStatsMatcher(in); err == nil && m != nil && m.RejectAll && m.Inclusion == nil && m.Exclusion == nil && m.includes("cluster.x") {
			t.Error("what is rejected is included")
		}
		if names, err := parseStatNames(in, []string{v1, v2}); err == nil && len(names) != 2 {
			t.Errorf("names %v", names)
		}
		if clusters, err := parseClusters(in); err == nil && clusters == nil {
			t.Error("neither clusters nor an error")
		}
	})
}
