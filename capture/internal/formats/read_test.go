package formats

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"umbra/capture/internal/exchange"
	"umbra/internal/traffic"
)

// told is what a reader gave, a line per request or error, as the tests expect it.
func told(t testing.TB, rows Requests) (out []string) {
	t.Helper()
	for r, err := range rows {
		var e *EntryError
		switch {
		case errors.As(err, &e):
			out = append(out, fmt.Sprintf("%s: %s", e.Cause, err))
		case err != nil:
			out = append(out, "error: "+err.Error())
		default:
			out = append(out, tell(&r))
		}
	}
	return out
}

func tell(r *traffic.Request) string {
	s := fmt.Sprintf("%v [%s] %s %s://%s%s", r.At, r.Session, r.Method, r.Scheme, r.Authority, r.Path)
	for _, h := range r.Headers {
		s += fmt.Sprintf(" %s=%s", h[0], h[1])
	}
	if len(r.Body) > 0 {
		s += fmt.Sprintf(" body=%q", r.Body)
	}
	if r.Response != nil {
		s += fmt.Sprintf(" -> %d %v %.8s", r.Response.Status, r.Response.Latency, r.Response.BodySHA256)
	}
	return strings.TrimSpace(s)
}

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func read(t testing.TB, k Kind, format string, text []byte, o Options) []string {
	t.Helper()
	rows, err := Read(k, format, bytes.NewReader(text), o)
	if err != nil {
		t.Fatal(err)
	}
	return told(t, rows)
}

func openFixture(name string) (io.ReadCloser, error) {
	if name != "order.json" {
		return nil, os.ErrNotExist
	}
	return io.NopCloser(strings.NewReader(`{"sku":1}`)), nil
}

