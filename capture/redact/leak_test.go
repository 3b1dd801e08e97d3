package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"umbra/internal/traffic"
)

// leakRules name what the default ones do not.
const leakRules = `
headers: [X-Tenant, {name: X-Drop, drop: true}]
query: [email, {name: dropped, drop: true}]
form: [email]
json: ['$.user.email', '$..card', '$.items[*].id']
patterns:
  - {match: 'ref-([^/?&]+)', in: [path, query, headers], group: 1}
  - {match: '<pin>([^<]*)</pin>', in: [body], group: 1}
`

// plant puts a secret in one place of a request, in one encoding.
type plant struct {
	name string
	put  func(q *traffic.Request, secret string, e encoder)
}

// encoder writes a secret in an encoding that the place knows, chosen at random.
type encoder struct{ *rand.Rand }

// percent encodes at least what must be.
func (e encoder) percent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if plain := strings.IndexByte(base62, s[i]) >= 0; plain && e.IntN(3) > 0 {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, [...]string{"%%%02x", "%%%02X"}[e.IntN(2)], s[i])
		}
	}
	return b.String()
}

// json gives a string of JSON with its quotes.
func (e encoder) json(s string) string {
	quoted, _ := json.Marshal(s)
	var b strings.Builder
	for _, c := range string(quoted) {
		if strings.ContainsRune(base62, c) && e.IntN(3) == 0 && !bytes.Contains(quoted, []byte(`\`)) {
			fmt.Fprintf(&b, `\u%04x`, c)
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}

func (e encoder) of(words ...string) string { return words[e.IntN(len(words))] }

func header(name, format string) func(*traffic.Request, string, encoder) {
	return func(q *traffic.Request, s string, e encoder) {
		q.Headers = append(q.Headers, traffic.Header{name, fmt.Sprintf(format, s)})
	}
}

func body(q *traffic.Request, contentType, text string) {
	q.Method, q.Body = "POST", []byte(text)
	q.Headers = append(q.Headers, traffic.Header{"Content-Type", contentType})
}

var plants = []plant{
	{"bearer", header("Authorization", "Bearer %s")},
	{"authorization", header("authorization", "%s")},
	{"basic", func(q *traffic.Request, s string, e encoder) {
		text := e.of("ann:"+s, s+":pw", s)
		q.Headers = append(q.Headers, traffic.Header{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(text))})
	}},
	{"cookie", header("Cookie", "a=b; sid=%s; c=d")},
	{"bare cookie", header("COOKIE", "%s")},
	{"encoded cookie", func(q *traffic.Request, s string, e encoder) { header("Cookie", "sid=%s")(q, e.percent(s), e) }},
	{"set-cookie", header("Set-Cookie", "sid=%s; Path=/")},
	{"api key", header("X-Api-Key", "%s")},
	{"named header", header("x-tenant", "%s")},
	{"dropped header", header("X-Drop", "%s")},
	{"pattern in a header", func(q *traffic.Request, s string, e encoder) {
		header("X-Any", "ref-%s")(q, s, e)
	}},
	{"referer", func(q *traffic.Request, s string, e encoder) {
		header("Referer", "https://x.example/a?b=1&token=%s&c=d")(q, e.percent(s), e)
	}},
	{"userinfo in a header", func(q *traffic.Request, s string, e encoder) {
		header("X-Any", "https://ann:%s@x.example/")(q, e.percent(s), e)
	}},
	{"authority", func(q *traffic.Request, s string, e encoder) { q.Authority = "ann:" + e.percent(s) + "@x.example" }},
	{"query", func(q *traffic.Request, s string, e encoder) {
		q.Path += "?a=b&" + e.percent(e.of("access_token", "password", "email", "dropped", "user[secret]")) + "=" + e.percent(s) + "&c=d"
	}},
	{"nested query", func(q *traffic.Request, s string, e encoder) {
		q.Path += "?next=" + url.QueryEscape("https://x/?a=b&token="+e.percent(s))
	}},
	{"JSON in a query", func(q *traffic.Request, s string, e encoder) {
		q.Path += "?p=" + e.percent(`{"password":`+e.json(s)+`}`)
	}},
	{"parameter of a segment", func(q *traffic.Request, s string, e encoder) { q.Path = "/a;jsessionid=" + e.percent(s) + "/b" }},
	{"pattern in a path", func(q *traffic.Request, s string, e encoder) {
		q.Path = "/ref-" + e.percent(s) + "/b"
	}},
	{"absolute form", func(q *traffic.Request, s string, e encoder) { q.Path = "http://ann:" + e.percent(s) + "@x/a" }},
	{"form", func(q *traffic.Request, s string, e encoder) {
		body(q, formType, "a=b&"+e.percent(e.of("password", "email", "a[b][token]"))+"="+e.percent(s)+"&c=d")
	}},
	{"JSON by name", func(q *traffic.Request, s string, e encoder) {
		body(q, e.of(jsonType, "application/x+json", formType, "", "text/plain"), `{"a":[1,{`+e.json(e.of("password", "apiKey", "refresh_token"))+` : `+e.json(s)+`}]}`)
	}},
	{"JSON by path", func(q *traffic.Request, s string, e encoder) {
		body(q, jsonType, fmt.Sprintf(e.of(`{"user":{%s:%s}}`, `{"user":{%s:[{"x":%s}]}}`), e.json("email"), e.json(s)))
	}},
	{"JSON below", func(q *traffic.Request, s string, e encoder) {
		body(q, jsonType, `{"x":[[{`+e.json("card")+`:{"no":`+e.json(s)+`}}]],"items":[{"id":`+e.json(s)+`}]}`)
	}},
	{"JSON in JSON", func(q *traffic.Request, s string, e encoder) {
		body(q, jsonType, `{"m":`+e.json(`{"token":`+e.json(s)+`}`)+`}`)
	}},
	{"end of a name", func(q *traffic.Request, s string, e encoder) {
		header(e.of("X-Algolia-API-Key", "X_PLEX_TOKEN", "Authentication", "x-db-password2"), "%s")(q, s, e)
		body(q, jsonType, `{`+e.json(e.of("db_password", "accessTokenSecret", "Set-Cookie", "cvv"))+`:`+e.json(s)+`}`)
	}},
	{"form in JSON", func(q *traffic.Request, s string, e encoder) {
		body(q, jsonType, `{"m":`+e.json("a=b&password="+e.percent(s)+"&c=d")+`}`)
	}},
	{"GraphQL", func(q *traffic.Request, s string, e encoder) {
		body(q, jsonType, `{"query":`+e.json(`mutation { login(password: `+e.json(s)+`) { id } }`)+`}`)
	}},
	{"multipart", func(q *traffic.Request, s string, e encoder) {
		end := e.of("\r\n", "\n")
		body(q, multipartType, strings.Join([]string{"--XX", `Content-Disposition: form-data; name="` + e.of("email", "password") + `"`, "", s, "--XX--", ""}, end))
	}},
	{"pattern in a body", func(q *traffic.Request, s string, e encoder) {
		body(q, "text/xml", "<a><pin>"+s+"</pin></a>")
	}},
}

// written gives the text of a traffic file that holds a request.
func written(t *testing.T, q *traffic.Request) string {
	t.Helper()
	var file bytes.Buffer
	w, err := traffic.NewWriter(&file, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(q); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// leaks finds a secret in the text of a traffic file, in the encodings that a reader of it could take off: JSON's, percent,
// base64, one upon the other.
func leaks(text, secret string) bool {
	return leaksIn(text, secret, 3)
}

func leaksIn(text, secret string, depth int) bool {
	if strings.Contains(text, secret) {
		return true
	}
	if depth == 0 {
		return false
	}
	for _, e := range []encoding{asPath, asQuery, asJSON} {
		if plain, _ := decode([]byte(text), e, false); string(plain) != text && leaksIn(string(plain), secret, depth-1) {
			return true
		}
	}
	for _, word := range strings.FieldsFunc(text, func(c rune) bool { return !strings.ContainsRune(base62+"+/", c) }) {
		if len(word) < 8 {
			continue
		}
		if plain, err := base64.RawStdEncoding.DecodeString(word); err == nil && leaksIn(string(plain), secret, depth-1) {
			return true
		}
	}
	return false
}

// packAtRandom puts a body into a content coding, or not.
func packAtRandom(t *testing.T, q *traffic.Request, e encoder) {
	if len(q.Body) == 0 {
		return
	}
	switch coding := e.of("", "", "gzip", "zlib", "flate", "zstd"); coding {
	case "":
	case "zlib", "flate":
		q.Body, q.Headers = packed(t, coding, string(q.Body)), append(q.Headers, traffic.Header{"Content-Encoding", "deflate"})
	default:
		q.Body, q.Headers = packed(t, coding, string(q.Body)), append(q.Headers, traffic.Header{"Content-Encoding", coding})
	}
}

var secretAlphabets = []string{base62, "0123456789", base62 + "+/=-_.~", base62 + " &;%\"'<>{}[]:,?#@!$\\|é字"}

func randomSecret(e encoder) string {
	alphabet := []rune(secretAlphabets[e.IntN(len(secretAlphabets))])
	b := []rune("S3") // no space at the ends: a header has none, and pseudonyms of 12 characters are no chance hit
	for range 10 + e.IntN(30) {
		b = append(b, alphabet[e.IntN(len(alphabet))])
	}
	return string(b) + "9"
}

// plainSecret is a secret without what ends it in places that have no encoding of their own, like headers, or that patterns
// of leakRules exclude.
func plainSecret(s string) string {
	return strings.NewReplacer(";", "", "=", "", "%", "", "\\", "", `"`, "", " ", "", "/", "", "?", "", "&", "", "<", "").Replace(s)
}

func TestNothingLeaks(t *testing.T) {
	rng := encoder{rand.New(rand.NewPCG(5, 7))}
	r := redactor(t, leakRules)
	for _, p := range plants {
		t.Run(p.name, func(t *testing.T) {
			for range 30 {
				secret := randomSecret(rng)
				if !strings.Contains(p.name, "query") && !strings.Contains(p.name, "JSON") && p.name != "form" {
					secret = plainSecret(secret)
				}
				q := traffic.Request{Method: "GET", Scheme: "http", Authority: "x.example", Path: "/a", Headers: []traffic.Header{{"Accept", "*/*"}}}
				p.put(&q, secret, rng)
				checkNoLeak(t, r, &q, secret, rng)
			}
		})
	}
	if refused := r.Report().Refused; refused > 0 {
		t.Errorf("%d requests were refused: what they had planted was not looked for", refused)
	}
}

func checkNoLeak(t *testing.T, r *Redactor, q *traffic.Request, secret string, e encoder) {
	t.Helper()
	before := fmt.Sprintf("%s %s %q %q", q.Authority, q.Path, q.Headers, q.Body)
	words := secretWords(secret)
	found := false
	for _, w := range words {
		found = found || leaks(written(t, q)+string(q.Body), w)
	}
	if !found {
		t.Fatalf("the planted %q is not in %s: the test could not find a leak", secret, before)
	}
	packAtRandom(t, q, e)
	if err := r.Request(q); err != nil {
		return // not written
	}
	after := written(t, q) + q.Authority + q.Path + fmt.Sprint(q.Headers) + string(q.Body)
	for _, w := range words {
		if leaks(after, w) {
			t.Fatalf("%q of %q leaks\nfrom %s\nto   %s", w, secret, before, after)
		}
	}
}

// secretWords are the runs of letters and digits of a secret that are too long to be met by chance: a part that leaks
// is a leak too.
func secretWords(secret string) (words []string) {
	for _, w := range strings.FieldsFunc(secret, func(c rune) bool { return !strings.ContainsRune(base62, c) }) {
		if len(w) >= 6 {
			words = append(words, w)
		}
	}
	return append(words, secret)
}

// No request makes it panic, and no planted secret survives beside whatever else is in it.
func FuzzRequest(f *testing.F) {
	f.Add("/a?b=c;d", "X-A", "https://x/?y=z", jsonType, "", []byte(`{"a":"b"}`), uint64(1))
	f.Add("/a;b=c/%3f%3d?%7B%22a%22", "Cookie", "a; b=", formType, "gzip", []byte("a=b&c[d]=%7B%22"), uint64(2))
	f.Add("http://@x/?=&=&", "Authorization", "Basic =", multipartType, "deflate", []byte("--XX\r\n\r\na\r\n--XX--"), uint64(3))
	f.Add("//", "", "%", "text/plain", "zstd", []byte(`{"password":"\ud800`), uint64(4))
	f.Fuzz(func(t *testing.T, path, name, value, contentType, coding string, text []byte, seed uint64) {
		e := encoder{rand.New(rand.NewPCG(seed, 1))}
		r := redactor(t, leakRules)
		q := traffic.Request{Method: "GET", Path: path, Authority: value, Body: bytes.Clone(text),
			Headers: []traffic.Header{{name, value}, {"Content-Type", contentType}, {"Content-Encoding", coding}}}
		if err := r.Request(&q); err == nil && len(text) > 0 && len(q.Body) == 0 {
			t.Error("the body is gone")
		}
		secret := "S3cr3tS3cr3tZ" + fmt.Sprint(seed)
		if strings.Contains(path+name+value+contentType+string(text), "S3cr3t") {
			return
		}
		planted := traffic.Request{Path: strings.ReplaceAll(path, "#", ""), Headers: []traffic.Header{{name, value}}}
		planted.Path += e.of("?", "&", "?a=b&") + "token=" + e.percent(secret)
		if !strings.ContainsAny(path, "?") && strings.Contains(planted.Path, "&token") {
			planted.Path = strings.Replace(planted.Path, "&token", "?token", 1)
		}
		header("Cookie", strings.ReplaceAll(value, "%", "%%")+"; sid=%s")(&planted, secret, e)
		body(&planted, formType, strings.TrimLeft(string(text), "{[ \t\r\n\xef\xbb\xbf\x1e")+"&password="+e.percent(secret))
		if err := r.Request(&planted); err != nil {
			return
		}
		if after := planted.Path + fmt.Sprint(planted.Headers) + string(planted.Body); leaks(after, secret) {
			t.Errorf("leaks in %q", after)
		}
	})
}
