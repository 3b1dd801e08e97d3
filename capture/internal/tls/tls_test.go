package tls

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	cryptotls "crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"umbra/capture/internal/exchange"
)

// chunk is a piece of a connection, as a packet would carry it.
type chunk struct {
	Server bool   `json:"server"`
	Bytes  []byte `json:"bytes"`
}

func (c chunk) from() exchange.Direction {
	if c.Server {
		return exchange.FromServer
	}
	return exchange.FromClient
}

// recording is a connection and what it carried.
type recording struct {
	Keys   string  `json:"keys"`
	Client string  `json:"client"`
	Server string  `json:"server"`
	Chunks []chunk `json:"chunks"`
}

func (r *recording) sent(d exchange.Direction) string {
	if d == exchange.FromServer {
		return r.Server
	}
	return r.Client
}

// split cuts the chunks into pieces of n bytes.
func (r *recording) split(n int) recording {
	out := *r
	out.Chunks = nil
	for _, c := range r.Chunks {
		for b := c.Bytes; len(b) > 0; b = b[min(n, len(b)):] {
			out.Chunks = append(out.Chunks, chunk{c.Server, b[:min(n, len(b))]})
		}
	}
	return out
}

// heard is the Next of a test. It fails the test where it is told anything behind an end.
type heard struct {
	t      testing.TB
	bytes  [2]bytes.Buffer
	gaps   [2][]int64
	ends   [2]int
	reset  bool
	closed int
	order  []exchange.Direction // of the data
	times  []time.Time          // likewise
}

func (h *heard) Data(d exchange.Direction, b []byte, at time.Time) {
	h.check(d)
	if len(b) == 0 {
		h.t.Error("empty data")
	}
	h.bytes[d].Write(b)
	h.order, h.times = append(h.order, d), append(h.times, at)
}

func (h *heard) Gap(d exchange.Direction, n int64, _ time.Time) {
	h.check(d)
	h.gaps[d] = append(h.gaps[d], n)
}

func (h *heard) End(d exchange.Direction, _ time.Time, reset bool) {
	h.check(d)
	h.ends[d]++
	if h.reset = h.reset || reset; reset {
		h.ends[d.Other()] = 1
	}
}

func (h *heard) Close(time.Time) { h.closed++ }

func (h *heard) check(d exchange.Direction) {
	if h.closed > 0 || h.ends[d] > 0 {
		h.t.Errorf("direction %d: told something behind its end", d)
	}
}

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// listen gives a new connection and what comes of it.
func listen(t testing.TB, keys *Keys) (exchange.Stream, *heard, exchange.Loss) {
	h, loss := &heard{t: t}, exchange.Loss{}
	return New(Options{Keys: keys, Loss: loss, Next: h}), h, loss
}

