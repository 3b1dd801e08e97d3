package host

import "time"

// Connections is how the client's connections came to stand, apart from every latency.
type Connections struct {
	Addresses []string      `json:"addresses"`         // that the name stood for, in the order of their use
	Resolve   time.Duration `json:"resolve_ns"`        // what the name's resolution took, before the start; 0 for an address
	Dial      Handshakes    `json:"dial"`              // TCP: from connect to established
	TLS       Handshakes    `json:"tls"`               // from established to the end of the handshake
	Retries   int           `json:"retries"`           // requests sent again, as the server had not processed them
	Most      int           `json:"connections"`       // the most that stood at once
	Wakeups   int64         `json:"wakeups,omitempty"` // of the event loops
}

// Handshakes sums up the set-up of connections.
type Handshakes struct {
	Count  int           `json:"count"`
	Failed int           `json:"failed"`
	P50    time.Duration `json:"p50_ns"`
	P99    time.Duration `json:"p99_ns"`
	Max    time.Duration `json:"max_ns"`
}
