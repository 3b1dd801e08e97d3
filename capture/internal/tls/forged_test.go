package tls

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"umbra/capture/internal/exchange"
)

// forger writes a TLS 1.3 connection by hand, so that it can be wrong.
type forger struct {
	t      testing.TB
	log    strings.Builder
	chunks []chunk
	keys   [2]*opener // that seal
}

var traffic = map[label]string{earlySecret: "CLIENT_EARLY_TRAFFIC_SECRET", clientHandshake: "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
	serverHandshake: "SERVER_HANDSHAKE_TRAFFIC_SECRET", clientTraffic: "CLIENT_TRAFFIC_SECRET_0", serverTraffic: "SERVER_TRAFFIC_SECRET_0"}

func secretOf(l label) []byte { return bytes.Repeat([]byte{byte(l)}, 32) }

func forge(t testing.TB) *forger {
	f := &forger{t: t}
	for l, name := range traffic {
		fmt.Fprintf(&f.log, "%s %s %s\n", name, someRandom, hex.EncodeToString(secretOf(l)))
	}
	return f
}

// use begins a key.
func (f *forger) use(server bool, l label) {
	o, err := aes128.opener13(secretOf(l))
	if err != nil {
		f.t.Fatal(err)
	}
	f.keys[direction(server)] = o
}

func direction(server bool) exchange.Direction { return chunk{Server: server}.from() }

func (f *forger) plain(server bool, kind byte, body []byte) {
	record := append([]byte{kind, 3, 3}, binary.BigEndian.AppendUint16(nil, uint16(len(body)))...)
	f.chunks = append(f.chunks, chunk{server, append(record, body...)})
}

// seal writes a record; inner is the content, its type and the padding.
func (f *forger) seal(server bool, inner ...byte) {
	o := f.keys[direction(server)]
	header := binary.BigEndian.AppendUint16([]byte{applicationData, 3, 3}, uint16(len(inner)+tagSize))
	o.setNonce(header)
	o.seq++
	f.chunks = append(f.chunks, chunk{server, o.aead.Seal(header, o.nonce[:], inner, header)})
}