func keysOf(t testing.TB, text string) *Keys {
	t.Helper()
	k := NewKeys()
	if err := k.Read(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return k
}

func at(i int) time.Time { return start.Add(time.Duration(i) * time.Millisecond) }

func play(s exchange.Stream, chunks []chunk) {
	for i, c := range chunks {
		s.Data(c.from(), bytes.Clone(c.Bytes), at(i))
	}
	for d := range exchange.Direction(2) {
		s.End(d, at(len(chunks)), false)
	}
	s.Close(at(len(chunks)))
}

// wantAll checks that a connection was read whole.
func wantAll(t testing.TB, r *recording, h *heard, loss exchange.Loss) {
	t.Helper()
	for d := range exchange.Direction(2) {
		if got := h.bytes[d].String(); got != r.sent(d) {
			t.Errorf("direction %d: %d bytes %.60q, want %d bytes %.60q", d, len(got), got, len(r.sent(d)), r.sent(d))
		}
		if h.ends[d] != 1 || len(h.gaps[d]) > 0 {
			t.Errorf("direction %d: %d ends and gaps %v, want one end and none", d, h.ends[d], h.gaps[d])
		}
	}
	if len(loss) > 0 || h.closed != 1 {
		t.Errorf("loss %v, closed %d times; want none, and once", loss, h.closed)
	}
}

// wantLoss checks that a loss was counted once, and the stream ended properly.
func wantLoss(t testing.TB, h *heard, loss exchange.Loss, cause exchange.Cause) {
	t.Helper()
	if len(loss) != 1 || loss[cause] != 1 || h.closed != 1 {
		t.Errorf("loss %v, closed %d times; want 1 of %s, and once", loss, h.closed, cause)
	}
}

// tap records what one end of a connection writes.
type tap struct {
	net.Conn
	server bool
	to     *recording
	mu     *sync.Mutex
}

func (t tap) Write(b []byte) (int, error) {
	t.mu.Lock()
	t.to.Chunks = append(t.to.Chunks, chunk{t.server, bytes.Clone(b)})
	t.mu.Unlock()
	return t.Conn.Write(b)
}

// record makes a connection with crypto/tls: the client sends the parts in turn, and the server answers each.
func record(t testing.TB, client, server *cryptotls.Config, parts ...string) recording {
	t.Helper()
	var r recording
	var mu sync.Mutex
	keys := &bytes.Buffer{}
	client = client.Clone()
	client.KeyLogWriter, client.InsecureSkipVerify, client.ServerName = keys, true, "shop.test"
	a, b := pipe(t)
	c := cryptotls.Client(tap{a, false, &r, &mu}, client)
	s := cryptotls.Server(tap{b, true, &r, &mu}, server)
	done := make(chan error, 1)
	go func() { done <- answer(s, parts) }()
	for _, p := range parts {
		if err := ask(c, p); err != nil {
			t.Fatal(err)
		}
		r.Client += p
		r.Server += reply(p)
	}
	if err := errors.Join(c.CloseWrite(), <-done); err != nil {
		t.Fatal(err)
	}
	r.Keys = keys.String()
	return r
}

// pipe is a connection on loopback, whose buffers let both ends close at once.
func pipe(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func reply(part string) string { return "re: " + part }

func ask(c net.Conn, part string) error {
	if _, err := io.WriteString(c, part); err != nil {
		return err
	}
	return expect(c, reply(part))
}

func expect(c net.Conn, want string) error {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != want {
		return errors.New("the connection itself failed")
	}
	return nil
}

func answer(s *cryptotls.Conn, parts []string) error {
	for _, p := range parts {
		if err := expect(s, p); err != nil {
			return err
		}
		if _, err := io.WriteString(s, reply(p)); err != nil {
			return err
		}
	}
	return s.CloseWrite()
}

var certificates = sync.OnceValue(func() (c struct{ rsa, ecdsa cryptotls.Certificate }) {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"shop.test"}}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	ofRSA, err := x509.CreateCertificate(rand.Reader, template, template, r.Public(), r)
	if err != nil {
		panic(err)
	}
	ofECDSA, err := x509.CreateCertificate(rand.Reader, template, template, e.Public(), e)
	if err != nil {
		panic(err)
	}
	c.rsa = cryptotls.Certificate{Certificate: [][]byte{ofRSA}, PrivateKey: r}
	c.ecdsa = cryptotls.Certificate{Certificate: [][]byte{ofECDSA}, PrivateKey: e}
	return c
})

// configs are those of both ends, for one version and at most one suite.
func configs(version uint16, suite uint16) (client, server *cryptotls.Config) {
	client = &cryptotls.Config{MinVersion: version, MaxVersion: version}
	if suite != 0 {
		client.CipherSuites = []uint16{suite}
	}
	server = client.Clone()
	server.Certificates = []cryptotls.Certificate{certificates().ecdsa, certificates().rsa}
	return client, server
}

var suites12 = []uint16{
	cryptotls.TLS_RSA_WITH_AES_128_GCM_SHA256, cryptotls.TLS_RSA_WITH_AES_256_GCM_SHA384,
	cryptotls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, cryptotls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	cryptotls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, cryptotls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	cryptotls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, cryptotls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
}

