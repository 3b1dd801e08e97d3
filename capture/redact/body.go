package redact

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"slices"
	"strings"
	"unicode/utf8"

	"umbra/internal/traffic"
)

// kind is how a body is looked into.
type kind int

const (
	isText      kind = iota // no type, or one that tells too little: as JSON where it begins so, else as a form
	isJSON                  // RFC 8259, or several texts, as in application/x-ndjson and application/json-seq
	isForm                  // application/x-www-form-urlencoded
	isMultipart             // RFC 2046, section 5.1
	isOpaque                // not looked into, but by patterns
)

// kindOf tells the kind of a body from its Content-Type.
func kindOf(contentType string) kind {
	media, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	media = strings.TrimSpace(media)
	family, sub, _ := strings.Cut(media, "/")
	switch {
	case strings.HasSuffix(sub, "json"), strings.HasSuffix(sub, "jsonl"), strings.HasSuffix(sub, "json-seq"), strings.HasSuffix(sub, "jsonlines"):
		return isJSON
	case sub == "x-www-form-urlencoded":
		return isForm
	case family == "multipart":
		return isMultipart
	case family == "image", family == "audio", family == "video", family == "font", opaqueTypes[media],
		strings.HasPrefix(media, "application/grpc"), strings.HasSuffix(media, "xml"), strings.HasSuffix(media, "protobuf"):
		return isOpaque
	}
	return isText
}

var opaqueTypes = map[string]bool{"application/pdf": true, "application/zip": true, "application/gzip": true, "application/x-gzip": true, "application/wasm": true,
	"application/cbor": true, "application/msgpack": true, "text/html": true, "text/css": true, "text/csv": true}

// body redacts a request's body, and takes away the headers that are no longer true.
func (r *Redactor) body(q *traffic.Request) error {
	contentType, codings := bodyHeaders(q.Headers)
	k := kindOf(contentType)
	if !r.looksInto(k) {
		return nil
	}
	plain, err := r.unpack.all(q.Body, codings)
	if err != nil {
		return err
	}
	redacted := plain
	if r.byName() {
		if redacted, err = r.text(plain, contentType, 0); err != nil {
			return err
		}
	}
	redacted = r.matchBody(redacted, k)
	if bytes.Equal(redacted, plain) {
		return nil
	}
	q.Body = redacted
	q.Headers = slices.DeleteFunc(q.Headers, func(h traffic.Header) bool { return ofOldBody[strings.ToLower(strings.TrimSpace(h[0]))] })
	return nil
}

// ofOldBody are headers that a redacted body makes false, and that a body could be guessed by.
var ofOldBody = map[string]bool{"content-encoding": true, "content-md5": true, "content-digest": true, "repr-digest": true, "digest": true, "x-amz-content-sha256": true}

// looksInto tells whether a rule concerns bodies of a kind.
func (r *Redactor) looksInto(k kind) bool {
	return k != isOpaque && r.byName() || len(r.patterns) > 0 && r.matchesIn(InBody)
}

// byName tells whether a rule names anything in a body.
func (r *Redactor) byName() bool {
	return len(r.form.rules) > 0 || len(r.members.rules) > 0 || len(r.paths) > 0
}

// bodyHeaders gives the type of the body and its codings in the order in which they were applied.
func bodyHeaders(headers []traffic.Header) (contentType string, codings []string) {
	var transfer []string
	for _, h := range headers {
		switch name := strings.TrimSpace(h[0]); {
		case len(name) == 12 && strings.EqualFold(name, "content-type"):
			contentType = h[1]
		case len(name) == 16 && strings.EqualFold(name, "content-encoding"):
			codings = appendCodings(codings, h[1])
		case len(name) == 17 && strings.EqualFold(name, "transfer-encoding"):
			transfer = appendCodings(transfer, h[1])
		}
	}
	return contentType, append(codings, transfer...)
}

func appendCodings(codings []string, value string) []string {
	for coding := range strings.SplitSeq(value, ",") {
		if coding = strings.ToLower(strings.TrimSpace(coding)); coding != "" && coding != "identity" && coding != "chunked" {
			codings = append(codings, coding)
		}
	}
	return codings
}

