package replay

import (
	"crypto/tls"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// plain are options that every machine can play.
func plain() Options {
	return Options{Address: "127.0.0.1:8080", Protocol: HTTP1, Connections: 2, Reuse: Keep, Timeout: time.Second, Overload: QueueUp}
}

// says compares an error's lines with the words that each is to have.
func says(t *testing.T, err error, words ...string) {
	t.Helper()
	var lines []string
	if err != nil {
		lines = strings.Split(err.Error(), "\n")
	}
	if len(lines) != len(words) {
		t.Fatalf("%d faults, want %d: %v", len(lines), len(words), err)
	}
	for i, w := range words {
		if !strings.Contains(lines[i], w) {
			t.Errorf("%q does not say %q", lines[i], w)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Options)
		want   []string
	}{
		"plain":                      {func(*Options) {}, nil},
		"defaults":                   {func(o *Options) { o.Protocol, o.Reuse, o.Overload = "", "", "" }, nil},
		"h2c":                        {func(o *Options) { o.Protocol, o.Streams = H2C, 100 }, nil},
		"alpn":                       {func(o *Options) { o.Protocol, o.Streams, o.TLS = ALPN, 10, &tls.Config{} }, nil},
		"http/1.1 over TLS":          {func(o *Options) { o.TLS = &tls.Config{} }, nil},
		"a closed loop":              {func(o *Options) { o.Until = time.Second }, nil},
		"drop":                       {func(o *Options) { o.Overload = Drop }, nil},
		"a quantum":                  {func(o *Options) { o.Quantum = time.Millisecond }, nil},
		"unknown words":              {func(o *Options) { o.Protocol, o.Reuse, o.Overload = "spdy", "never", "panic" }, []string{`protocol "spdy"`, `connections "never"`, `overload "panic"`}},
		"nothing given":              {func(o *Options) { *o = Options{} }, []string{"0 connections", "a timeout of 0s", `address "": give host:port`}},
		"negative":                   {func(o *Options) { o.Streams, o.Queue, o.Quantum, o.Loops, o.Until = -1, -1, -1, -1, -1 }, []string{"a closed loop of -1ns", "-1 streams", "a queue of -1", "a quantum of -1ns", "-1 event loops"}},
		"h2c over TLS":               {func(o *Options) { o.Protocol, o.TLS = H2C, &tls.Config{} }, []string{"h2c is HTTP/2 in the clear"}},
		"alpn in the clear":          {func(o *Options) { o.Protocol = ALPN }, []string{"give an https:// URL"}},
		"streams of HTTP/1.1":        {func(o *Options) { o.Streams = 2 }, []string{"2 streams: a connection of HTTP/1.1"}},
		"streams of fresh":           {func(o *Options) { o.Protocol, o.Streams, o.Reuse = H2C, 2, Fresh }, []string{"a fresh connection has one request"}},
		"precise and a quantum":      {func(o *Options) { o.Precise, o.Quantum = true, 1 }, []string{"leave one of both out"}},
		"a quantum of the time-out":  {func(o *Options) { o.Quantum = o.Timeout }, []string{"a quantum of 1s"}},
		"a closed loop and a rate's": {func(o *Options) { o.Until, o.Quantum, o.Overload = 1, 1, Drop }, []string{"so a quantum does nothing", "overload drop: in a closed loop"}},
		"a closed loop, precise":     {func(o *Options) { o.Until, o.Precise = 1, true }, []string{"so precise does nothing"}},
		"a queue that drops":         {func(o *Options) { o.Queue, o.Overload = 9, AbortRun }, []string{"with overload abort no request waits"}},
		"no port":                    {func(o *Options) { o.Address = "localhost" }, []string{"give host:port"}},
		"port 0":                     {func(o *Options) { o.Address = "localhost:0" }, []string{"from 1 to 65535"}},
		"a port too large":           {func(o *Options) { o.Address = "[::1]:65536" }, []string{"from 1 to 65535"}},
		"a source":                   {func(o *Options) { o.Source = netip.MustParseAddr("127.0.0.1") }, nil},
		"a source by a name":         {func(o *Options) { o.Source, o.Address = netip.MustParseAddr("127.0.0.1"), "localhost:80" }, nil},
		"a source elsewhere":         {func(o *Options) { o.Source = netip.MustParseAddr("192.0.2.1") }, []string{"source address 192.0.2.1 is none of this machine's"}},
		"a source of another kind":   {func(o *Options) { o.Source = netip.MustParseAddr("::1") }, []string{"not of the same kind"}},
		"several":                    {func(o *Options) { o.Connections, o.Address = 0, "x" }, []string{"0 connections", "give host:port"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := plain()
			c.change(&o)
			says(t, o.Check(Demand{}), c.want...)
		})
	}
}

func TestLimits(t *testing.T) {
	linux := limits{descriptors: 1024, ports: 28232, linger: time.Minute, reuse: reuseOnLoopback}
	far := func(o *Options) { o.Address = "192.0.2.7:80" }
	for name, c := range map[string]struct {
		change   func(*Options)
		expected Demand
		limits   limits
		want     []string
	}{
		"enough":                         {func(o *Options) { o.Connections = 960 }, Demand{}, linux, nil},
		"one descriptor too few":         {func(o *Options) { o.Connections = 961 }, Demand{}, linux, []string{"961 connections need 1025 descriptors, and this process may have 1024: raise the limit (ulimit -n 1025)"}},
		"no limits known":                {func(o *Options) { o.Connections = 1 << 20 }, Demand{Fresh: 1e6}, limits{}, nil},
		"ports":                          {func(o *Options) { o.Connections = 30_000 }, Demand{}, limits{ports: 28232}, []string{"30000 connections need as many local ports, and there are 28232 to one address"}},
		"ports to two addresses":         {func(o *Options) { o.Connections = 30_000 }, Demand{Addresses: 2}, limits{ports: 28232}, nil},
		"descriptors and ports":          {func(o *Options) { o.Connections = 30_000 }, Demand{}, linux, []string{"descriptors", "local ports"}},
		"fresh":                          {far, Demand{Fresh: 470}, linux, nil},
		"fresh, too many":                {far, Demand{Fresh: 471}, linux, []string{"471 fresh connections a second keep 28260 local ports, as each is kept for 1m0s after its end, and there are 28232 to one address"}},
		"fresh, to three addresses":      {far, Demand{Fresh: 1000, Addresses: 3}, linux, nil},
		"fresh, a short run":             {far, Demand{Fresh: 1000, For: 10 * time.Second}, linux, nil},
		"fresh, a short run of too many": {far, Demand{Fresh: 3000, For: 10 * time.Second}, linux, []string{"keep 30000 local ports, as each is kept for 10s"}},
		"fresh, a long run":              {far, Demand{Fresh: 1000, For: time.Hour}, linux, []string{"keep 60000 local ports"}},
		"fresh, ports used again":        {far, Demand{Fresh: 1000}, limits{ports: 28232, linger: time.Minute, reuse: reuseAlways}, nil},
		"fresh on loopback":              {func(*Options) {}, Demand{Fresh: 20_000}, linux, nil},
		"fresh on loopback, too many":    {func(*Options) {}, Demand{Fresh: 30_000}, linux, []string{"each is kept for 1s"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := plain()
			c.change(&o)
			says(t, o.limits(c.expected, c.limits), c.want...)
		})
	}
}

func TestSpace(t *testing.T) {
	for name, c := range map[string]struct {
		planned int
		bytes   float64
		free    uint64
		known   bool
		want    string
		fits    bool
	}{
		"fits":                 {72_000_000, 32, 61e9, true, "about 2.3 GB for 72,000,000 rows; 61 GB are free", true},
		"does not":             {72_000_000, 32, 2e9, true, "about 2.3 GB for 72,000,000 rows; 2.0 GB are free", false},
		"just":                 {1000, 10, 10_000, true, "about 10 kB for 1,000 rows; 10 kB are free", true},
		"a byte short":         {1000, 10, 9_999, true, "about 10 kB for 1,000 rows; 10 kB are free", false},
		"unknown space":        {1000, 10.6, 0, false, "about 11 kB for 1,000 rows", true},
		"a closed loop":        {0, 31.5, 1e12, true, "32 bytes for each row; 1.0 TB are free", true},
		"few":                  {1, 30, 999_600, true, "about 30 bytes for 1 row; 1.0 MB are free", true},
		"more than is counted": {math.MaxInt, 1e30, 1, true, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := space("runs/a", c.planned, c.bytes, c.free, c.known)
			if c.want != "" && got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			if (err == nil) != c.fits || err != nil && !strings.Contains(err.Error(), "runs/a: the results take about") {
				t.Error(err)
			}
		})
	}
}

