// Package envoy reads what a gateway's Envoy says of itself at its admin port (15000 in Istio's proxies): the routes that
// it was given, its endpoints and its counters. The formats are those of envoy/admin/v3 in proto-JSON
// (docs/root/operations/admin.rst).
package envoy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
)

// Admin asks one Envoy. Its methods may be called concurrently where the transport may.
type Admin struct {
	Transport http.RoundTripper // leads to the admin port, whatever the host of the URL
}

// maxAnswer bounds an answer, in bytes: a gateway of thousands of routes dumps some ten MiB.
const maxAnswer = 64 << 20

// ConfigDump gives the gateway's dynamic routes, for Routes and Compare. Its static ones are Istio's own, for probes and
// metrics.
func (a Admin) ConfigDump(ctx context.Context) ([]byte, error) {
	return a.get(ctx, "/config_dump", url.Values{"resource": {"dynamic_route_configs"}})
}

// get asks for a page of the admin interface.
func (a Admin) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	at := url.URL{Scheme: "http", Host: "envoy-admin", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := a.Transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("asking the gateway's Envoy for %s: %w", at.RequestURI(), err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading %s of the gateway's Envoy: %w", at.RequestURI(), err)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the gateway's Envoy answers %d to %s: %s", resp.StatusCode, at.RequestURI(), bytes.TrimSpace(body[:min(len(body), 300)]))
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("the gateway's Envoy has more than %d MiB to say to %s: too much to read", maxAnswer>>20, at.RequestURI())
	}
	return body, nil
}

// Endpoint is a host of a cluster.
type Endpoint struct {
	Address string // host:port
	Healthy bool   // it gets requests: neither its EDS health nor a health check nor outlier detection speaks against it
}

// Clusters gives the endpoints of each cluster that the gateway has, also of those without any.
func (a Admin) Clusters(ctx context.Context) (map[string][]Endpoint, error) {
	body, err := a.get(ctx, "/clusters", url.Values{"format": {"json"}})
	if err != nil {
		return nil, err
	}
	return parseClusters(body)
}

// clusterStatuses is envoy.admin.v3.Clusters.
type clusterStatuses struct {
	Statuses []struct {
		Name  string       `json:"name"`
		Hosts []hostStatus `json:"host_statuses"`
	} `json:"cluster_statuses"`
}

type hostStatus struct {
	Address struct {
		Socket struct {
			Address string `json:"address"`
			Port    uint16 `json:"port_value"`
		} `json:"socket_address"`
		Pipe struct {
			Path string `json:"path"`
		} `json:"pipe"`
		Internal struct {
			EndpointID string `json:"endpoint_id"` // host:port behind a tunnel of ambient mode
		} `json:"envoy_internal_address"`
	} `json:"address"`
	Health struct {
		EDS            string `json:"eds_health_status"`
		FailedActive   bool   `json:"failed_active_health_check"`
		FailedOutlier  bool   `json:"failed_outlier_check"`
		PendingRemoval bool   `json:"pending_dynamic_removal"`
		PendingActive  bool   `json:"pending_active_hc"`
		FailedAtOnce   bool   `json:"excluded_via_immediate_hc_fail"`
		ActiveTimeout  bool   `json:"active_hc_timeout"`
	} `json:"health_status"`
}

func parseClusters(body []byte) (map[string][]Endpoint, error) {
	var in clusterStatuses
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("reading the clusters of the gateway's Envoy: %w", err)
	}
	out := map[string][]Endpoint{}
	for _, c := range in.Statuses {
		out[c.Name] = out[c.Name][:len(out[c.Name]):len(out[c.Name])]
		for _, h := range c.Hosts {
			out[c.Name] = append(out[c.Name], Endpoint{Address: h.address(), Healthy: h.healthy()})
		}
	}
	return out, nil
}

func (h *hostStatus) address() string {
	switch a := h.Address; {
	case a.Pipe.Path != "":
		return a.Pipe.Path
	case a.Internal.EndpointID != "":
		return a.Internal.EndpointID
	default:
		return net.JoinHostPort(a.Socket.Address, strconv.Itoa(int(a.Socket.Port)))
	}
}

// healthy follows Envoy's coarse health: a host of unknown health is healthy, a degraded one is the last resort.
func (h *hostStatus) healthy() bool {
	s := h.Health
	failed := s.FailedActive || s.FailedOutlier || s.PendingRemoval || s.PendingActive || s.FailedAtOnce || s.ActiveTimeout
	return !failed && (s.EDS == "HEALTHY" || s.EDS == "UNKNOWN" || s.EDS == "")
}
