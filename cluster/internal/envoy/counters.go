package envoy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// lazy are the counters and gauges of a cluster that Envoy makes with its first request and not before (Istio's
// bootstrap sets deferred_stat_options), as far as verdicts and drains read them. Until then each is 0
// (traffic stats in docs/root/configuration/upstream/cluster_manager/cluster_stats.rst).
var lazy = []string{
	"upstream_rq_total", "upstream_rq_completed", "upstream_rq_active", "upstream_rq_pending_active", "upstream_rq_pending_total",
	"upstream_rq_pending_overflow", "upstream_rq_pending_failure_eject", "upstream_rq_timeout", "upstream_rq_per_try_timeout",
	"upstream_rq_retry", "upstream_rq_retry_success", "upstream_rq_retry_limit_exceeded", "upstream_rq_retry_overflow",
	"upstream_rq_rx_reset", "upstream_rq_tx_reset", "upstream_rq_cancelled", "upstream_cx_connect_fail", "upstream_cx_none_healthy",
}

// Counters gives the counters and gauges of the clusters as "cluster.NAME.upstream_rq_total". One that Envoy has not
// made yet is 0; one that is absent is left out by the gateway's stats matcher (Istio's proxyStatsMatcher), so that
// nothing is known of it. Counts by status code are there from their first on. The counters are each atomic; under load
// they are not of one instant.
func (a Admin) Counters(ctx context.Context, clusters ...string) (map[string]uint64, error) {
	if len(clusters) == 0 {
		return map[string]uint64{}, nil
	}
	names, err := a.statNames(ctx, clusters)
	if err != nil {
		return nil, err
	}
	bootstrap, err := a.get(ctx, "/config_dump", url.Values{"mask": {"bootstrap.stats_config.stats_matcher"}})
	if err != nil {
		return nil, err
	}
	shown, err := parseStatsMatcher(bootstrap)
	if err != nil {
		return nil, err
	}
	filter := `^cluster\.(` + anyOf(slices.Sorted(maps.Keys(names))) + `)\.`
	body, err := a.get(ctx, "/stats", url.Values{"format": {"json"}, "filter": {filter}})
	if err != nil {
		return nil, err
	}
	out, err := parseStats(body, names)
	if err != nil {
		return nil, err
	}
	fillIn(out, names, shown)
	return out, nil
}

// anyOf is an expression, in RE2's syntax, for any of the texts.
func anyOf(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = regexp.QuoteMeta(t)
	}
	return strings.Join(quoted, "|")
}

// statNames gives the clusters by the names that they have in statistics: Istio ends them with a ";", so that their dots
// are not taken for the statistic's, and a mesh may name them anew (outboundClusterStatName).
func (a Admin) statNames(ctx context.Context, clusters []string) (map[string]string, error) {
	body, err := a.get(ctx, "/config_dump", url.Values{"resource": {"dynamic_active_clusters"}, "name_regex": {anyOf(clusters)}, "mask": {"cluster.name,cluster.alt_stat_name"}})
	if err != nil {
		return nil, err
	}
	return parseStatNames(body, clusters)
}

func parseStatNames(dump []byte, clusters []string) (map[string]string, error) {
	var in struct {
		Configs []struct {
			Cluster struct {
				Name     string `json:"name"`
				StatName string `json:"alt_stat_name"`
			} `json:"cluster"`
		} `json:"configs"`
	}
	if err := json.Unmarshal(dump, &in); err != nil {
		return nil, fmt.Errorf("reading the clusters' configuration in the gateway's Envoy: %w", err)
	}
	names := map[string]string{}
	for _, c := range clusters {
		names[c] = c + ";" // of a cluster that the gateway does not have: it sent nothing there
	}
	for _, c := range in.Configs {
		if _, asked := names[c.Cluster.Name]; asked {
			names[c.Cluster.Name] = strings.ReplaceAll(cmp.Or(c.Cluster.StatName, c.Cluster.Name), ":", "_")
		}
	}
	out := map[string]string{}
	for _, c := range slices.Sorted(maps.Keys(names)) {
		if other, twice := out[names[c]]; twice {
			return nil, fmt.Errorf("the gateway counts clusters %s and %s together, as %s: set meshConfig.outboundClusterStatName so that each has a name of its own, or leave it out", other, c, names[c])
		}
		out[names[c]] = c
	}
	return out, nil
}