var fixtures = []struct {
	file   string
	kind   Kind
	format string
	want   []string
}{
	{"chromium.har", HAR, "", []string{
		"0s [443] GET https://shop.example.com/?q=a%20b accept=text/html cookie=sid=1 -> 200 50.5ms 2cf24dba",
		"requests_not_replayable: entry 2: the browser's cache answered it",
		"requests_not_replayable: entry 3: it is of a websocket",
		`898ms [443] POST https://shop.example.com/api/orders content-length=13 content-type=application/json body="{\"sku\":\"abc\"}"`,
		"requests_not_replayable: entry 5: the HAR does not hold its body of 9000 bytes byte for byte",
	}},
	{"firefox.har", HAR, "", []string{
		"requests_not_replayable: entry 1: the HAR does not hold its body of 16 bytes byte for byte",
		"0s [page_1] GET http://shop.test:8080/logo.png Host=shop.test:8080 -> 200 5ms 449ba17f",
	}},
	{"nginx-combined.log", Log, "combined", []string{
		"0s [192.0.2.1] GET http://shop.test/?q=%C3%A9 User-Agent=curl/7.88.1 -> 200 0s",
		`0s [192.0.2.2] GET http://shop.test/a"b Referer=https://shop.example.com/\ User-Agent=Mozilla/5.0 (X11; Linux x86_64) "x" -> 404 0s`,
		`requests_malformed: line 3: "\x16\x03\x01\x02\x00\x01" is no request line`,
		"requests_not_replayable: line 4: the log does not say whether the POST had a body: --bodyless lets it through without",
		"4s [192.0.2.4] GET http://shop.test/late",
	}},
	{"apache-combined.log", Log, "combined", []string{
		"0s [198.51.100.4] GET http://shop.test/index.html Referer=http://www.example.com/start.html User-Agent=Mozilla/4.08 [en] (Win98; I ;Nav) -> 200 0s",
		`2s [198.51.100.5] GET http://shop.test/q"uote\ User-Agent=he said "hi" -> 304 0s`,
		"requests_not_replayable: line 3: no HTTP request came: it has no method",
	}},
	{"envoy.log", Log, "envoy", []string{
		"requests_not_replayable: line 1: the log does not hold its body of 154 bytes: --bodyless lets it through without",
		"0s [10.0.35.28] GET http://locations/api/v1/locations?near=1 x-forwarded-for=10.0.35.28 user-agent=nsq2http x-request-id=cc21d9b0-cf5c-432b-8c7e-98aeb7988cd3 -> 200 26ms",
		"650ms [] GET http://locations/gone x-request-id=cc21d9b0-cf5c-432b-8c7e-98aeb7988cd4",
	}},
	{"istio.log", Log, "istio", []string{
		"0s [10.44.1.23:46520] GET http://httpbin:8000/status/418 user-agent=curl/8.5.0 x-request-id=84961386-6d84-929d-98bd-c5aee93b5c88 -> 418 3ms",
		"requests_not_replayable: line 2: no HTTP request came: it has no method",
		"-50ms [10.44.1.23:46522] GET http://httpbin:8000/x x-forwarded-for=203.0.113.9 user-agent=curl/8.5.0 x-request-id=84961386-6d84-929d-98bd-c5aee93b5c89 -> 503 4ms",
	}},
	{"istio.json", EnvoyJSON, "", []string{
		"0s [10.44.1.23:46520] GET http://httpbin:8000/status/418 user-agent=curl/8.5.0 x-request-id=84961386-6d84-929d-98bd-c5aee93b5c88 -> 418 3ms",
		"requests_not_replayable: line 2: the log does not hold its body of 17 bytes: --bodyless lets it through without",
	}},
	{"sample.gor", Gor, "", []string{
		`0s [] POST http://shop.test/api/orders Host=shop.test Transfer-Encoding=chunked body="hello" -> 201 3ms 2689367b`,
		"requests_incomplete: line 30: its body has 3 bytes of 9",
		"-1s [] GET http://other.test/x Host=shop.test",
	}},
	{"targets.http", VegetaHTTP, "", []string{
		"0s [] GET http://shop.test:8080/items?page=1 X-Account-ID=99",
		`0s [] POST http://shop.test/orders Content-Type=application/json body="{\"sku\":1}"`,
		"0s [] GET http://shop.test/plain",
		`lines_unreadable: line 12: "not a header" is not "Name: value"`,
	}},
	{"targets.json", VegetaJSON, "", []string{
		`0s [] POST https://shop.test/orders Accept=a Accept=b Content-Type=text/plain body="FOO"`,
		`lines_unreadable: line 2: "shop.test/no-scheme" is no http or https URL`,
		"0s [] GET http://shop.test/",
	}},
}