func TestCryptoTLS(t *testing.T) {
	tests := map[string]func(t *testing.T) recording{
		"TLS 1.3": func(t *testing.T) recording {
			client, server := configs(cryptotls.VersionTLS13, 0)
			return record(t, client, server, "one", "two")
		},
		"HelloRetryRequest": func(t *testing.T) recording {
			client, server := configs(cryptotls.VersionTLS13, 0)
			client.CurvePreferences = []cryptotls.CurveID{cryptotls.X25519, cryptotls.CurveP384}
			server.CurvePreferences = []cryptotls.CurveID{cryptotls.CurveP384}
			r := record(t, client, server, "one", "two")
			wantRetry(t, &r)
			return r
		},
		"ALPN": func(t *testing.T) recording {
			client, server := configs(cryptotls.VersionTLS13, 0)
			client.NextProtos, server.NextProtos = []string{"h2", "http/1.1"}, []string{"h2"}
			return record(t, client, server, "one", "two")
		},
		"big data 1.3": func(t *testing.T) recording {
			client, server := configs(cryptotls.VersionTLS13, 0)
			return record(t, client, server, strings.Repeat("0123456789", 30_000), strings.Repeat("x", 70_000))
		},
		"big data 1.2": func(t *testing.T) recording {
			client, server := configs(cryptotls.VersionTLS12, suites12[4])
			return record(t, client, server, strings.Repeat("0123456789", 30_000), strings.Repeat("x", 70_000))
		},
	}
	for _, v := range []uint16{cryptotls.VersionTLS12, cryptotls.VersionTLS13} {
		tests["client certificate "+cryptotls.VersionName(v)] = func(t *testing.T) recording {
			client, server := configs(v, 0)
			server.ClientAuth = cryptotls.RequireAnyClientCert
			client.Certificates = []cryptotls.Certificate{certificates().rsa}
			return record(t, client, server, "one", "two")
		}
	}
	tests["resumption"] = func(t *testing.T) recording {
		client, server := configs(cryptotls.VersionTLS13, 0)
		client.ClientSessionCache = cryptotls.NewLRUClientSessionCache(1)
		record(t, client, server, "first")
		resumed := false
		server.VerifyConnection = func(s cryptotls.ConnectionState) error { resumed = s.DidResume; return nil }
		r := record(t, client, server, "one", "two")
		if !resumed {
			t.Fatal("the session was not resumed")
		}
		return r
	}
	for _, id := range suites12 {
		tests[cryptotls.CipherSuiteName(id)] = func(t *testing.T) recording {
			client, server := configs(cryptotls.VersionTLS12, id)
			return record(t, client, server, "one", "two")
		}
	}
	for name, make := range tests {
		t.Run(name, func(t *testing.T) {
			r := make(t)
			s, h, loss := listen(t, keysOf(t, r.Keys))
			play(s, r.Chunks)
			wantAll(t, &r, h, loss)
		})
	}
}

func wantRetry(t *testing.T, r *recording) {
	t.Helper()
	for _, c := range r.Chunks {
		if c.Server {
			if !bytes.Contains(c.Bytes, retryRandom[:]) {
				t.Fatal("the server sent no HelloRetryRequest")
			}
			return
		}
	}
}