// parseStats reads counters and gauges under the clusters' plain names. Histograms and texts are left out.
func parseStats(body []byte, names map[string]string) (map[string]uint64, error) {
	var in struct {
		Stats []struct {
			Name  string          `json:"name"`
			Value json.RawMessage `json:"value"`
		} `json:"stats"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("reading the statistics of the gateway's Envoy: %w", err)
	}
	out := map[string]uint64{}
	for _, s := range in.Stats {
		name, ok := plainName(s.Name, names)
		if !ok || len(s.Value) == 0 || s.Value[0] == '"' {
			continue
		}
		var value uint64
		if err := json.Unmarshal(s.Value, &value); err != nil {
			return nil, fmt.Errorf("reading the statistic %s of the gateway's Envoy: %w", s.Name, err)
		}
		out[name] = value
	}
	return out, nil
}

// plainName gives a statistic the cluster's plain name. It is false where the statistic is none of the clusters'. Of names
// that begin alike ("a.b", "a.b.c") the longest counts.
func plainName(stat string, names map[string]string) (string, bool) {
	rest, ok := strings.CutPrefix(stat, "cluster.")
	if !ok {
		return "", false
	}
	longest, found := "", ""
	for name := range names {
		if after, ok := strings.CutPrefix(rest, name+"."); ok && len(name) > len(longest) {
			longest, found = name, after
		}
	}
	return "cluster." + names[longest] + "." + found, longest != ""
}

// fillIn adds the zeros of what Envoy would show and has not made yet.
func fillIn(out map[string]uint64, names map[string]string, shown *statsMatcher) {
	for name, c := range names {
		for _, stat := range lazy {
			key := "cluster." + c + "." + stat
			if _, there := out[key]; !there && shown.includes("cluster."+name+"."+stat) {
				out[key] = 0
			}
		}
	}
}

// statsMatcher is envoy.config.metrics.v3.StatsMatcher.
type statsMatcher struct {
	RejectAll bool         `json:"reject_all"`
	Exclusion *patternList `json:"exclusion_list"`
	Inclusion *patternList `json:"inclusion_list"`
}

type patternList struct {
	Patterns []stringMatch `json:"patterns"`
}

// parseStatsMatcher finds the matcher in a dump of the bootstrap configuration; it is nil where that has none. Without a
// bootstrap configuration nothing is known of what Envoy hides, which is an error.
func parseStatsMatcher(dump []byte) (*statsMatcher, error) {
	var in struct {
		Configs []struct {
			Bootstrap *struct {
				Stats struct {
					Matcher *statsMatcher `json:"stats_matcher"`
				} `json:"stats_config"`
			} `json:"bootstrap"`
		} `json:"configs"`
	}
	if err := json.Unmarshal(dump, &in); err != nil {
		return nil, fmt.Errorf("reading the stats matcher of the gateway's Envoy: %w", err)
	}
	for _, c := range in.Configs {
		if c.Bootstrap != nil {
			return c.Bootstrap.Stats.Matcher, nil
		}
	}
	return nil, errors.New("reading the stats matcher of the gateway's Envoy: its config dump has no bootstrap configuration, so it is not known which counters it hides; is what answers Envoy's own admin port?")
}

// includes tells whether Envoy makes the statistic.
func (m *statsMatcher) includes(stat string) bool {
	hit := func(p stringMatch) bool { return p.match(stat) }
	switch {
	case m == nil:
		return true
	case m.Inclusion != nil:
		return slices.ContainsFunc(m.Inclusion.Patterns, hit)
	case m.Exclusion != nil:
		return !slices.ContainsFunc(m.Exclusion.Patterns, hit)
	}
	return !m.RejectAll
}