// The space of a real folder can be told where the system tells it, and a folder that is not there is an error.
func TestCheckSpace(t *testing.T) {
	dir := t.TempDir()
	if text, err := CheckSpace(dir, 1, 1); err != nil || !strings.HasPrefix(text, "about 1 bytes for 1 row") {
		t.Errorf("%q, %v", text, err)
	}
	if _, known, _ := freeSpace(dir); !known {
		return
	}
	if text, err := CheckSpace(dir, math.MaxInt32, 1e12); err == nil {
		t.Errorf("2 ZB fit: %s", text)
	}
	if _, err := CheckSpace(dir+"/absent", 1, 1); err == nil {
		t.Error("a folder that is not there has space")
	}
}

func TestSizes(t *testing.T) {
	for in, want := range map[float64]string{0: "0 bytes", 999: "999 bytes", 1000: "1.0 kB", 9940: "9.9 kB", 9960: "10 kB", 999_700: "1.0 MB", 6.1e10: "61 GB"} {
		if got := size(in); got != want {
			t.Errorf("%g is %q, want %q", in, got, want)
		}
	}
	for in, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 72_000_000: "72,000,000"} {
		if got := thousands(in); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := fmt.Sprint(addressesOf(1), ", ", addressesOf(3)); got != "one address, 3 addresses" {
		t.Error(got)
	}
}
