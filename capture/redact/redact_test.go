package redact

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"umbra/internal/traffic"
)

var testKey = []byte("0123456789abcdef0123456789abcdef")

func redactor(t testing.TB, rules string) *Redactor {
	t.Helper()
	var parsed Rules
	if rules != "" {
		var err error
		if parsed, err = ReadRules("rules.yaml", strings.NewReader(rules)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := New(parsed, testKey)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// psOf is how the tests write the pseudonym of a value: «value», «length:value», «class:value», «number:value».
var psOf = regexp.MustCompile(`«(?:(length|class|number):)?([^»]*)»`)

func expand(s string) string {
	p := newPseudonyms(testKey)
	return psOf.ReplaceAllStringFunc(s, func(m string) string {
		parts := psOf.FindStringSubmatch(m)
		return p.of(parts[2], Keep(parts[1])).text
	})
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestHeaders(t *testing.T) {
	tests := []struct{ name, rules, header, value, want string }{
		{"bearer keeps its scheme", "", "Authorization", "Bearer abc.def", "Bearer «abc.def»"},
		{"case of name and scheme", "", "AUTHORIZATION", "bearer abc", "bearer «abc»"},
		{"name with a space behind it", "", "Authorization ", "Bearer abc", "Bearer «abc»"},
		{"unknown scheme may be the secret", "", "authorization", "hunter two", "«hunter two»"},
		{"no scheme", "", "authorization", "abc", "«abc»"},
		{"basic", "", "Authorization", "Basic " + b64("ann:pw:x"), "Basic " + b64(expand("«ann»:«pw:x»"))},
		{"basic without padding", "", "Proxy-Authorization", "Basic " + strings.TrimRight(b64("ann:p"), "="), "Basic " + b64(expand("«ann»:«p»"))},
		{"basic that is none", "", "Authorization", "Basic !!", "Basic " + b64(expand("«!!»"))},
		{"cookies keep their names", "", "Cookie", `a=1; b="two"; c=; bare;d=x%20y`, `a=«1»; b="«two»"; c=; «bare»;d=«x y»`},
		{"set-cookie keeps attributes", "", "Set-Cookie", "sid=abc; Path=/; Secure; Max-Age=3; Note=abc", "sid=«abc»; Path=/; Secure; Max-Age=3; Note=«abc»"},
		{"api key", "", "x-api-key", " abc ", "«abc»"},
		{"kept", "keep: [x-api-key]", "X-Api-Key", "abc", "abc"},
		{"defaults off", "defaults: off", "Authorization", "Bearer abc", "Bearer abc"},
		{"off, and named", "{defaults: off, headers: [authorization]}", "Authorization", "Bearer abc", "Bearer «abc»"},
		{"named", "headers: [X-Tenant]", "x-tenant", "acme", "«acme»"},
		{"class", "headers: [{name: X-Card, keep: class}]", "X-Card", "4111-Ab", "«class:4111-Ab»"},
		{"length", "headers: [{name: Cookie, keep: length}]", "Cookie", "a=bcd", "a=«length:bcd»"},
		{"no rule", "", "Accept", "text/html;q=0.9, */*", "text/html;q=0.9, */*"},
		{"referer", "", "Referer", "https://x.example/a?b=1&access_token=abc&c=2", "https://x.example/a?b=1&access_token=«abc»&c=2"},
		{"referer with an encoded path", "", "Referer", "https://x.example/a%20b?b=1&token=abc", "https://x.example/a%20b?b=1&token=«abc»"},
		{"referer with a parameter of a segment", "", "Referer", "https://x.example/a;jsessionid=abc/b", "https://x.example/a;jsessionid=«abc»/b"},
		{"any header with a URL", "", "X-Back", "<https://x.example/?sig=abc>; rel=next", "<https://x.example/?sig=«abc»>; rel=next"},
		{"fragment", "", "Location", "https://x.example/#id_token=abc", "https://x.example/#id_token=«abc»"},
		{"userinfo", "", "X-From", "see ftp://ann:pw@x.example/", "see ftp://«ann»:«pw»@x.example/"},
		{"host with userinfo", "", "Host", "ann@x.example", "«ann»@x.example"},
		{"mail address", "", "From", "ann@x.example", "ann@x.example"},
		{"encoded URL", "", "X-Back", "https%3A%2F%2Fx%2F%3Ftoken%3Dabc", "https%3A%2F%2Fx%2F%3Ftoken%3D«abc»"},
		{"pattern", `patterns: [{match: 'user-(\d+)', in: [headers], group: 1}]`, "X-A", "user-12, user-13", "user-«12», user-«13»"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := traffic.Request{Path: "/", Headers: []traffic.Header{{"A", "b"}, {tt.header, tt.value}}}
			if err := redactor(t, tt.rules).Request(&q); err != nil {
				t.Fatal(err)
			}
			want := []traffic.Header{{"A", "b"}, {tt.header, expand(tt.want)}}
			if diff := cmp.Diff(want, q.Headers); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDropHeader(t *testing.T) {
	r := redactor(t, "headers: [{name: cookie, drop: true}]")
	q := traffic.Request{Path: "/", Headers: []traffic.Header{{"Cookie", "a=b"}, {"Accept", "*/*"}, {"COOKIE", "c=d"}}}
	if err := r.Request(&q); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]traffic.Header{{"Accept", "*/*"}}, q.Headers); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Count{{Rule: "header cookie", Place: "header", Values: 2, Distinct: 2}}, r.Report().Counts); diff != "" {
		t.Error(diff)
	}
}

func TestTarget(t *testing.T) {
	const emails = "query: [email, {name: q, drop: true}]"
	tests := []struct{ name, rules, path, want string }{
		{"nothing", "", "/a/b?page=2&sort=up", "/a/b?page=2&sort=up"},
		{"token", "", "/a?page=2&access_token=abc", "/a?page=2&access_token=«abc»"},
		{"spelling", "", "/a?AccessToken=abc&ACCESS-TOKEN=d", "/a?AccessToken=«abc»&ACCESS-TOKEN=«d»"},
		{"encoded name", "", "/a?p%61ssword=abc", "/a?p%61ssword=«abc»"},
		{"encoded value", "", "/a?token=a%2fb+c", "/a?token=«a/b c»"},
		{"brackets", "", "/a?user[password]=abc&password[]=d&x[password][0]=e&user.password=f", "/a?user[password]=«abc»&password[]=«d»&x[password][0]=«e»&user.password=«f»"},
		{"empty", "", "/a?token=&token", "/a?token=&token"},
		{"semicolons", "", "/a?b=1;token=a;b", "/a?b=1;token=«a;b»"},
		{"equals signs in the value", "", "/a?token=a==&b=c", "/a?token=«a==»&b=c"},
		{"nested", "", "/a?next=%2Fb%3Ftoken%3Dabc%26c%3Dd&e=f", "/a?next=%2Fb%3Ftoken%3D«abc»%26c%3Dd&e=f"},
		{"nested, not encoded", "", "/a?next=/b?token=abc", "/a?next=/b?token=«abc»"},
		{"JSON", "", "/a?payload=%7B%22password%22%3A%22abc%22%7D", "/a?payload=%7B%22password%22%3A%22«abc»%22%7D"},
		{"only one value", "", "/a?https%3A%2F%2Fx%2F%3Ftoken%3Dabc", "/a?https%3A%2F%2Fx%2F%3Ftoken%3D«abc»"},
		{"segment", "", "/a;jsessionid=abc/b;v=1?c=d", "/a;jsessionid=«abc»/b;v=1?c=d"},
		{"encoded segment", "", "/go/https%3A%2F%2Fx%2F%3Ftoken%3Dabc/b", "/go/https%3A%2F%2Fx%2F%3Ftoken%3D«abc»/b"},
		{"URL with user information", "", "http://ann:p%77@x.example/a", "http://«ann»:«pw»@x.example/a"},
		{"encoded user information", "", "/a?u=http%3A%2F%2Fann%3Apw%40x%2F", "/a?u=http%3A%2F%2F«ann»%3A«pw»%40x%2F"},
		{"not a name", "", "/a?tokens=1&pagetoken=2&key=3&code=4", "/a?tokens=1&pagetoken=2&key=3&code=4"},
		{"named", emails, "/a?EMAIL=ann%40x", "/a?EMAIL=«ann@x»"},
		{"dropped first", emails, "/a?q=1&b=2", "/a?b=2"},
		{"dropped last", emails, "/a?b=2&q=1", "/a?b=2"},
		{"dropped between", emails, "/a?b=2&q=1&c=3", "/a?b=2&c=3"},
		{"dropped alone", emails, "/a?q=1", "/a"},
		{"dropped all", emails, "/a?q=1&q=2", "/a"},
		{"defaults off", "defaults: off", "http://u:p@x/?token=abc&a=%253D", "http://u:p@x/?token=abc&a=%253D"},
		{"pattern in the path", `patterns: [{match: '/users/([^/]+)', in: [path], group: 1}]`, "/users/%61nn/x?/users/b", "/users/«ann»/x?/users/b"},
		{"pattern in the query", `patterns: [{match: '[a-z]+@[a-z]+', in: [query]}]`, "/a@b?m=ann%40x&n=b@y", "/a@b?m=«ann@x»&n=«b@y»"},
		{"pattern of a class", `patterns: [{match: '\d{4,}', in: [path], keep: class}]`, "/a/12345/b/12", "/a/«class:12345»/b/12"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := traffic.Request{Path: tt.path}
			if err := redactor(t, tt.rules).Request(&q); err != nil {
				t.Fatal(err)
			}
			if want := expand(tt.want); q.Path != want {
				t.Errorf("got  %s\nwant %s", q.Path, want)
			}
		})
	}
}

func TestAuthority(t *testing.T) {
	q := traffic.Request{Path: "/", Authority: "ann:pw@x.example"}
	if err := redactor(t, "").Request(&q); err != nil {
		t.Fatal(err)
	}
	if want := expand("«ann»:«pw»@x.example"); q.Authority != want {
		t.Errorf("got %s, want %s", q.Authority, want)
	}
}

// A parameter that is nested too deep to look into is replaced as a whole.
func TestNestedTooDeep(t *testing.T) {
	value := "token=abc"
	for range 12 {
		value = "a=" + strings.NewReplacer("%", "%25", "=", "%3D").Replace(value)
	}
	r := redactor(t, "")
	q := traffic.Request{Path: "/?" + value}
	if err := r.Request(&q); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(q.Path, "abc") || r.Report().Counts[0].Rule != "nested too deep" {
		t.Errorf("got %s, %v", q.Path, r.Report())
	}
}

const (
	formType      = "application/x-www-form-urlencoded"
	jsonType      = "application/json"
	multipartType = `multipart/form-data; boundary="XX"`
)

func TestBodies(t *testing.T) {
	const paths = `json: ['$.user.email', '$..card', '$.items[*].id', {path: '$.list[1]', keep: class}, "$['a b']", '$.flag', '$.n']`
	crlf := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	tests := []struct{ name, rules, contentType, body, want string }{
		{"form", "", formType, "a=1&password=x%26y&b=2", "a=1&password=«x&y»&b=2"},
		{"form named", "form: [email]", formType + "; charset=utf-8", "email=ann%40x", "email=«ann@x»"},
		{"form with JSON", "", formType, `payload=%7B%22token%22%3A%22abc%22%7D&b=1`, `payload=%7B%22token%22%3A%22«abc»%22%7D&b=1`},
		{"form that is JSON", "", formType, `{"password": "abc"}`, `{"password": "«abc»"}`},
		{"form that begins like JSON", "", formType, `{a=1&password=abc`, `{a=1&password="` + expand("«"+expand("«abc»")+"»") + `"`},
		{"no type", "", "", "password=abc", "password=«abc»"},
		{"no type, JSON", "", "", ` [{"token":"abc"}]`, ` [{"token":"«abc»"}]`},
		{"JSON", "", jsonType, `{ "a": [1, "x"], "password" : "abc" ,"b":null}`, `{ "a": [1, "x"], "password" : "«abc»" ,"b":null}`},
		{"JSON escapes", "", jsonType, `{"p\u0061ssword":"\u0061b\"c\/\ud83d\ude00"}`, `{"p\u0061ssword":"«ab"c/😀»"}`},
		{"JSON numbers and literals by default", "", jsonType, `{"secret":[12.5,true,null,{"x":"y"}]}`, `{"secret":[«number:12.5»,true,null,{"x":"«y»"}]}`},
		{"JSON within a string", "", jsonType, `{"m":"{\"token\":\"abc\"}"}`, `{"m":"{\"token\":\"«abc»\"}"}`},
		{"JSON spelling", "", "application/vnd.api+json; v=1", `{"clientSecret":"abc"}`, `{"clientSecret":"«abc»"}`},
		{"JSON lines", "", "application/x-ndjson", "{\"token\":\"a\"}\n{\"token\":\"b\"}\n", "{\"token\":\"«a»\"}\n{\"token\":\"«b»\"}\n"},
		{"JSON untouched", "", jsonType, `{"a" :1.50e3, "é":"\u00e9"}`, `{"a" :1.50e3, "é":"\u00e9"}`},
		{"path", paths, jsonType, `{"user":{"email":"ann@x","name":"Ann"}}`, `{"user":{"email":"«ann@x»","name":"Ann"}}`},
		{"path only there", paths, jsonType, `{"email":"a","x":{"user":{"email":"a"}}}`, `{"email":"a","x":{"user":{"email":"a"}}}`},
		{"descendants", paths, jsonType, `{"a":[{"card":"1"},{"b":{"card":{"no":"2","cvc":333}}}],"card":"4"}`, `{"a":[{"card":"«1»"},{"b":{"card":{"no":"«2»","cvc":«number:333»}}}],"card":"«4»"}`},
		{"elements", paths, jsonType, `{"items":[{"id":17,"n":1},{"id":"x"}],"list":["a1","b2","c3"]}`, `{"items":[{"id":«number:17»,"n":1},{"id":"«x»"}],"list":["a1","«class:b2»","c3"]}`},
		{"quoted name", paths, jsonType, `{"a b":"c","a\u0020b":"d"}`, `{"a b":"«c»","a\u0020b":"«d»"}`},
		{"literals by path", paths, jsonType, `{"flag":true,"n":null}`, `{"flag":null,"n":null}`},
		{"exponent", paths, jsonType, `{"n":-12.5e3}`, `{"n":«number:-12.5e3»}`},
		{"root", "json: [$]", jsonType, `["a",{"b":"c"}]`, `["«a»",{"b":"«c»"}]`},
		{"wildcard member", "json: ['$.*.x']", jsonType, `{"a":{"x":"1"},"b":[{"x":"2"}]}`, `{"a":{"x":"«1»"},"b":[{"x":"2"}]}`},
		{"malformed JSON", "", jsonType, `{"a":1,, "password":"abc", b:2}`, `{"a":1,, "password":"«abc»", b:2}`},
		{"malformed, escaped", "", jsonType, `{"p\u0061ssword":"a\"b" "c":1}`, `{"p\u0061ssword":"«a\"b»" "c":1}`},
		{"malformed, no quotes", "", jsonType, "{password: abc, d\n e:1", "{password: \"«abc, d»\"\n e:1"},
		{"cut JSON", "", jsonType, `{"password":"abc`, `{"password":"«abc»`},
		{"multipart", "form: [email]", multipartType, crlf("--XX\nContent-Disposition: form-data; name=\"email\"\n\nann@x\n--XX\nContent-Disposition: form-data; name=\"b\"\n\nann@x\n--XX--\n"),
			crlf("--XX\nContent-Disposition: form-data; name=\"email\"\n\n«ann@x»\n--XX\nContent-Disposition: form-data; name=\"b\"\n\nann@x\n--XX--\n")},
		{"multipart JSON", "", multipartType, crlf("--XX\nContent-Type: application/json\nContent-Disposition: form-data; name=\"x\"\n\n{\"token\":\"abc\"}\n--XX--\n"),
			crlf("--XX\nContent-Type: application/json\nContent-Disposition: form-data; name=\"x\"\n\n{\"token\":\"«abc»\"}\n--XX--\n")},
		{"multipart with bare line feeds", "", multipartType, "--XX\nContent-Disposition: form-data;\n name=password\n\nabc\n--XX--", "--XX\nContent-Disposition: form-data;\n name=password\n\n«abc»\n--XX--"},
		{"image", "", "image/png", "{\"password\":\"abc\"}", "{\"password\":\"abc\"}"},
		{"pattern", `patterns: [{match: 'id-([a-z]+)', in: [body], group: 1}]`, "image/svg+xml", "<a id='id-abc'>", "<a id='id-«abc»'>"},
		{"pattern in JSON", `patterns: [{match: '[a-z]+@[a-z]+', in: [body]}]`, jsonType, `{"m":"\u0061nn@x"}`, `{"m":"«ann@x»"}`},
		{"pattern on digits in JSON", `patterns: [{match: '\d{6}', in: [body]}]`, jsonType, `{"m":123456}`, `{"m":«number:123456»}`},
		{"pattern in a form", `patterns: [{match: '[a-z]+@[a-z]+', in: [body]}]`, formType, `m=ann%40x`, `m=«ann@x»`},
		{"defaults off", "defaults: off", jsonType, `{"password":"abc"`, `{"password":"abc"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := traffic.Request{Path: "/", Headers: []traffic.Header{{"Content-Type", tt.contentType}}, Body: []byte(tt.body)}
			if err := redactor(t, tt.rules).Request(&q); err != nil {
				t.Fatal(err)
			}
			if want := expand(tt.want); string(q.Body) != want {
				t.Errorf("got  %s\nwant %s", q.Body, want)
			}
		})
	}
}

// packed gives a body in a content coding.
func packed(t testing.TB, coding, body string) []byte {
	t.Helper()
	var b bytes.Buffer
	var w interface {
		Write([]byte) (int, error)
		Close() error
	}
	var err error
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "zlib":
		w = zlib.NewWriter(&b)
	case "flate":
		w, err = flate.NewWriter(&b, 5)
	case "zstd":
		w, err = zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	}
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(body))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestEncodedBodies(t *testing.T) {
	const secret, harmless = `{"password":"abc"}`, `{"a":"abc"}`
	tests := []struct{ name, coding, header string }{
		{"gzip", "gzip", "gzip"}, {"x-gzip", "gzip", "X-GZIP"}, {"zlib", "zlib", "deflate"}, {"bare deflate", "flate", "deflate"}, {"zstd", "zstd", "identity, zstd"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := redactor(t, "")
			headers := []traffic.Header{{"Content-Encoding", tt.header}, {"Content-MD5", "x"}, {"Content-Type", jsonType}}
			same := packed(t, tt.coding, harmless)
			q := traffic.Request{Path: "/", Headers: headers, Body: bytes.Clone(same)}
			if err := r.Request(&q); err != nil || !bytes.Equal(q.Body, same) || len(q.Headers) != 3 {
				t.Errorf("without a secret: %v, %v", err, q.Headers)
			}
			q.Body = packed(t, tt.coding, secret)
			if err := r.Request(&q); err != nil {
				t.Fatal(err)
			}
			if want := expand(`{"password":"«abc»"}`); string(q.Body) != want {
				t.Errorf("got %q, want %q", q.Body, want)
			}
			if diff := cmp.Diff([]traffic.Header{{"Content-Type", jsonType}}, q.Headers); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	const pattern, path = `patterns: [{match: x, in: [body]}]`, "json: [$.a]"
	tests := []struct {
		name, rules, contentType, encoding, body string
		refused                                  bool
	}{
		{"br of JSON", "", jsonType, "br", "x", true},
		{"br of a form", "", formType, "br", "x", true},
		{"br of nobody knows what", "", "", "br", "x", true},
		{"br of an image", "", "image/png", "br", "x", false},
		{"br of an image with a pattern", pattern, "image/png", "br", "x", true},
		{"br without rules for bodies", "{defaults: off, query: [a]}", jsonType, "br", "x", false},
		{"broken gzip", "", jsonType, "gzip", "x", true},
		{"cut gzip", "", jsonType, "gzip", string(packed(t, "gzip", `{"a":1}`)[:20]), true},
		{"bytes behind gzip", "", jsonType, "gzip", string(packed(t, "gzip", `{"a":1}`)) + "password=abc", true},
		{"bytes behind deflate", "", jsonType, "deflate", string(packed(t, "flate", `{"a":1}`)) + "password=abc", true},
		{"bytes behind zlib", "", jsonType, "deflate", string(packed(t, "zlib", `{"a":1}`)) + "password=abc", true},
		{"bytes behind zstd", "", jsonType, "zstd", string(packed(t, "zstd", `{"a":1}`)) + "password=abc", true},
		{"a bomb", "", jsonType, "gzip", string(packed(t, "gzip", strings.Repeat(" ", maxPlain+1))), true},
		{"codings", "", jsonType, "gzip, gzip, gzip, gzip", "x", true},
		{"gzip that is not declared", "", jsonType, "", string(packed(t, "gzip", `{"a":1}`)), true},
		{"gzip in a form", "", formType, "", string(packed(t, "gzip", `{"a":1}`)), true},
		{"UTF-16", "", jsonType, "", "{\x00\"\x00p\x00", true},
		{"UTF-16 text", "", "text/plain; charset=utf-16", "", "{\x00\"\x00p\x00", true},
		{"UTF-16 of no type", "", "", "", "\x00{\x00\"", true},
		{"UTF-16 of octets", "", "application/octet-stream", "", "p\x00=\x00", true},
		{"octets", "", "application/octet-stream", "", "\x00\x00\x00\x18ftyp", false},
		{"gzip as text", "", "text/plain", "", string(packed(t, "gzip", `{"a":1}`)), true},
		{"gzip of no type", "", "", "", string(packed(t, "gzip", `{"a":1}`)), true},
		{"zlib as octets", "", "application/octet-stream", "", string(packed(t, "zlib", `{"a":1}`)), true},
		{"zlib as JSON", "", jsonType, "", string(packed(t, "zlib", `{"a":1}`)), true},
		{"zstd of no type", "", "", "", string(packed(t, "zstd", `{"a":1}`)), true},
		{"text like zlib", "", "text/plain", "", "x^2 + y^2", false},
		{"malformed JSON, names", "", jsonType, "", `{"a":`, false},
		{"malformed JSON, paths", path, jsonType, "", `{"a":`, true},
		{"malformed JSON, paths, another type", path, "text/plain", "", `{"a":`, true},
		{"leading zero, paths", path, jsonType, "", `{"a":01}`, true},
		{"control in a string, paths", path, jsonType, "", "{\"a\":\"\n\"}", true},
		{"bad escape, paths", path, jsonType, "", `{"a":"\x"}`, true},
		{"too deep, paths", path, jsonType, "", strings.Repeat("[", 300) + strings.Repeat("]", 300), true},
		{"multipart without a boundary", "", "multipart/form-data", "", "x", true},
		{"multipart without a delimiter", "", multipartType, "", "x", true},
		{"multipart without its end", "", multipartType, "", "--XX\r\n\r\nabc", true},
		{"multipart without a blank line", "", multipartType, "", "--XX\r\nabc\r\n--XX--", true},
		{"multipart in base64", "", multipartType, "", "--XX\r\nContent-Transfer-Encoding: base64\r\n\r\nabc\r\n--XX--", true},
		{"multipart, a bad disposition", "", multipartType, "", "--XX\r\nContent-Disposition: form-data; name=\"a\r\n\r\nabc\r\n--XX--", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := traffic.Request{Path: "/", Headers: []traffic.Header{{"Content-Type", tt.contentType}, {"Content-Encoding", tt.encoding}}, Body: []byte(tt.body)}
			r := redactor(t, tt.rules)
			err := r.Request(&q)
			if errors.Is(err, ErrRefused) != tt.refused || (err != nil) != tt.refused {
				t.Errorf("got %v", err)
			}
			if got := r.Report().Refused == 1; got != tt.refused {
				t.Errorf("the report says %v", got)
			}
		})
	}
}

// Equal values are equal wherever they stand, and another key gives others.
func TestEqualAcrossPlaces(t *testing.T) {
	q := traffic.Request{Path: "/?token=s%33cret", Headers: []traffic.Header{{"Cookie", "a=s3cret"}, {"Authorization", "Bearer s3cret"}, {"Content-Type", jsonType}}, Body: []byte(`{"token":"s3\u0063ret"}`)}
	r := redactor(t, "")
	if err := r.Request(&q); err != nil {
		t.Fatal(err)
	}
	s := expand("«s3cret»")
	if q.Path != "/?token="+s || q.Headers[0][1] != "a="+s || q.Headers[1][1] != "Bearer "+s || string(q.Body) != `{"token":"`+s+`"}` {
		t.Errorf("got %+v", q)
	}
	want := Report{Requests: 1, Counts: []Count{
		{Rule: "header authorization", Place: "header", Values: 1, Distinct: 1}, {Rule: "header cookie", Place: "header", Values: 1, Distinct: 1},
		{Rule: "name token", Place: "body", Values: 1, Distinct: 1}, {Rule: "name token", Place: "query", Values: 1, Distinct: 1},
	}}
	if diff := cmp.Diff(want, r.Report()); diff != "" {
		t.Error(diff)
	}
	if other := newPseudonyms(NewKey()).of("s3cret", "").text; other == s {
		t.Error("another key gives the same pseudonym")
	}
}

func TestDistinct(t *testing.T) {
	r := redactor(t, "")
	for i := range 120 {
		q := traffic.Request{Path: fmt.Sprint("/?token=", i%3)}
		if err := r.Request(&q); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]Count{{Rule: "name token", Place: "query", Values: 120, Distinct: 3}}, r.Report().Counts); diff != "" {
		t.Error(diff)
	}
	r.tags = maxTags
	q := traffic.Request{Path: "/?token=another"}
	if err := r.Request(&q); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Count{{Rule: "name token", Place: "query", Values: 121, Distinct: 3, AtLeast: true}}, r.Report().Counts); diff != "" {
		t.Error(diff)
	}
}

func TestDigests(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	for _, tt := range []struct {
		rules string
		same  bool
	}{{"", true}, {"digests: plain", true}, {"digests: keyed", false}} {
		q := traffic.Request{Path: "/", Response: &traffic.Response{BodySHA256: digest}}
		if err := redactor(t, tt.rules).Request(&q); err != nil {
			t.Fatal(err)
		}
		if got := q.Response.BodySHA256; (got == digest) != tt.same || len(got) != 64 {
			t.Errorf("%q: got %s", tt.rules, got)
		}
	}
}

func TestPseudonyms(t *testing.T) {
	tests := []struct{ name, keep, value, want string }{
		{"plain", "", "x", `^[0-9A-Za-z]{22}$`},
		{"length", "length", "a-é😀", `^[0-9A-Za-z]{4}$`},
		{"class", "class", "Ab-12 zZ", `^[A-Z][a-z]-\d\d [a-z][A-Z]$`},
		{"other letters", "class", "Éa字", `^[A-Z][a-z][a-z]$`},
		{"hexadecimal", "class", "deadbeef-01-AF", `^[a-f0-9]{8}-\d\d-[A-F]{2}$`},
		{"only punctuation", "class", "!!--", `^[0-9A-Za-z]{4}$`},
		{"number", "number", "-120.5e10", `^-[1-9]\d\d\.\d$`},
		{"zero", "number", "0.25", `^\d\.\d\d$`},
		{"32 bits", "number", "2147483647", `^1\d{9}$`},
		{"64 bits", "number", "9223372036854775807", `^1\d{18}$`},
		{"64 bits without sign", "number", "18446744073709551615", `^1[0-7]\d{18}$`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPseudonyms(testKey)
			got := p.of(tt.value, Keep(tt.keep)).text
			if !regexp.MustCompile(tt.want).MatchString(got) {
				t.Errorf("got %q, want %s", got, tt.want)
			}
			if again := p.of(tt.value, Keep(tt.keep)).text; again != got {
				t.Errorf("the second time %q, not %q", again, got)
			}
			if fresh := newPseudonyms(testKey).of(tt.value, Keep(tt.keep)).text; fresh != got {
				t.Errorf("another capture of the same key gives %q, not %q", fresh, got)
			}
		})
	}
}

// What is remembered is bounded, and forgetting changes no pseudonym.
func TestRemembered(t *testing.T) {
	p := newPseudonyms(testKey)
	first := p.of("first", "")
	for i := range 3 * maxRemembered {
		p.of(fmt.Sprint(i), "")
	}
	p.of(strings.Repeat("x", maxRememberedValue+1), "")
	if len(p.known) > maxRemembered || p.of("first", "") != first {
		t.Errorf("%d are remembered", len(p.known))
	}
}

func TestKeys(t *testing.T) {
	if a, b := NewKey(), NewKey(); bytes.Equal(a, b) || len(a) < minKey {
		t.Errorf("got %x and %x", a, b)
	}
	if _, err := New(Rules{}, []byte("short")); err == nil {
		t.Error("a short key is taken")
	}
	file := filepath.Join(t.TempDir(), "key")
	tests := []struct {
		name, content string
		ok            bool
	}{
		{"good", "0123456789abcdef\r\n", true}, {"short", "0123456789abcde\n\n", false}, {"empty", "", false}, {"large", strings.Repeat("x", maxKey+1), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			key, err := ReadKey(file)
			if (err == nil) != tt.ok || tt.ok && string(key) != "0123456789abcdef" {
				t.Errorf("got %q, %v", key, err)
			}
			if err != nil && !strings.Contains(err.Error(), file) {
				t.Errorf("the error does not name the file: %v", err)
			}
		})
	}
	if _, err := ReadKey(file + ".none"); err == nil {
		t.Error("a missing file is a key")
	}
}

func TestNewChecksRules(t *testing.T) {
	tests := []struct {
		name  string
		rules Rules
		want  string
	}{
		{"name", Rules{Query: []Name{{Name: "--"}}}, "empty name"},
		{"keep", Rules{Headers: []Name{{Name: "A", Keep: "all"}}}, `keep is "all"`},
		{"keep and drop", Rules{Form: []Name{{Name: "a", Keep: KeepClass, Drop: true}}}, "remove drop or keep"},
		{"path", Rules{JSON: []Path{{Path: "a.b"}}}, "does not begin with"},
		{"pattern", Rules{Patterns: []Pattern{{Match: "("}}}, "RE2"},
		{"group", Rules{Patterns: []Pattern{{Match: "a", Group: 1, In: allParts}}}, "1 is none"},
		{"part", Rules{Patterns: []Pattern{{Match: "a", In: []Part{"x"}}}}, "no part"},
		{"both", Rules{Headers: []Name{{Name: "A"}}, Keep: []string{"a"}}, "remove one of them"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.rules, testKey)
			if err == nil || !regexp.MustCompile(tt.want).MatchString(err.Error()) {
				t.Errorf("got %v", err)
			}
		})
	}
}
