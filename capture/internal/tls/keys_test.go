package tls

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	cryptotls "crypto/tls"

	"umbra/capture/internal/exchange"
)

const someRandom = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

func line(label string, secret int) string {
	return label + " " + someRandom + " " + strings.Repeat("5e", secret)
}

func TestKeyLog(t *testing.T) {
	tests := map[string]struct {
		log  string
		want label
		err  string // empty where the secret of want is there
	}{
		"master secret":      {line("CLIENT_RANDOM", 48), masterSecret, ""},
		"upper case digits":  {strings.ToUpper(line("CLIENT_RANDOM", 48)), masterSecret, ""},
		"32 bytes":           {line("SERVER_TRAFFIC_SECRET_0", 32), serverTraffic, ""},
		"48 bytes":           {line("CLIENT_HANDSHAKE_TRAFFIC_SECRET", 48), clientHandshake, ""},
		"early":              {line("CLIENT_EARLY_TRAFFIC_SECRET", 32), earlySecret, ""},
		"comment and blanks": {"# a comment\n\n" + line("CLIENT_TRAFFIC_SECRET_0", 32) + "\n", clientTraffic, ""},
		"CRLF":               {line("SERVER_HANDSHAKE_TRAFFIC_SECRET", 32) + "\r\n\r\n", serverHandshake, ""},
		"unknown labels":     {"EXPORTER_SECRET x y\nRSA 12 34\nNEW_THING\n" + line("CLIENT_RANDOM", 48), masterSecret, ""},
		"short random":       {"#\nCLIENT_RANDOM 0011 " + strings.Repeat("5e", 48), 0, "key log, line 2: CLIENT_RANDOM: the client random must be 64 hex digits"},
		"random no hex":      {"CLIENT_RANDOM " + strings.Repeat("zz", 32) + " " + strings.Repeat("5e", 48), 0, "line 1: CLIENT_RANDOM: the client random"},
		"short master":       {line("CLIENT_RANDOM", 32), 0, "line 1: CLIENT_RANDOM: the secret must be 96 hex digits"},
		"odd secret":         {line("CLIENT_TRAFFIC_SECRET_0", 33), 0, "line 1: CLIENT_TRAFFIC_SECRET_0: the secret must be 64 or 96 hex digits"},
		"no hex":             {line("CLIENT_RANDOM", 47) + "5x", 0, "line 1: CLIENT_RANDOM: the secret"},
		"more fields":        {line("CLIENT_TRAFFIC_SECRET_0", 32) + " more", 0, "line 1: CLIENT_TRAFFIC_SECRET_0: the secret"},
		"label only":         {"CLIENT_RANDOM", 0, "line 1: CLIENT_RANDOM: the client random"},
		"another file":       {"-----BEGIN PRIVATE KEY-----\n", 0, "line 1: not a line of a key log"},
		"endless line":       {line("CLIENT_RANDOM", 1<<20), 0, "line 1: CLIENT_RANDOM: the secret"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			k := NewKeys()
			err := k.Read(strings.NewReader(tt.log))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "5e5e") {
					t.Errorf("error %v, want one with %q and no secret", err, tt.err)
				}
				return
			}
			of := randomOf(t)
			secret, ok := k.find(&of, tt.want)
			if err != nil || !ok || !bytes.Equal(secret, bytes.Repeat([]byte{0x5e}, len(secret))) {
				t.Errorf("secret %x, found %v, error %v", secret, ok, err)
			}
		})
	}
}

