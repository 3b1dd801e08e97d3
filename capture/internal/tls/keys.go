package tls

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// label says what a secret of the key log is for.
type label uint8

const (
	masterSecret label = iota // TLS 1.2
	earlySecret               // TLS 1.3 from here
	clientHandshake
	serverHandshake
	clientTraffic
	serverTraffic
	labels
)

// labelSet has a bit for each label.
type labelSet uint8

func (s labelSet) has(l label) bool { return s>>l&1 == 1 }
func (s *labelSet) add(l label)     { *s |= 1 << l }

// labelOf knows the labels that are used, as RFC 9850 (SSLKEYLOGFILE) names them. The exporters' secrets are not.
var labelOf = map[string]label{
	"CLIENT_RANDOM":                   masterSecret,
	"CLIENT_EARLY_TRAFFIC_SECRET":     earlySecret,
	"CLIENT_HANDSHAKE_TRAFFIC_SECRET": clientHandshake,
	"SERVER_HANDSHAKE_TRAFFIC_SECRET": serverHandshake,
	"CLIENT_TRAFFIC_SECRET_0":         clientTraffic,
	"SERVER_TRAFFIC_SECRET_0":         serverTraffic,
}

const (
	maxKeyed   = 250_000 // connections whose secrets are held, some 80 MB: those of a million lines of TLS 1.3
	maxKeyLine = 4096    // bytes of a line that are looked at; the longest that matters has some 200
	maxSecret  = 48      // bytes, of a master secret or a SHA-384
)

type random [32]byte

// secret is one line's, zero where there was none.
type secret struct {
	size  uint8
	bytes [maxSecret]byte
}

// Keys holds the secrets of a key log, by the client random of the connection they belong to. All connections of a capture
// share one, and with it the goroutine that reads them and the buffers they decrypt in.
type Keys struct {
	// More, where it is set, is called when a connection's secrets are not there: it may Read more of a key log that grows
	// while it is read. The connection's bytes are held for a while then, and asked for again as more of them come; without
	// More, a secret that is not there when it is needed never will be.
	More func() error

	secrets map[random]*[labels]secret
	order   []random // a ring of at most maxKeyed, oldest at next
	next    int
	err     error // the first of More's
	shared
}

// NewKeys makes an empty store.
func NewKeys() *Keys {
	return &Keys{secrets: map[random]*[labels]secret{}, shared: newShared()}
}

// Read takes the lines of a key log up to r's end. A malformed line is an error that names its number, never what it says;
// the good ones are taken all the same. It may be called again, while connections run too.
func (k *Keys) Read(r io.Reader) error {
	l := newKeyLog(k, r)
	err := l.read()
	if bad := l.endLine(); err == nil {
		err = bad
	}
	return err
}

// Follow takes the lines there are, and sets More to take those that will have been added to r by then. A last line without
// its end is left for the next time. r stays the caller's, to be closed when the capture is over.
func (k *Keys) Follow(r io.Reader) error {
	l := newKeyLog(k, r)
	k.More = l.read
	return l.read()
}

// Err gives the first error that More had.
func (k *Keys) Err() error { return k.err }

// find looks a secret up, and asks More where it misses.
func (k *Keys) find(of *random, l label) ([]byte, bool) {
	if s, ok := k.get(of, l); ok || k.More == nil {
		return s, ok
	}
	if err := k.More(); err != nil && k.err == nil {
		k.err = err
	}
	return k.get(of, l)
}

func (k *Keys) get(of *random, l label) ([]byte, bool) {
	set := k.secrets[*of]
	if set == nil || set[l].size == 0 {
		return nil, false
	}
	return set[l].bytes[:set[l].size], true
}

func (k *Keys) put(of random, l label, s secret) {
	set := k.secrets[of]
	if set == nil {
		set = new([labels]secret)
		k.enlist(of)
		k.secrets[of] = set
	}
	set[l] = s
}

// enlist makes room for a connection's secrets: the oldest go.
func (k *Keys) enlist(of random) {
	if len(k.order) < maxKeyed {
		k.order = append(k.order, of)
		return
	}
	delete(k.secrets, k.order[k.next])
	k.order[k.next] = of
	k.next = (k.next + 1) % maxKeyed
}

// keyLog is a key log that is being read.
type keyLog struct {
	keys *Keys
	from *bufio.Reader
	line int    // lines read
	rest []byte // of a line whose end has not been read
}

func newKeyLog(k *Keys, r io.Reader) *keyLog {
	return &keyLog{keys: k, from: bufio.NewReader(r)}
}

// read takes the whole lines there are by now, and may be called again when there are more; the error is the first.
func (l *keyLog) read() error {
	var first error
	for {
		part, err := l.from.ReadSlice('\n')
		l.rest = append(l.rest, part[:min(len(part), maxKeyLine-len(l.rest))]...)
		switch {
		case err == nil:
			if bad := l.endLine(); first == nil {
				first = bad
			}
		case errors.Is(err, io.EOF):
			return first
		case !errors.Is(err, bufio.ErrBufferFull):
			return errors.Join(first, fmt.Errorf("key log, behind line %d: %w", l.line, err))
		}
	}
}

func (l *keyLog) endLine() error {
	line := bytes.TrimSpace(l.rest)
	l.rest = l.rest[:0]
	l.line++
	if err := l.keys.readLine(line); err != nil {
		return fmt.Errorf("key log, line %d: %w", l.line, err)
	}
	return nil
}

var errKeyLine = errors.New("not a line of a key log: want LABEL, client random and secret as hex digits, as SSLKEYLOGFILE has them")

// readLine takes a line. Its errors name the label at most.
func (k *Keys) readLine(line []byte) error {
	if len(line) == 0 || line[0] == '#' {
		return nil
	}
	name, rest, _ := bytes.Cut(line, []byte(" "))
	if !isLabel(name) {
		return errKeyLine
	}
	l, ok := labelOf[string(name)]
	if !ok {
		return nil
	}
	of, value, _ := bytes.Cut(rest, []byte(" "))
	var r random
	if len(of) != hex.EncodedLen(len(r)) || !unhex(r[:], of) {
		return fmt.Errorf("%s: the client random must be %d hex digits", name, 2*len(r))
	}
	s := secret{size: uint8(min(len(value)/2, 255))}
	if !l.fits(len(value)) || !unhex(s.bytes[:s.size], value) {
		return fmt.Errorf("%s: the secret must be %s", name, l.lengths())
	}
	k.put(r, l, s)
	return nil
}

func isLabel(name []byte) bool {
	for _, b := range name {
		if (b < 'A' || b > 'Z') && (b < '0' || b > '9') && b != '_' {
			return false
		}
	}
	return len(name) > 0
}

func unhex(to, from []byte) bool {
	_, err := hex.Decode(to, from)
	return err == nil
}

// fits tells whether a secret may have so many digits: a master secret has 48 bytes, another one those of its suite's hash.
func (l label) fits(digits int) bool {
	return digits == 96 || digits == 64 && l != masterSecret
}

func (l label) lengths() string {
	if l == masterSecret {
		return "96 hex digits"
	}
	return "64 or 96 hex digits"
}