func fixture(t testing.TB, name string) recording {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var r recording
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// fixtures are connections of OpenSSL. crypto/tls logs no secret of a TLS 1.2 session that is resumed; OpenSSL does.
var fixtures = []string{"tls13-aes256", "tls13-chacha20", "tls13-padded", "tls13-key-updates",
	"tls13-early-taken", "tls13-early-refused", "tls13-early-retried", "tls12-resumption"}

func TestOpenSSL(t *testing.T) {
	for _, name := range fixtures {
		t.Run(name, func(t *testing.T) {
			r := fixture(t, name)
			s, h, loss := listen(t, keysOf(t, r.Keys))
			play(s, r.Chunks)
			wantAll(t, &r, h, loss)
		})
	}
}

// TestSplit cuts connections in pieces of every size that matters: the plaintext stays the same.
func TestSplit(t *testing.T) {
	client, server := configs(cryptotls.VersionTLS12, suites12[3])
	recordings := map[string]recording{"tls12": record(t, client, server, "one", "two")}
	for _, name := range fixtures {
		recordings[name] = fixture(t, name)
	}
	for name, r := range recordings {
		t.Run(name, func(t *testing.T) {
			for n := 1; n < 400; n++ {
				cut := r.split(n)
				s, h, loss := listen(t, keysOf(t, r.Keys))
				play(s, cut.Chunks)
				if wantAll(t, &r, h, loss); t.Failed() {
					t.Fatalf("in pieces of %d bytes", n)
				}
			}
		})
	}
}

// TestOneDirectionFirst gives all of a direction before the other one: what is read must not depend on it.
func TestOneDirectionFirst(t *testing.T) {
	client, server := configs(cryptotls.VersionTLS12, suites12[3])
	recordings := map[string]recording{"tls12": record(t, client, server, "one", "two")}
	for _, name := range fixtures {
		recordings[name] = fixture(t, name)
	}
	for name, r := range recordings {
		for _, serverFirst := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s server first %v", name, serverFirst), func(t *testing.T) {
				var first, second []chunk
				for _, c := range r.Chunks {
					if c.Server == serverFirst {
						first = append(first, c)
					} else {
						second = append(second, c)
					}
				}
				s, h, loss := listen(t, keysOf(t, r.Keys))
				play(s, append(first, second...))
				wantAll(t, &r, h, loss)
			})
		}
	}
}

// TestOrder checks that Next learns of requests and answers in the order in which they were sent, at the time of the packet
// that made each record whole; early data at the time when it came.
func TestOrder(t *testing.T) {
	r := fixture(t, "tls13-early-taken")
	s, h, loss := listen(t, keysOf(t, r.Keys))
	play(s, r.Chunks)
	wantAll(t, &r, h, loss)
	want := []exchange.Direction{exchange.FromClient, exchange.FromClient, exchange.FromServer}
	if fmt.Sprint(h.order) != fmt.Sprint(want) {
		t.Errorf("data of directions %v, want %v", h.order, want)
	}
	if !h.times[0].Equal(at(0)) {
		t.Errorf("early data at %v, want %v", h.times[0], at(0))
	}

	cut := fixture(t, "tls13-aes256")
	for i, c := range cut.Chunks { // the request's record in two packets
		if !c.Server && i > 3 {
			cut.Chunks = append(append(cut.Chunks[:i:i], chunk{false, c.Bytes[:7]}, chunk{false, c.Bytes[7:]}), cut.Chunks[i+1:]...)
			s, h, _ := listen(t, keysOf(t, cut.Keys))
			play(s, cut.Chunks)
			if len(h.times) == 0 || !h.times[0].Equal(at(i+1)) {
				t.Errorf("data at %v, want that of packet %d first", h.times, i+1)
			}
			return
		}
	}
	t.Error("the fixture has no request")
}

func TestRenegotiation(t *testing.T) {
	r := fixture(t, "tls12-renegotiation")
	s, h, loss := listen(t, keysOf(t, r.Keys))
	play(s, r.Chunks)
	wantLoss(t, h, loss, exchange.TLSUnreadable)
	for d := range exchange.Direction(2) {
		if got := h.bytes[d].String(); !strings.HasPrefix(r.sent(d), got) || !strings.Contains(got, "one\n") || strings.Contains(got, "two") {
			t.Errorf("direction %d: %q, want what came before the renegotiation", d, got)
		}
		if len(h.gaps[d]) != 1 || h.gaps[d][0] != -1 || h.ends[d] != 1 {
			t.Errorf("direction %d: gaps %v, %d ends; want one gap of unknown size, one end", d, h.gaps[d], h.ends[d])
		}
	}
}