// message writes a handshake message.
func message(kind byte, body ...byte) []byte {
	return append([]byte{kind, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

func (f *forger) helloOf(server bool, extensions ...byte) []byte {
	r := randomOf(f.t)
	body := append([]byte{3, 3}, r[:]...)
	body = append(body, 0) // no session
	if server {
		body = append(body, 0x13, 0x01, 0)
		extensions = append([]byte{0, extensionSupportedVersions, 0, 2, 3, 4}, extensions...)
	} else {
		body = append(body, 0, 2, 0x13, 0x01, 1, 0)
	}
	body = append(binary.BigEndian.AppendUint16(body, uint16(len(extensions))), extensions...)
	return message(1+byte(direction(server)), body...)
}

var withEarly = []byte{0, extensionEarlyData, 0, 0}

// hellos writes both hellos; the server goes on under its handshake key.
func (f *forger) hellos(extensions ...byte) {
	f.plain(false, handshake, f.helloOf(false, extensions...))
	f.plain(true, handshake, f.helloOf(true))
	f.use(true, serverHandshake)
	f.use(false, clientHandshake)
}

// finish ends the handshake of a direction.
func (f *forger) finish(server bool) {
	f.seal(server, append(message(finished, 1, 2, 3), handshake)...)
	f.use(server, clientTraffic+label(direction(server)))
}

// begun is a connection behind its handshake.
func (f *forger) begun() {
	f.hellos()
	f.seal(true, append(message(encryptedExtensions, 0, 0), handshake)...)
	f.finish(true)
	f.finish(false)
}

func (f *forger) recording(client, server string) recording {
	return recording{Keys: f.log.String(), Client: client, Server: server, Chunks: f.chunks}
}

var greeting = append([]byte("hi"), applicationData)

func TestForged(t *testing.T) {
	split := func(b []byte, each func(b byte)) {
		for _, x := range b {
			each(x)
		}
	}
	tests := map[string]func(f *forger){
		"as it should be": func(f *forger) { f.begun() },
		"messages in records of a byte": func(f *forger) {
			split(f.helloOf(false), func(b byte) { f.plain(false, handshake, []byte{b}) })
			split(f.helloOf(true), func(b byte) { f.plain(true, handshake, []byte{b}) })
			f.use(true, serverHandshake)
			f.use(false, clientHandshake)
			split(append(message(encryptedExtensions, 0, 0), message(finished, 1, 2)...), func(b byte) { f.seal(true, b, handshake) })
			f.use(true, serverTraffic)
			f.finish(false)
		},
		"messages in one record": func(f *forger) {
			f.hellos()
			both := append(message(encryptedExtensions, 0, 0), message(finished, 1, 2)...)
			f.seal(true, append(both, handshake)...)
			f.use(true, serverTraffic)
			f.finish(false)
		},
		"padding and empty records": func(f *forger) {
			f.begun()
			f.seal(false, applicationData, 0, 0, 0)
			f.seal(false, applicationData)
		},
		"user_canceled": func(f *forger) {
			f.begun()
			f.seal(false, 1, userCanceled, alert)
		},
		"tickets and a late client certificate": func(f *forger) {
			f.begun()
			f.seal(true, append(message(4, make([]byte, 300)...), handshake)...)
			f.seal(false, append(message(11, 1, 2, 3), handshake)...)
			f.seal(false, append(message(finished, 1, 2, 3), handshake)...)
		},
		"refused early data": func(f *forger) {
			f.plain(false, handshake, f.helloOf(false, withEarly...))
			f.use(false, earlySecret)
			f.seal(false, append([]byte("never"), applicationData)...)
			f.seal(false, append([]byte("taken"), applicationData)...)
			f.plain(true, handshake, f.helloOf(true))
			f.use(true, serverHandshake)
			f.seal(true, append(message(encryptedExtensions, 0, 0), handshake)...)
			f.finish(true)
			f.use(false, clientHandshake)
			f.finish(false)
		},
	}
	for name, write := range tests {
		t.Run(name, func(t *testing.T) {
			f := forge(t)
			write(f)
			f.seal(false, greeting...)
			f.seal(true, greeting...)
			r := f.recording("hi", "hi")
			s, h, loss := listen(t, keysOf(t, r.Keys))
			play(s, r.Chunks)
			wantAll(t, &r, h, loss)
		})
	}
}

// TestEarlyBeforeAnswer has the server take early data and answer it in one packet: Next must learn of the request first.
func TestEarlyBeforeAnswer(t *testing.T) {
	f := forge(t)
	f.plain(false, handshake, f.helloOf(false, withEarly...))
	f.use(false, earlySecret)
	f.seal(false, greeting...)
	flight := len(f.chunks)
	f.plain(true, handshake, f.helloOf(true))
	f.use(true, serverHandshake)
	f.seal(true, append(message(encryptedExtensions, append([]byte{0, 4}, withEarly...)...), handshake)...)
	f.finish(true)
	f.seal(true, greeting...)
	for _, c := range f.chunks[flight+1:] {
		f.chunks[flight].Bytes = append(f.chunks[flight].Bytes, c.Bytes...)
	}
	f.chunks = f.chunks[:flight+1]
	r := f.recording("hi", "hi")
	s, h, loss := listen(t, keysOf(t, r.Keys))
	play(s, r.Chunks)
	wantAll(t, &r, h, loss)
	if len(h.order) != 2 || h.order[0] != exchange.FromClient {
		t.Errorf("order %v, want the client's first", h.order)
	}
}

func TestForgedWrong(t *testing.T) {
	tests := map[string]struct {
		write func(f *forger)
		cause exchange.Cause
	}{
		"a record of zeros":              {func(f *forger) { f.begun(); f.seal(false, 0, 0, 0) }, exchange.TLSUnreadable},
		"a record too long":              {func(f *forger) { f.begun(); f.plain(false, applicationData, make([]byte, maxRecord)) }, exchange.TLSUnreadable},
		"a record too short":             {func(f *forger) { f.begun(); f.plain(false, applicationData, make([]byte, 3)) }, exchange.TLSUnreadable},
		"plaintext behind the handshake": {func(f *forger) { f.begun(); f.plain(false, alert, []byte{1, 0}) }, exchange.TLSUnreadable},
		"an unknown content type":        {func(f *forger) { f.begun(); f.seal(false, 1, 99) }, exchange.TLSUnreadable},
		"a long alert":                   {func(f *forger) { f.begun(); f.seal(false, 1, 0, 0, alert) }, exchange.TLSUnreadable},
		"more behind a KeyUpdate":        {func(f *forger) { f.begun(); f.seal(false, append(message(keyUpdate, 0), 4, handshake)...) }, exchange.TLSUnreadable},
		"data within a message":          {func(f *forger) { f.begun(); f.seal(false, 4, 0, 0, 9, handshake); f.seal(false, greeting...) }, exchange.TLSUnreadable},
		"data in the handshake":          {func(f *forger) { f.hellos(); f.seal(false, greeting...) }, exchange.TLSUnreadable},
		"data in plaintext":              {func(f *forger) { f.plain(false, applicationData, []byte("hi")) }, exchange.TLSUnreadable},
		"a hello too long":               {hugeHello, exchange.TLSUnreadable},
		"a hello cut":                    {func(f *forger) { f.plain(false, handshake, message(1, 3, 3)) }, exchange.TLSUnreadable},
		"extensions cut":                 {func(f *forger) { f.plain(false, handshake, f.helloOf(false, 0, 1, 0, 9)) }, exchange.TLSUnreadable},
		"bytes behind the extensions":    {trailing, exchange.TLSUnreadable},
		"a second ClientHello":           {func(f *forger) { f.plain(false, handshake, f.helloOf(false)); f.hellos() }, exchange.TLSUnreadable},
		"another first message":          {func(f *forger) { f.plain(false, handshake, message(finished)) }, exchange.TLSUnreadable},
		"a ServerHello cut": {func(f *forger) {
			f.plain(false, handshake, f.helloOf(false))
			f.plain(true, handshake, message(2, 3, 3))
		}, exchange.TLSUnreadable},
		"more behind the ServerHello": {func(f *forger) {
			f.plain(false, handshake, f.helloOf(false))
			f.plain(true, handshake, append(f.helloOf(true), 8))
		}, exchange.TLSUnreadable},
		"nothing but refused data":     {neverAccepted, exchange.TLSUnreadable},
		"early data of an unknown key": {earlyWithoutKey, exchange.TLSWithoutKeys},
		"early data and no more of either": {func(f *forger) {
			f.plain(false, handshake, f.helloOf(false, withEarly...))
			f.use(false, earlySecret)
			f.seal(false, greeting...)
		}, exchange.TLSUnreadable},
		"too much early data": {tooMuchEarly, exchange.TLSUnreadable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := forge(t)
			tt.write(f)
			k := keysOf(t, f.log.String())
			s, h, loss := listen(t, k)
			play(s, f.chunks)
			wantLoss(t, h, loss, tt.cause)
			if h.bytes[0].Len() > 0 || k.held != 0 || h.ends[0] != 1 {
				t.Errorf("%q of the client, %d bytes held, %d ends; want nothing, none, one", h.bytes[0].String(), k.held, h.ends[0])
			}
		})
	}
}

func hugeHello(f *forger) {
	f.plain(false, handshake, []byte{clientHelloMessage, 0xff, 0xff, 0xff})
	for range 20 {
		f.plain(false, handshake, make([]byte, 1<<14))
	}
}

func trailing(f *forger) {
	hello := f.helloOf(false, withEarly...)
	f.plain(false, handshake, append(message(1, hello[4:]...), 0))
	f.chunks[0].Bytes[headerSize+3]++ // the message's size
}

func refused(f *forger) {
	f.hellos(withEarly...)
	f.seal(true, append(message(encryptedExtensions, 0, 0), handshake)...)
	f.finish(true)
}

func neverAccepted(f *forger) {
	refused(f)
	f.use(false, earlySecret)
	f.seal(false, greeting...)
	f.seal(false, greeting...)
}

func earlyWithoutKey(f *forger) {
	log := without(f.log.String(), "EARLY")
	f.log.Reset()
	f.log.WriteString(log)
	f.hellos(withEarly...)
	f.seal(true, append(message(encryptedExtensions, append([]byte{0, 4}, withEarly...)...), handshake)...)
	f.use(false, earlySecret)
	f.seal(false, greeting...)
}

func tooMuchEarly(f *forger) {
	f.plain(false, handshake, f.helloOf(false, withEarly...))
	f.use(false, earlySecret)
	for range 20 {
		f.seal(false, append(make([]byte, 1<<14), applicationData)...)
	}
	f.plain(true, handshake, f.helloOf(true))
}

// TestFatalAlert ends both directions, as an error does.
func TestFatalAlert(t *testing.T) {
	f := forge(t)
	f.begun()
	f.seal(true, 2, 80, alert)
	f.seal(false, greeting...)
	s, h, loss := listen(t, keysOf(t, f.log.String()))
	play(s, f.chunks)
	if len(loss) > 0 || !h.reset || h.ends != [2]int{1, 1} || h.bytes[0].Len() > 0 {
		t.Errorf("loss %v, reset %v, ends %v, %q; want both ended by a reset and nothing behind", loss, h.reset, h.ends, h.bytes[0].String())
	}
}

// TestLostBeforeKnown loses the server before Next knows of the connection: it is told so as soon as it does.
func TestLostBeforeKnown(t *testing.T) {
	f := forge(t)
	f.begun()
	f.seal(true, 0, 0)
	f.seal(false, greeting...)
	f.seal(false, greeting...)
	for _, size := range []int{1, 1 << 10} {
		r := f.recording("hihi", "")
		cut := r.split(size)
		s, h, loss := listen(t, keysOf(t, r.Keys))
		play(s, cut.Chunks)
		wantLoss(t, h, loss, exchange.TLSUnreadable)
		if got := h.bytes[0].String(); got != "hihi" || fmt.Sprint(h.gaps) != "[[] [-1]]" {
			t.Errorf("%q and gaps %v, want what the client sent and a gap of the server", got, h.gaps)
		}
	}
}
