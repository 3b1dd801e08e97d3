package http2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2/hpack"
)

func newDecoder() *decoder {
	d := &decoder{tableSet: tables()}
	d.reset()
	return d
}

// encode makes a block of name, value, name, value, … as x/net's encoder does.
func encode(e *hpack.Encoder, to *bytes.Buffer, fields ...string) []byte {
	to.Reset()
	for i := 0; i < len(fields); i += 2 {
		if err := e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			panic(err) // a bytes.Buffer takes everything
		}
	}
	return bytes.Clone(to.Bytes())
}

// block makes a block that does not depend on those before it.
func block(fields ...string) []byte {
	var b []byte
	for i := 0; i < len(fields); i += 2 {
		b = appendField(b, fields[i], fields[i+1])
	}
	return b
}

func TestHeadSemantics(t *testing.T) {
	tests := map[string]struct {
		fields    []string
		status    int
		length    int64
		malformed bool
	}{
		"plain":              {[]string{":status", "200", "server", "nginx", "content-length", "12"}, 200, 12, false},
		"status in words":    {[]string{":status", "ok"}, 0, -1, true},
		"status of 4 digits": {[]string{":status", "0200"}, 0, -1, true},
		"two":                {[]string{":status", "200", ":status", "200"}, 200, -1, true},
		"status late":        {[]string{"server", "x", ":status", "200"}, 200, -1, true},
		"none":               {[]string{"server", "x"}, 0, -1, false},
		"request's pseudo":   {[]string{":status", "200", ":path", "/"}, 200, -1, true},
		"unknown pseudo":     {[]string{":status", "200", ":x", "/"}, 200, -1, true},
		"upper case":         {[]string{":status", "200", "Server", "x"}, 200, -1, true},
		"no token":           {[]string{":status", "200", "a b", "x"}, 200, -1, true},
		"empty name":         {[]string{":status", "200", "", "x"}, 200, -1, true},
		"connection":         {[]string{":status", "200", "connection", "close"}, 200, -1, true},
		"transfer-encoding":  {[]string{":status", "200", "transfer-encoding", "chunked"}, 200, -1, true},
		"line feed":          {[]string{":status", "200", "x", "a\nb"}, 200, -1, true},
		"equal lengths":      {[]string{":status", "200", "content-length", "7", "content-length", "7"}, 200, 7, false},
		"different lengths":  {[]string{":status", "200", "content-length", "7", "content-length", "8"}, 200, 8, true},
		"length in words":    {[]string{":status", "200", "content-length", "+7"}, 200, -1, true},
		"length too long":    {[]string{":status", "200", "content-length", "1234567890123456789"}, 200, -1, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h, err := newDecoder().decode(block(test.fields...))
			if err != nil {
				t.Fatal(err)
			}
			if h.status != test.status || h.length != test.length || h.malformed != test.malformed {
				t.Errorf("got %+v, want %+v", h, test)
			}
		})
	}
}