func TestReaders(t *testing.T) {
	for _, f := range fixtures {
		t.Run(f.file, func(t *testing.T) {
			text := fixture(t, f.file)
			o := Options{Host: "shop.test", Open: openFixture}
			if diff := cmp.Diff(f.want, read(t, f.kind, f.format, text, o)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			for packer, packed := range map[string][]byte{"gzip": gzipped(t, text), "zstd": zstded(t, text)} {
				if diff := cmp.Diff(f.want, read(t, f.kind, f.format, packed, o)); diff != "" {
					t.Errorf("%s (-want +got)\n%s", packer, diff)
				}
				if r, ok := Recognise(packed, f.file); !ok || r.Kind != f.kind || r.Format != f.format {
					t.Errorf("%s: recognised as %+v, %v", packer, r, ok)
				}
			}
			if r, ok := Recognise(text, "x"); !ok || r.Kind != f.kind || r.Format != f.format {
				t.Errorf("recognised as %+v, %v", r, ok)
			}
		})
	}
}

func gzipped(t testing.TB, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t testing.TB, text []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(text, nil)
}

func TestLogFormats(t *testing.T) {
	for _, c := range []struct{ name, format, line, want string }{
		{"nginx main with duration and connection",
			"log_format main '$remote_addr - $remote_user [$time_local] \"$request\" '\n  '$status $body_bytes_sent \"$http_user_agent\" rt=$request_time c=$connection h=$http_host';",
			`192.0.2.1 - - [02/Mar/2026:09:15:01 +0000] "GET /a HTTP/1.1" 200 5 "x y" rt=0.250 c=17 h=a.test:81`,
			"0s [192.0.2.1#17] GET http://a.test:81/a User-Agent=x y -> 200 250ms"},
		{"nginx JSON", `log_format j escape=json '{"t":"$msec","m":"$request_method","u":"$scheme://$http_host$request_uri","b":"$request_body","l":"$http_content_length","s":$status}';`,
			`{"t":"1772442900.123","m":"POST","u":"https://a.test/x?y=http://z/","b":"{\"a\":\"\u0001\n\"}","l":"10","s":200}`,
			`0s [] POST https://a.test/x?y=http://z/ body="{\"a\":\"\x01\n\"}" -> 200 0s`},
		{"nginx escape=none", `escape=none '$time_iso8601|$request|$status'`, `2026-03-02T09:15:00+01:00|GET /a\x22 HTTP/1.1|200`,
			`0s [] GET http://shop.test/a\x22 -> 200 0s`},
		{"nginx, the path as it decoded it", `$msec $request_method $uri$is_args$args $http_x_a`, `1772442900.123 GET /a?b=c -`, "0s [] GET http://shop.test/a?b=c"},
		{"nginx, a body of another length", `$msec "$request" "$request_body" $content_length`, `1.0 "POST / HTTP/1.1" "abc" 4`,
			"requests_not_replayable: line 1: the log does not hold its body of 4 bytes: --bodyless lets it through without"},
		{"Apache, the whole directive", `LogFormat "%a:%{remote}p %{begin:usec}t %D \"%r\" %>s \"%{Host}i\" \"%{X-A}i\"" mine`,
			`192.0.2.1:555 1772442900123456 1500 "GET /\xc3\xa9 HTTP/1.1" 200 "a.test" "b\tc"`,
			"0s [192.0.2.1#555] GET http://a.test/é X-A=b\tc -> 200 1.5ms"},
		{"Apache, time in pieces", `[%{%d/%b/%Y:%T}t.%{msec_frac}t %{%z}t] %m %U%q %s %{ms}T`, `[02/Mar/2026:09:15:00.250 +0100] GET /a%20b?c 304 7`,
			"0s [] GET http://shop.test/a%2520b?c -> 304 7ms"},
		{"Apache, %t without quotes around a request", `%t %m %U %v`, `[02/Mar/2026:09:15:00 +0100] GET /a www.test`, "0s [] GET http://www.test/a"},
		{"Envoy, epoch and truncation", `%START_TIME(%s.%3f)% %REQUEST_HEADER(:METHOD)% %REQ(:PATH):8% %REQ(:AUTHORITY)%\n`, `1772442900.123 GET /abcdefg a.test`,
			"requests_not_replayable: line 1: %REQ(:PATH):8% was cut by the server"},
		{"Envoy, strftime", `%START_TIME(%Y/%m/%dT%H:%M:%S.%3f%z %p)%|%REQ(:METHOD)%|%REQ(:PATH)%|%REQ(:SCHEME)%`, `2026/03/02T09:15:00.123+0000 AM|GET|/a|https`, "0s [] GET https://shop.test/a"},
		{"two ways", `$msec $http_x_a $request_method $request_uri`, `1.0 a b GET /`, `lines_unreadable: line 1: it can be read in two ways: $http_x_a is "a" or "a b"`},
		{"not of the format", `$msec "$request"`, `hello`, "lines_unreadable: line 1: it is not of the log's format: say which with --log-format"},
		{"no time", `$msec "$request"`, `x "GET / HTTP/1.1"`, `lines_unreadable: line 1: $msec: "x": no time since 1970`},
		{"upgraded", `$msec "$request" $status`, `1.0 "GET / HTTP/1.1" 101`, "requests_not_replayable: line 1: its connection was upgraded to another protocol"},
		{"CONNECT", `$msec "$request"`, `1.0 "CONNECT a:443 HTTP/1.1"`, "requests_not_replayable: line 1: CONNECT asks for a tunnel"},
		{"absolute form", `$msec "$request"`, `1.0 "GET https://a.test/b HTTP/1.1"`, "0s [] GET https://a.test/b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := read(t, Log, c.format, []byte(c.line+"\n"), Options{Host: "shop.test"})
			if diff := cmp.Diff([]string{c.want}, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestLogFormatsRefused(t *testing.T) {
	for _, c := range []struct{ name, format, want string }{
		{"nothing between", "$msec $remote_addr$request", "nothing stands between $remote_addr"},
		{"no request", "$msec $status", "no request line and no method"},
		{"no path", "$msec $request_method", "no path"},
		{"no time", `"$request"`, "no time"},
		{"unknown name", "nginx", "give combined, common, envoy or istio"},
		{"escape", `log_format a escape=x '$request'`, "escape=x"},
		{"lone dollar", `$ $request`, "without a variable's name"},
		{"open brace", `%{Host`, "without its }"},
		{"open operator", `%REQ(:METHOD)`, "no second %"},
		{"unknown strftime", `%{%Q}t %r`, "%Q is not read"},
		{"unit", `%{h}T %r %t`, "not in ms, us or s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ParseLog(c.format); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v does not contain %q", err, c.want)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	line := []byte(`1.2.3.4 - - [02/Mar/2026:09:15:00 +0000] "PUT /a HTTP/1.1" 200 1 "-" "-"`)
	if got := read(t, Log, "combined", line, Options{}); len(got) != 1 || !strings.Contains(got[0], "--host") {
		t.Errorf("without a host: %q", got)
	}
	got := read(t, Log, "combined", line, Options{Host: "a.test", Scheme: "https", Bodyless: true})
	if diff := cmp.Diff([]string{"0s [1.2.3.4] PUT https://a.test/a -> 200 0s"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestBadFiles(t *testing.T) {
	har := fixture(t, "chromium.har")
	gor := fixture(t, "sample.gor")
	for _, c := range []struct {
		name  string
		kind  Kind
		text  []byte
		want  string
		fatal bool
	}{
		{"HAR cut", HAR, har[:len(har)/2], string(exchange.FileTruncated), false},
		{"HAR broken within", HAR, bytes.Replace(har, []byte(`"_fromCache"`), []byte(`_fromCache`), 1), "entry 2: the file cannot be used", true},
		{"not a HAR", HAR, []byte(`[1]`), "not a HAR", true},
		{"HAR without entries", HAR, []byte(`{"log":{"version":"1.2"}}`), "no log.entries", true},
		{"HAR entry of another type", HAR, []byte(`{"log":{"entries":[{"request":7}]}}`), "entry 1: not as HAR", false},
		{"HAR with another time", HAR, []byte(`{"log":{"entries":[{"startedDateTime":"noon","request":{"method":"GET","url":"http://a/"}}]}}`), "is no ISO 8601 time", false},
		{"HAR of year 3000", HAR, []byte(`{"log":{"entries":[{"startedDateTime":"3000-01-01T00:00:00Z","request":{"method":"GET","url":"http://a/"}}]}}`), "not between 1970 and 2200", false},
		{"gor cut", Gor, gor[:len(gor)-4], string(exchange.FileTruncated), false},
		{"gor of something else", Gor, []byte("hello\n🐵🙈🙉\n"), "line 1: \"hello\" is not a GoReplay record", false},
		{"gor answer alone", Gor, []byte("2 a 1 1\nHTTP/1.1 200 OK\r\n\r\n\n🐵🙈🙉\n"), string(exchange.ResponsesWithoutRequest), false},
		{"gor two lengths", Gor, []byte("1 a 1 1\nGET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab\n🐵🙈🙉\n"), "two lengths", false},
		{"gor with trailers", Gor, []byte("1 a 1 1\nPUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n\n🐵🙈🙉\n"), "trailers", false},
		{"gzip cut", VegetaJSON, gzipped(t, fixture(t, "targets.json"))[:40], string(exchange.FileTruncated), false},
		{"vegeta body", VegetaHTTP, []byte("GET http://a/\n@nothing\n"), "line 2: its body", false},
		{"vegeta nonsense", VegetaHTTP, []byte("\nhello\n"), "line 2: \"hello\" is not", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			rows, err := Read(c.kind, "", bytes.NewReader(c.text), Options{Open: openFixture})
			if err != nil {
				t.Fatal(err)
			}
			var last error
			for _, err := range rows {
				if err != nil {
					last = err
				}
			}
			var e *EntryError
			text := fmt.Sprint(last)
			if errors.As(last, &e) {
				text += " " + string(e.Cause)
			}
			if !strings.Contains(text, c.want) || errors.Is(last, ErrFatal) != c.fatal {
				t.Errorf("%v does not contain %q, or is not fatal=%v", text, c.want, c.fatal)
			}
		})
	}
}

func TestRecogniseAsks(t *testing.T) {
	for name, line := range map[string]string{
		"a line more than combined": `1.2.3.4 - - [02/Mar/2026:09:15:00 +0000] "GET / HTTP/1.1" 200 1 "-" "-" "203.0.113.1"`,
		"common and a duration":     `1.2.3.4 - - [02/Mar/2026:09:15:00 +0000] "GET / HTTP/1.1" 200 1 0.003`,
		"nginx JSON":                `{"time":"1772442900.123","uri":"/a","status":200}`,
	} {
		if r, ok := Recognise([]byte(line+"\n"), "access.log"); ok || !strings.Contains(r.Ask, "--log-format") {
			t.Errorf("%s: %+v, %v", name, r, ok)
		}
	}
	for name, first := range map[string][]byte{"pcap": {0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0}, "nothing": nil, "text": []byte("hello\n")} {
		if r, ok := Recognise(first, "x"); ok || r.Ask != "" {
			t.Errorf("%s: %+v, %v", name, r, ok)
		}
	}
}

// A line longer than the bound is passed over, and so is the memory for it.
func TestLongLine(t *testing.T) {
	tail := "\n" + `{"method":"GET","url":"http://a/"}` + "\n"
	long := io.MultiReader(io.LimitReader(repeat('x'), maxEntry+1), strings.NewReader(tail))
	got := told(t, ReadVegetaJSON(long, Options{}))
	if diff := cmp.Diff([]string{"lines_unreadable: line 1: longer than 64 MiB", "0s [] GET http://a/"}, got); diff != "" {
		t.Error(diff)
	}
	record := io.MultiReader(io.LimitReader(repeat('x'), maxEntry+1), strings.NewReader("\n"+gorSeparator+"\n1 a 1 1\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\n"+gorSeparator+"\n"))
	got = told(t, ReadGor(record, Options{}))
	if diff := cmp.Diff([]string{"lines_unreadable: line 1: a record longer than 64 MiB", "0s [] GET http://a/ Host=a"}, got); diff != "" {
		t.Error(diff)
	}
}

type repeat byte

func (r repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r)
	}
	return len(p), nil
}

// A request whose answer does not come is not waited for beyond the window.
func TestGorWindow(t *testing.T) {
	var b bytes.Buffer
	for i := range gorWindow + 10 {
		fmt.Fprintf(&b, "1 id%d %d 0\nGET /%d HTTP/1.1\r\nHost: a\r\n\r\n\n%s\n", i, int64(time.Second)*int64(i), i, gorSeparator)
	}
	fmt.Fprintf(&b, "2 id%d %d 0\nHTTP/1.1 200 OK\r\n\r\n\n%s\n", gorWindow, int64(time.Second)*(gorWindow+1), gorSeparator)
	answered, n, seen := 0, 0, map[string]bool{}
	for r, err := range ReadGor(&b, Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		seen[r.Path] = true
		if r.Response != nil {
			answered++
		}
	}
	if n != gorWindow+10 || len(seen) != n || answered != 1 {
		t.Errorf("%d requests, %d distinct, %d answered", n, len(seen), answered)
	}
}