func TestUnreadable(t *testing.T) {
	tests := map[string]struct {
		version, suite uint16
		change         func(r *recording)
		cause          exchange.Cause
	}{
		"CBC":             {cryptotls.VersionTLS12, cryptotls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, nil, exchange.TLSUnreadable},
		"TLS 1.0":         {cryptotls.VersionTLS10, cryptotls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, nil, exchange.TLSUnreadable},
		"no keys 1.3":     {cryptotls.VersionTLS13, 0, func(r *recording) { r.Keys = "" }, exchange.TLSWithoutKeys},
		"no keys 1.2":     {cryptotls.VersionTLS12, suites12[0], func(r *recording) { r.Keys = "" }, exchange.TLSWithoutKeys},
		"joined midway":   {cryptotls.VersionTLS13, 0, func(r *recording) { r.Chunks = r.Chunks[3:] }, exchange.TLSUnreadable},
		"answers only":    {cryptotls.VersionTLS13, 0, func(r *recording) { r.Chunks = only(r.Chunks, true) }, exchange.TLSUnreadable},
		"requests only":   {cryptotls.VersionTLS12, suites12[0], func(r *recording) { r.Chunks = only(r.Chunks, false) }, exchange.TLSUnreadable},
		"not TLS":         {cryptotls.VersionTLS13, 0, func(r *recording) { r.Chunks = []chunk{{false, []byte("GET / HTTP/1.1\r\n\r\n")}} }, exchange.TLSUnreadable},
		"other keys":      {cryptotls.VersionTLS12, suites12[0], func(r *recording) { r.Keys = r.Keys[:len(r.Keys)-97] + strings.Repeat("00", 48) }, exchange.TLSUnreadable},
		"handshake keys":  {cryptotls.VersionTLS13, 0, func(r *recording) { r.Keys = without(r.Keys, "_TRAFFIC_SECRET_0") }, exchange.TLSWithoutKeys},
		"one-sided 1.3":   {cryptotls.VersionTLS13, 0, func(r *recording) { r.Keys = without(r.Keys, "SERVER_HANDSHAKE") }, exchange.TLSWithoutKeys},
		"wrong hash size": {cryptotls.VersionTLS13, 0, func(r *recording) { r.Keys = lengthen(r.Keys) }, exchange.TLSUnreadable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client, server := configs(tt.version, tt.suite)
			r := record(t, client, server, "one", "two")
			if tt.change != nil {
				tt.change(&r)
			}
			s, h, loss := listen(t, keysOf(t, r.Keys))
			play(s, r.Chunks)
			wantLoss(t, h, loss, tt.cause)
			if n := h.bytes[0].Len() + h.bytes[1].Len() + len(h.gaps[0]) + len(h.gaps[1]); n > 0 {
				t.Errorf("Next was told of it: %d", n)
			}
			if h.ends != [2]int{1, 1} {
				t.Errorf("%v ends, want one each", h.ends)
			}
		})
	}
}

func only(chunks []chunk, server bool) (out []chunk) {
	for _, c := range chunks {
		if c.Server == server {
			out = append(out, c)
		}
	}
	return out
}

// without takes the lines with a label out of a key log.
func without(keys, label string) string {
	var out []string
	for line := range strings.Lines(keys) {
		if !strings.Contains(line, label) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// lengthen gives all secrets a size that their suite has not.
func lengthen(keys string) string {
	return strings.ReplaceAll(keys, "\n", strings.Repeat("ab", 16)+"\n")
}

// TestDamaged flips a bit of the server's last record with data: it is not told, nor what follows; the client still is.
func TestDamaged(t *testing.T) {
	for name, version := range map[string]uint16{"1.2": cryptotls.VersionTLS12, "1.3": cryptotls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			client, server := configs(version, 0)
			r := record(t, client, server, "one", "two", "three")
			i := last(r.Chunks, true, len(reply("two")))
			r.Chunks[i].Bytes[20] ^= 1
			s, h, loss := listen(t, keysOf(t, r.Keys))
			play(s, r.Chunks)
			wantLoss(t, h, loss, exchange.TLSUnreadable)
			if got := h.bytes[exchange.FromServer].String(); got != reply("one") || fmt.Sprint(h.gaps[exchange.FromServer]) != "[-1]" {
				t.Errorf("%q and gaps %v of the server, want the first answer and a gap", got, h.gaps[exchange.FromServer])
			}
			if got := h.bytes[exchange.FromClient].String(); got != r.Client {
				t.Errorf("%q of the client, want %q", got, r.Client)
			}
		})
	}
}