func TestBrokenBlocks(t *testing.T) {
	tests := map[string]struct {
		block string
		want  error
	}{
		"index 0":                  {"\x80", errIndex},
		"index beyond the table":   {"\xbe", errIndex},
		"name beyond the table":    {"\x7e\x01a", errIndex},
		"cut behind the name":      {"\x00\x01a", errCut},
		"cut in the value":         {"\x00\x01a\x02b", errCut},
		"cut in an integer":        {"\xff\x80", errCut},
		"integer without end":      {"\xff\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", errInteger},
		"cut in a name's index":    {"\x0f\x80", errCut},
		"cut in a length":          {"\x08\xff\x80", errCut},
		"cut in a table's size":    {"\x3f\x80", errCut},
		"cut in a long code":       {"\x08\x82\xff\xff", errHuffman},
		"padding of 8 bits":        {"\x08\x86\x00\x00\x00\x00\x00\xff", errHuffman},
		"padding of zeros":         {"\x08\x81\x00", errHuffman},
		"end of string":            {"\x08\x84\xff\xff\xff\xff", errHuffman},
		"table beyond the allowed": {"\x3f\xe2\x1f", errUpdate},
		"update behind a field":    {"\x88\x20", errUpdate},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := newDecoder().decode([]byte(test.block)); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// TestHuffmanCode decodes every symbol alone, and every pair of symbols, so each way through the tables.
func TestHuffmanCode(t *testing.T) {
	d := newDecoder()
	check := func(s string) {
		got, err := d.expand(hpack.AppendHuffmanString(nil, s))
		if err != nil || string(got) != s {
			t.Fatalf("%q: got %q, %v", s, got, err)
		}
	}
	all := make([]byte, 0, 2*256)
	for a := range 256 {
		check(string([]byte{byte(a)}))
		for b := range 256 {
			check(string([]byte{byte(a), byte(b)}))
		}
		all = append(all, byte(a), byte(255-a))
	}
	check(string(all))
	check(strings.Repeat("0", 1000)) // the shortest code: the most room
}

// TestTableKeepsStep fills and empties the dynamic table with fields of all sizes, among them the smallest, so that it
// has its most entries, and some that are larger than the table.
func TestTableKeepsStep(t *testing.T) {
	var to bytes.Buffer
	e := hpack.NewEncoder(&to)
	d := newDecoder()
	check := func(fields ...string) {
		t.Helper()
		if h, err := d.decode(encode(e, &to, fields...)); err != nil || h.status != 418 {
			t.Fatalf("%.40q: status %d, %v", fields, h.status, err)
		}
	}
	for i := range 500 {
		check(":status", "418", "x", strings.Repeat("y", i%100))
		check(":status", "418", "x", strings.Repeat("y", i%7), "z", strings.Repeat("z", 50*i%5000))
	}
	for range 300 {
		check(":status", "418", "a", "", "b", "", "c", "")
	}
	e.SetMaxDynamicTableSize(100)
	check(":status", "418", "content-type", "text/html", "server", "nginx")
	e.SetMaxDynamicTableSize(0)
	check(":status", "418", "content-type", "text/html")
	e.SetMaxDynamicTableSize(4096)
	check(":status", "418", "content-type", "text/html")
	check(":status", "418", "content-type", "text/html")
	if d.n != 2 {
		t.Errorf("%d entries, want 2: :status 418 and the type", d.n)
	}
}

// reference says of decoded fields what head says.
func reference(fields []hpack.HeaderField) (status string, malformed bool) {
	var regular bool
	var length string
	for _, f := range fields {
		switch {
		case f.Name == ":status":
			malformed = malformed || status != "" || regular || len(f.Value) != 3 || strings.Trim(f.Value, "0123456789") != "" || f.Value[0] == '0'
			status = f.Value
			continue
		case !httpguts.ValidHeaderFieldName(f.Name) || f.Name != strings.ToLower(f.Name) || strings.ContainsAny(f.Value, "\x00\r\n"):
			malformed = true
		case f.Name == "content-length":
			malformed = malformed || f.Value == "" || len(f.Value) > 18 || strings.Trim(f.Value, "0123456789") != "" ||
				length != "" && strings.TrimLeft(length, "0") != strings.TrimLeft(f.Value, "0")
			length = f.Value
		}
		switch f.Name {
		case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
			malformed = true
		}
		regular = true
	}
	return status, malformed
}

// decodeReference decodes a block with x/net's decoder. It takes the changes of the table's size before the first field
// one by one, as that decoder takes only one of them where the table is not empty, and RFC 7541, 4.2, allows for two.
func decodeReference(d *hpack.Decoder, b []byte) ([]hpack.HeaderField, error) {
	for len(b) > 0 && b[0]&0xe0 == 0x20 {
		n := 1
		if b[0]&0x1f == 0x1f {
			for n < len(b) && b[n]&0x80 != 0 {
				n++
			}
			n = min(n+1, len(b))
		}
		if _, err := d.DecodeFull(b[:n]); err != nil {
			return nil, err
		}
		b = b[n:]
	}
	return d.DecodeFull(b)
}

// FuzzHeaderBlock holds sequences of blocks, each behind its length of two bytes, against x/net's decoder.
func FuzzHeaderBlock(f *testing.F) {
	join := func(blocks ...[]byte) (all []byte) {
		for _, b := range blocks {
			all = append(binary.BigEndian.AppendUint16(all, uint16(len(b))), b...)
		}
		return all
	}
	var to bytes.Buffer
	e := hpack.NewEncoder(&to)
	usual := []string{":status", "200", "server", "nginx", "content-type", "text/html", "content-length", "100"}
	f.Add(join(encode(e, &to, usual...), encode(e, &to, usual...), encode(e, &to, "x", strings.Repeat("y", 5000))))
	e.SetMaxDynamicTableSize(64)
	f.Add(join(encode(e, &to, ":status", "404", "a", "b"), encode(e, &to, ":status", "404", "c", "d")))
	f.Add(join(nginxBlock(), nginxBlock()))
	f.Add(join([]byte("\x20\x3f\xe1\x1f\x88"), []byte("\x48\x03200\xbe"), []byte("\x7e\x03200")))
	f.Add(join([]byte("\x40\x85\xb8\x84\x8d\x36\xa3\x03404"), []byte("\xbe")))
	f.Add(join([]byte("\x08\x82\x10\xff")))
	f.Add(join([]byte("\x40\x01a\x01b\x20"), []byte("\x88\x20")))
	f.Fuzz(func(t *testing.T, all []byte) {
		ours, theirs := newDecoder(), hpack.NewDecoder(tableSize, nil)
		for len(all) >= 2 {
			n := min(int(binary.BigEndian.Uint16(all)), len(all)-2)
			b := all[2 : 2+n]
			all = all[2+n:]
			h, err := ours.decode(b)
			fields, reason := decodeReference(theirs, b)
			if err == errUpdate && reason == nil {
				return // x/net takes a change behind a field where the table is empty, against 4.2
			}
			if (err == nil) != (reason == nil) {
				t.Fatalf("block %x: %v, x/net says %v", b, err, reason)
			}
			if err != nil {
				return
			}
			status, malformed := reference(fields)
			if h.malformed != malformed {
				t.Fatalf("block %x: malformed %v, want %v: %q", b, h.malformed, malformed, fields)
			}
			if !malformed && int64(h.status) != max(0, number([]byte(status))) {
				t.Fatalf("block %x: status %d, want %q", b, h.status, status)
			}
		}
	})
}

// nginxBlock is the head of a small file as nginx sends it: literals that go into the table, Huffman-coded.
func nginxBlock() []byte {
	b := []byte{0x88}
	literal := func(index byte, value string) {
		b = append(b, 0x40|index)
		b = appendInteger(b, 0x80, 7, int(hpack.HuffmanEncodeLength(value)))
		b = hpack.AppendHuffmanString(b, value)
	}
	literal(54, "nginx/1.26.3")
	literal(33, "Tue, 03 Nov 2026 10:11:12 GMT")
	literal(31, "text/html")
	literal(28, "100")
	literal(44, "Mon, 02 Nov 2026 09:08:07 GMT")
	b = append(b, 0)
	b = append(append(b, 0x83), hpack.AppendHuffmanString(nil, "etag")...)
	return appendString(b, `"6547e8a7-64"`)
}
