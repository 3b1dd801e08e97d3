package http2

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2/hpack"

	"umbra/internal/traffic"
)

func TestAppendHead(t *testing.T) {
	const id = "0123456789abcdef"
	tests := map[string]struct {
		request traffic.Request
		scheme  string
		want    []string // name, value, …
	}{
		"a small GET": {
			traffic.Request{Method: "GET", Authority: "shop", Path: "/"}, "http",
			[]string{":method", "GET", ":scheme", "http", ":authority", "shop", ":path", "/", "x-replay-id", id},
		},
		"names in lower case, in their order, twice the same": {
			traffic.Request{Method: "HEAD", Authority: "shop", Path: "/a?b", Headers: []traffic.Header{
				{"Cookie", "a=b"}, {"Accept-Encoding", "gzip, deflate"}, {"cookie", " c=d\t"}, {"Accept-Charset", ""}}}, "https",
			[]string{":method", "HEAD", ":scheme", "https", ":authority", "shop", ":path", "/a?b", "x-replay-id", id,
				"cookie", "a=b", "accept-encoding", "gzip, deflate", "cookie", "c=d", "accept-charset", ""},
		},
		"nothing of the captured connection": {
			traffic.Request{Method: "GET", Authority: "shop", Path: "/", Headers: []traffic.Header{
				{":path", "/x"}, {"Host", "other"}, {"Connection", "close"}, {"Keep-Alive", "x"}, {"Proxy-Connection", "x"},
				{"Upgrade", "h2c"}, {"HTTP2-Settings", "x"}, {"Transfer-Encoding", "chunked"}, {"Trailer", "x"}, {"Expect", "100-continue"},
				{"TE", "gzip"}, {"X-Replay-Id", "old"}, {"Content-Length", "9"}, {"te", "Trailers"}}}, "http",
			[]string{":method", "GET", ":scheme", "http", ":authority", "shop", ":path", "/", "x-replay-id", id, "te", "Trailers"},
		},
		"a body": {
			traffic.Request{Method: "PROPFIND", Authority: "shop", Path: "/", Body: make([]byte, 300)}, "http",
			[]string{":method", "PROPFIND", ":scheme", "http", ":authority", "shop", ":path", "/", "x-replay-id", id, "content-length", "300"},
		},
		"a POST without": {
			traffic.Request{Method: "POST", Path: "*", Headers: []traffic.Header{{"X", strings.Repeat("y", 20000)}}}, "gopher",
			[]string{":method", "POST", ":scheme", "gopher", ":path", "*", "x-replay-id", id, "x", strings.Repeat("y", 20000), "content-length", "0"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b, idAt := AppendHead([]byte("before"), test.scheme, &test.request, id)
			if string(b[:6]) != "before" || string(b[idAt:idAt+len(id)]) != id {
				t.Fatalf("the id is not at %d of %q", idAt, b)
			}
			copy(b[idAt:], "fedcba9876543210")
			test.want[slices.Index(test.want, "x-replay-id")+1] = "fedcba9876543210"
			d := hpack.NewDecoder(4096, nil)
			for range 2 { // a second time, as it must not depend on the first
				if diff := cmp.Diff(test.want, decoded(t, d, b[6:])); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func decoded(t *testing.T, d *hpack.Decoder, b []byte) (got []string) {
	t.Helper()
	fields, err := d.DecodeFull(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		got = append(got, f.Name, f.Value)
	}
	return got
}