func randomOf(t testing.TB) (r random) {
	t.Helper()
	if _, err := hex.Decode(r[:], []byte(someRandom)); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestGoodLinesBesideBadOnes(t *testing.T) {
	k := NewKeys()
	err := k.Read(strings.NewReader("what?\n" + line("CLIENT_RANDOM", 48) + "\nCLIENT_RANDOM\n"))
	if err == nil || !strings.Contains(err.Error(), "line 1:") {
		t.Errorf("error %v, want the first", err)
	}
	of := randomOf(t)
	if _, ok := k.find(&of, masterSecret); !ok {
		t.Error("the good line was not taken")
	}
}

func TestOldestKeysGo(t *testing.T) {
	k := NewKeys()
	of := func(i int) random { return random{byte(i >> 16), byte(i >> 8), byte(i)} }
	for i := range maxKeyed + 2 {
		k.put(of(i), masterSecret, secret{size: maxSecret})
	}
	if len(k.secrets) != maxKeyed {
		t.Errorf("%d connections held, want %d", len(k.secrets), maxKeyed)
	}
	for i, want := range map[int]bool{0: false, 1: false, 2: true, maxKeyed + 1: true} {
		r := of(i)
		if _, ok := k.find(&r, masterSecret); ok != want {
			t.Errorf("keys of connection %d there: %v, want %v", i, ok, want)
		}
	}
}

// TestFollow writes a key log while it is followed, half a line at a time.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	w, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	k := NewKeys()
	whole, of := line("CLIENT_TRAFFIC_SECRET_0", 48), randomOf(t)
	fmt.Fprint(w, "# begun\n", whole[:len(whole)-32]) // the secret might have ended here
	if err := k.Follow(r); err != nil {
		t.Fatal(err)
	}
	if _, ok := k.find(&of, clientTraffic); ok {
		t.Error("half a line was taken")
	}
	fmt.Fprint(w, whole[len(whole)-32:], "\n")
	if s, ok := k.find(&of, clientTraffic); !ok || len(s) != 48 {
		t.Errorf("secret of %d bytes, found %v; want 48", len(s), ok)
	}
	fmt.Fprintln(w, "CLIENT_RANDOM 12")
	if _, ok := k.find(&of, serverTraffic); ok || k.Err() == nil || !strings.Contains(k.Err().Error(), "line 3:") {
		t.Errorf("error %v, found %v; want an error of line 3", k.Err(), ok)
	}
}

// TestLateKeys has the keys come when the connection is under way, or never.
func TestLateKeys(t *testing.T) {
	for name, version := range map[string]uint16{"1.2": cryptotls.VersionTLS12, "1.3": cryptotls.VersionTLS13} {
		client, server := configs(version, 0)
		r := record(t, client, server, "one", "two")
		for late := range len(r.Chunks) + 1 {
			t.Run(fmt.Sprintf("%s with packet %d", name, late), func(t *testing.T) {
				k := NewKeys()
				seen := 0
				k.More = func() error {
					if seen < late {
						return nil
					}
					return k.Read(strings.NewReader(r.Keys))
				}
				s, h, loss := listen(t, k)
				for i, c := range r.Chunks {
					seen = i
					s.Data(c.from(), bytes.Clone(c.Bytes), at(i))
				}
				seen = len(r.Chunks)
				s.End(exchange.FromClient, at(0), false)
				s.End(exchange.FromServer, at(0), false)
				s.Close(at(0))
				wantAll(t, &r, h, loss)
				if k.held != 0 {
					t.Errorf("%d bytes held in the end", k.held)
				}
			})
		}
		t.Run(name+" never", func(t *testing.T) {
			k := NewKeys()
			k.More = func() error { return nil }
			s, h, loss := listen(t, k)
			play(s, r.Chunks)
			wantLoss(t, h, loss, exchange.TLSWithoutKeys)
			if k.held != 0 || h.ends != [2]int{1, 1} {
				t.Errorf("%d bytes held in the end, ends %v", k.held, h.ends)
			}
		})
	}
}

// TestHeldIsBounded lets connections wait for keys that never come.
func TestHeldIsBounded(t *testing.T) {
	client, server := configs(cryptotls.VersionTLS13, 0)
	r := record(t, client, server, strings.Repeat("x", 1<<20))
	k := NewKeys()
	asked := 0
	k.More = func() error { asked++; return nil }
	s, h, loss := listen(t, k)
	highest := 0
	for i, c := range r.Chunks {
		s.Data(c.from(), c.Bytes, at(i))
		highest = max(highest, k.held)
	}
	if highest == 0 || highest > maxHeld || k.held != 0 {
		t.Errorf("%d bytes held at most and %d in the end; want up to %d, and none", highest, k.held, maxHeld)
	}
	before := asked
	s.Data(exchange.FromClient, r.Chunks[0].Bytes, at(0))
	s.Close(at(0))
	wantLoss(t, h, loss, exchange.TLSWithoutKeys)
	if asked != before {
		t.Error("keys were asked for after the connection was given up")
	}
}