// last finds the record with n bytes of data; the tests give no two the same size.
func last(chunks []chunk, server bool, n int) int {
	for i := len(chunks) - 1; i >= 0; i-- {
		if body := len(chunks[i].Bytes) - headerSize; chunks[i].Server == server && (body == n+17 || body == n+24) {
			return i
		}
	}
	panic("no such record")
}

func TestGap(t *testing.T) {
	tests := map[string]struct {
		version  uint16
		from, to int // of the record's bytes; -1 its end
		size     int64
		readable bool
	}{
		"body 1.2":             {cryptotls.VersionTLS12, 10, 20, int64(len(reply("two"))), true},
		"body 1.3":             {cryptotls.VersionTLS13, 10, 20, -1, true},
		"to the end 1.2":       {cryptotls.VersionTLS12, 5, -1, int64(len(reply("two"))), true},
		"to the end 1.3":       {cryptotls.VersionTLS13, 5, -1, -1, true},
		"last byte":            {cryptotls.VersionTLS13, 23, 24, -1, true},
		"in the header":        {cryptotls.VersionTLS13, 3, 20, -1, false},
		"the whole record 1.2": {cryptotls.VersionTLS12, 0, -1, -1, false},
		"the whole record 1.3": {cryptotls.VersionTLS13, 0, -1, -1, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			suite := uint16(0)
			if tt.version == cryptotls.VersionTLS12 {
				suite = suites12[4]
			}
			client, server := configs(tt.version, suite)
			r := record(t, client, server, "one", "two", "three")
			s, h, loss := listen(t, keysOf(t, r.Keys))
			broken := last(r.Chunks, true, len(reply("two")))
			for i, c := range r.Chunks {
				to := tt.to
				if to < 0 {
					to = len(c.Bytes)
				}
				if i != broken {
					s.Data(c.from(), c.Bytes, at(i))
					continue
				}
				s.Data(c.from(), c.Bytes[:tt.from], at(i))
				s.Gap(c.from(), int64(to-tt.from), at(i))
				s.Data(c.from(), c.Bytes[to:], at(i))
			}
			s.Close(at(len(r.Chunks)))
			want := reply("one")
			if tt.readable {
				want += reply("three")
			}
			if got := h.bytes[exchange.FromServer].String(); got != want {
				t.Errorf("%q of the server, want %q", got, want)
			}
			if got := fmt.Sprint(h.gaps[exchange.FromServer]); got != fmt.Sprint([]int64{tt.size}) {
				t.Errorf("gaps %v, want one of %d", got, tt.size)
			}
			if got := h.bytes[exchange.FromClient].String(); got != r.Client {
				t.Errorf("%q of the client, want %q", got, r.Client)
			}
			if got := loss[exchange.TLSUnreadable] == 0; got != tt.readable {
				t.Errorf("loss %v, readable should be %v", loss, tt.readable)
			}
		})
	}
}

