// Package mesh holds what a run and a mesh say to each other: what to stand up (Spec) and what stands (State).
package mesh

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"umbra/internal/app"
	"umbra/internal/route"
)

// Spec is what a mesh is asked to stand up. It is not changed by it.
type Spec struct {
	Manifests *route.Manifests
	Table     *route.Table
	Workloads []route.Workload
	Port      uint32               // of the Gateway server that the run's traffic uses
	App       map[string]Behaviour // by version label; a version that is absent answers at once
	Ignore    []string             // what of the answers' JSON the app's receipts leave out of its digest (app.Settings)
	Seed      uint64               // of everything random that the mesh itself does, where it can be seeded
	Faults    Faults               // only the embedded mesh has any but Shadow
}

// Behaviour and Latency are how umbra's own app behaves.
type (
	Behaviour = app.Behaviour
	Latency   = app.Latency
)

// Faults is how a mesh is told to misbehave. Shares are of the mirrored requests, from 0 to 1 (LosePrimary: of all
// requests; MirrorWrites: of the writes on routes that do not mirror); a share above 0 hits at least one request.
type Faults struct {
	Fraction                  *float64 // percent, in place of the configured one; nil: as configured
	Drop, Duplicate, Mutate   float64
	MirrorWrites, LosePrimary float64
	SlowPrimary               time.Duration // added to the primary of a mirrored request
	Shadow                    string        // "", "healthy", "slow", "hung", "dead", "errors"
}

// Conduct is how the apps behave beside their Behaviour.
type Conduct struct {
	Shadow string                   // one of ShadowModes, of the pods that only mirrors use; empty: healthy
	Delay  map[string]time.Duration // by version: what every answer of all its pods takes longer
}

// ErrFixed is the error of a Conduct that asks for a delay of apps that are not umbra's own, and cannot be told.
var ErrFixed = errors.New("the app is not umbra's own and cannot be made slower")

// State is what a running mesh says of itself at an instant.
type State struct {
	Routes    []Route             `json:"routes"`    // as programmed into the gateway
	Endpoints map[string][]string `json:"endpoints"` // pods of each cluster, sorted
	// Counters and gauges of the gateway under Envoy's names, "cluster.NAME.upstream_rq_total" and its like.
	Counters map[string]uint64 `json:"counters"`
	// Doubt is why the gateways are not configured as the manifests say, where they are not.
	Doubt string `json:"doubt,omitempty"`
	// Pods are those of every version and of the gateway; none where the mesh is this process.
	Pods []Pod `json:"pods,omitempty"`
}

// Pod is a pod as it stands.
type Pod struct {
	Name      string         `json:"name"`
	Namespace string         `json:"namespace"`
	Version   string         `json:"version,omitempty"` // of the app; empty for a gateway
	Started   time.Time      `json:"started"`
	Restarts  int            `json:"restarts,omitempty"` // of all its containers
	CPU       map[string]CPU `json:"cpu,omitempty"`      // by container
}

// CPU is what a container has used since it started, as it was measured at an instant.
type CPU struct {
	Seconds float64   `json:"seconds"`
	At      time.Time `json:"at"`
}

// Route is a route as a gateway was given it.
type Route struct {
	Name    string   `json:"name"` // as route.Route's
	Mirrors []Mirror `json:"mirrors,omitempty"`
}

// Equal tells whether two routes are given alike.
func (r Route) Equal(other Route) bool {
	return r.Name == other.Name && slices.Equal(r.Mirrors, other.Mirrors)
}

// Mirror is a mirror policy as a gateway was given it.
type Mirror struct {
	Cluster   string `json:"cluster"`
	Numerator uint32 `json:"numerator"` // per million
}

// Counter reads the counter or gauge of a cluster, 0 where it is absent: Counter("outbound|80|v2|a.b.svc.cluster.local", "upstream_rq_total").
func (s *State) Counter(cluster, name string) uint64 {
	return s.Counters["cluster."+cluster+"."+name]
}

// Running is a mesh that serves. Its methods may be called concurrently.
type Running interface {
	// Address is the host:port on loopback where the gateway takes the traffic of Spec.Port.
	Address() string
	// State asks the gateways, all of which are configured alike, or it is an error.
	State(ctx context.Context) (*State, error)
	// Counters asks for State.Counters alone, which is cheap enough to be polled.
	Counters(ctx context.Context) (map[string]uint64, error)
	// Receipts calls f with the Arrow stream of each replica, one after the other.
	Receipts(ctx context.Context, f func(version, pod string, stream io.Reader) error) error
	// Reroute has the gateways obey other manifests from now on, whose table is t; State and the others go by them, too. It
	// returns when each replica of the gateway was seen to have t's routes; requests under way end with what they began
	// with, and counters go on. Only VirtualServices and DestinationRules may differ from Spec.Manifests, and routes may lead
	// to clusters of Spec.Table alone, with the pods that these had. Of what a DestinationRule says besides, nobody sees when
	// a gateway obeys it. After an error the gateways obey the one or the other.
	Reroute(ctx context.Context, m *route.Manifests, t *route.Table) error
	// Conduct has the apps behave otherwise from now on, in place of the last Conduct and of Spec.Faults.Shadow. It returns
	// when every pod was told, and the pods that were dead and are not any more are reached again; pods that come later are
	// told as they come. Requests that hang are cut off where their pod is to hang no longer. After an error some pods may
	// have been told.
	Conduct(ctx context.Context, c Conduct) error
	// Close ends all that Up started.
	Close() error
}