// text redacts by names and paths a body, or a part of one, of the given type.
func (r *Redactor) text(body []byte, contentType string, depth int) ([]byte, error) {
	k := kindOf(contentType)
	switch {
	case k == isOpaque || len(body) == 0:
		return body, nil
	case k == isMultipart:
		return r.multipart(body, contentType, depth)
	case compressed(body):
		return nil, errors.New("the body is compressed and no Content-Encoding says so")
	case !isUTF8(body, contentType):
		return nil, errors.New("the body is not text in UTF-8")
	case k == isJSON || looksJSON(body):
		return r.json(body, k)
	case k == isForm:
		return r.formText(body, false), nil
	}
	return r.formText(r.prose(body, &r.form, inBody), true), nil
}

// isUTF8 is false for what holds NUL, as UTF-16 does. Octets may, but not where they begin as UTF-16.
func isUTF8(body []byte, contentType string) bool {
	if bytes.HasPrefix(body, []byte{0xFF, 0xFE}) || bytes.HasPrefix(body, []byte{0xFE, 0xFF}) {
		return false
	}
	if media, _, _ := strings.Cut(contentType, ";"); strings.EqualFold(strings.TrimSpace(media), "application/octet-stream") {
		return len(body) < 2 || (body[0] == 0) == (body[1] == 0)
	}
	return bytes.IndexByte(body, 0) < 0
}

func (r *Redactor) formText(body []byte, prosed bool) []byte {
	if !bytes.ContainsAny(body, "=%:") {
		return body
	}
	s := string(body)
	if redacted := r.fields(s, field{names: &r.form, place: inBody, ends: formEnds, prosed: prosed}); redacted != s {
		return []byte(redacted)
	}
	return body
}

// compressed tells of the magic numbers of gzip, zstd and zlib (RFC 1950, section 2.2). zlib's could begin a text.
func compressed(body []byte) bool {
	if len(body) > 2 && body[0] == 0x78 && (body[1] == 0x01 || body[1] == 0x5E || body[1] == 0x9C || body[1] == 0xDA) {
		return !utf8.Valid(body) || bytes.IndexByte(body, 0) >= 0
	}
	return bytes.HasPrefix(body, []byte{0x1F, 0x8B}) || bytes.HasPrefix(body, []byte{0x28, 0xB5, 0x2F, 0xFD})
}

// json redacts JSON. What is none is refused where paths would have to be followed in it, and searched as text where only
// names are looked for.
func (r *Redactor) json(body []byte, k kind) ([]byte, error) {
	redacted, err := r.jsonText(body, r.paths, inBody, 0)
	switch {
	case err == nil:
		return redacted, nil
	case len(r.paths) > 0:
		return nil, err
	case len(r.members.rules) == 0 && k == isJSON:
		return body, nil
	}
	if k != isJSON {
		body = r.formText(body, true)
	}
	return r.lenient(body, inBody), nil
}

// matchBody redacts what patterns match.
func (r *Redactor) matchBody(body []byte, k kind) []byte {
	if len(r.patterns) == 0 || !r.matchesIn(InBody) {
		return body
	}
	e := asIs
	switch {
	case k == isJSON || k != isOpaque && k != isMultipart && looksJSON(body):
		e = asJSON
	case k == isForm:
		e = asQuery
	}
	return []byte(r.match(string(body), InBody, inBody, e))
}

// multipart redacts the fields of a multipart body, and looks into its parts by their types.
func (r *Redactor) multipart(body []byte, contentType string, depth int) ([]byte, error) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" {
		return nil, errors.New("the body is multipart and its Content-Type has no boundary that can be read")
	}
	if depth >= maxNested {
		return nil, fmt.Errorf("the body is multipart and nested deeper than %d", maxNested)
	}
	var out []byte
	copied, changed := 0, false
	err = eachPart(body, []byte("--"+params["boundary"]), func(p part) error {
		redacted, err := r.part(p, depth)
		if err != nil || bytes.Equal(redacted, p.content) {
			return err
		}
		out = append(append(out, body[copied:p.at]...), redacted...)
		copied, changed = p.at+len(p.content), true
		return nil
	})
	if err != nil || !changed {
		return body, err
	}
	return append(out, body[copied:]...), nil
}