// TestGapInPieces breaks one record twice.
func TestGapInPieces(t *testing.T) {
	client, server := configs(cryptotls.VersionTLS13, 0)
	r := record(t, client, server, "one", "two", "three")
	s, h, loss := listen(t, keysOf(t, r.Keys))
	broken := last(r.Chunks, true, len(reply("two")))
	for i, c := range r.Chunks {
		if i != broken {
			s.Data(c.from(), c.Bytes, at(i))
			continue
		}
		s.Data(c.from(), c.Bytes[:8], at(i))
		s.Gap(c.from(), 2, at(i))
		s.Data(c.from(), c.Bytes[10:12], at(i))
		s.Gap(c.from(), int64(len(c.Bytes)-12), at(i))
	}
	s.Close(at(0))
	if got := h.bytes[exchange.FromServer].String(); got != reply("one")+reply("three") || len(loss) > 0 || len(h.gaps[1]) != 1 {
		t.Errorf("%q, gaps %v, loss %v; want the first and the third answer and one gap", got, h.gaps[1], loss)
	}
}

// TestEnds checks the ends of directions that are no close_notify.
func TestEnds(t *testing.T) {
	client, server := configs(cryptotls.VersionTLS13, 0)
	r := record(t, client, server, "one", "two")
	keys := keysOf(t, r.Keys)
	through := func(n, cut int) (exchange.Stream, *heard) {
		s, h, _ := listen(t, keys)
		for i, c := range r.Chunks[:n+1] {
			if i == n {
				c.Bytes = c.Bytes[:len(c.Bytes)-cut]
			}
			s.Data(c.from(), c.Bytes, at(i))
		}
		return s, h
	}
	answer := last(r.Chunks, true, len(reply("two")))
	t.Run("FIN", func(t *testing.T) {
		s, h := through(answer, 0)
		s.End(exchange.FromServer, at(0), false)
		if h.ends != [2]int{0, 1} || h.reset || len(h.gaps[1]) > 0 {
			t.Errorf("ends %v, reset %v, gaps %v; want the server's end", h.ends, h.reset, h.gaps)
		}
	})
	t.Run("FIN within a record", func(t *testing.T) {
		s, h := through(answer, 1)
		s.End(exchange.FromServer, at(0), false)
		if h.ends != [2]int{0, 1} || fmt.Sprint(h.gaps[1]) != "[-1]" {
			t.Errorf("ends %v, gaps %v; want a gap before the server's end", h.ends, h.gaps)
		}
	})
	t.Run("RST", func(t *testing.T) {
		s, h := through(answer, 0)
		s.End(exchange.FromClient, at(0), true)
		s.Close(at(0))
		if h.ends != [2]int{1, 1} || !h.reset || h.closed != 1 {
			t.Errorf("ends %v, reset %v, closed %d; want both ended by a reset", h.ends, h.reset, h.closed)
		}
	})
	t.Run("RST behind close_notify", func(t *testing.T) {
		s, h := through(answer+1, 0)
		from := r.Chunks[answer+1].from()
		if h.ends[from] != 1 {
			t.Fatalf("ends %v, want that of direction %d", h.ends, from)
		}
		s.End(from, at(0), true)
		if h.ends != [2]int{1, 1} || !h.reset {
			t.Errorf("ends %v, reset %v; want the other direction ended by a reset", h.ends, h.reset)
		}
	})
}

func TestRefusedHandshakeLosesNothing(t *testing.T) {
	client, _ := configs(cryptotls.VersionTLS13, 0)
	_, server := configs(cryptotls.VersionTLS12, 0)
	var r recording
	var mu sync.Mutex
	a, b := pipe(t)
	client.InsecureSkipVerify = true
	failed := make(chan error, 1)
	go func() { failed <- cryptotls.Server(tap{b, true, &r, &mu}, server).Handshake() }()
	if err := cryptotls.Client(tap{a, false, &r, &mu}, client).Handshake(); err == nil {
		t.Fatal("the handshake did not fail")
	}
	<-failed
	s, h, loss := listen(t, NewKeys())
	play(s, r.Chunks)
	if len(loss) > 0 || h.closed != 1 || !h.reset {
		t.Errorf("loss %v, closed %d, reset %v; want no loss and the alert as a reset", loss, h.closed, h.reset)
	}
}