func (r *Redactor) part(p part, depth int) ([]byte, error) {
	contentType, name, err := partHeaders(p.head)
	if err != nil {
		return nil, err
	}
	if u := r.parameter(&r.form, name); u != nil && name != "" {
		return []byte(r.replace(u, inBody, string(p.content))), nil // dropping it would take its delimiter too
	}
	return r.text(p.content, contentType, depth+1)
}

// part is one of a multipart body; content is at body[at:].
type part struct {
	head, content []byte
	at            int
}

// eachPart gives the parts between delimiters. Lines may end in LF alone, as some servers take them.
func eachPart(body, delimiter []byte, give func(part) error) error {
	errMalformed := errors.New("the body is malformed multipart")
	start, ok := afterDelimiter(body, delimiter, 0)
	for ; ok && start >= 0; start, ok = afterDelimiter(body, delimiter, start) {
		end := nextDelimiter(body, delimiter, start)
		if end < 0 {
			return errMalformed
		}
		head, at := partHead(body[start:end])
		if at < 0 {
			return errMalformed
		}
		content := trimLineEnd(body[start+at : end])
		if err := give(part{head, content, start + at}); err != nil {
			return err
		}
		start = end
	}
	if !ok {
		return errMalformed
	}
	return nil
}

// afterDelimiter finds the next delimiter line and what is behind it; -1 behind the closing one. It is not ok where
// there is none.
func afterDelimiter(body, delimiter []byte, from int) (int, bool) {
	at := nextDelimiter(body, delimiter, from)
	if at < 0 {
		return 0, false
	}
	behind := at + len(delimiter)
	if bytes.HasPrefix(body[behind:], []byte("--")) {
		return -1, true
	}
	line := bytes.IndexByte(body[behind:], '\n')
	if line < 0 || len(bytes.TrimSpace(body[behind:behind+line])) > 0 {
		return 0, false
	}
	return behind + line + 1, true
}

// nextDelimiter finds the delimiter at the start of a line.
func nextDelimiter(body, delimiter []byte, from int) int {
	for from <= len(body) {
		i := bytes.Index(body[from:], delimiter)
		if i < 0 {
			return -1
		}
		if at := from + i; at == 0 || body[at-1] == '\n' {
			return at
		}
		from += i + 1
	}
	return -1
}

// partHead cuts the header lines off, and tells where the content begins; -1 where they do not end.
func partHead(b []byte) ([]byte, int) {
	for at := 0; at < len(b); {
		line := bytes.IndexByte(b[at:], '\n')
		if line < 0 {
			return nil, -1
		}
		if len(bytes.TrimRight(b[at:at+line], "\r")) == 0 {
			return b[:at], at + line + 1
		}
		at += line + 1
	}
	return nil, -1
}

func trimLineEnd(b []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
}

// partHeaders reads what of a part's header lines concerns redaction.
func partHeaders(head []byte) (contentType, name string, err error) {
	unfolded := strings.NewReplacer("\r\n ", " ", "\r\n\t", " ", "\n ", " ", "\n\t", " ").Replace(string(head))
	for line := range strings.Lines(unfolded) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "content-type":
			contentType = value
		case "content-disposition":
			_, params, err := mime.ParseMediaType(value)
			if err != nil {
				return "", "", errors.New("a part of the multipart body has a Content-Disposition that cannot be read")
			}
			name = params["name"]
		case "content-encoding":
			return "", "", errors.New("a part of the multipart body has a Content-Encoding")
		case "content-transfer-encoding":
			if v := strings.ToLower(value); (v == "base64" || v == "quoted-printable") && kindOf(contentType) != isOpaque {
				return "", "", errors.New("a part of the multipart body has a Content-Transfer-Encoding of " + v)
			}
		}
	}
	return contentType, name, nil
}
