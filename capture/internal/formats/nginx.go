package formats

import (
	"fmt"
	"net/textproto"
	"strings"
	"time"
)

// nginxFields are the variables of ngx_http_core_module and ngx_http_log_module that tell of a request.
// $time_local and its like are of when the line was written: the request's end.
var nginxFields = map[string]field{
	"request": {kind: isRequest}, "request_method": {kind: isMethod}, "request_uri": {kind: isTarget, begins: '/'},
	"uri": {kind: isPath, begins: '/'}, "document_uri": {kind: isPath, begins: '/'}, "args": {kind: isQuery}, "query_string": {kind: isQuery},
	"server_protocol": {kind: isProtocol}, "scheme": {kind: isScheme}, "host": {kind: isServerName}, "http_host": {kind: isHost},
	"content_length": {kind: isLength}, "http_content_length": {kind: isLength}, "request_body": {kind: isBody},
	"remote_addr": {kind: isAddress}, "connection": {kind: isConnection}, "status": {kind: isStatus},
	"request_time": {kind: isDuration, unit: time.Second},
	"msec":         {kind: isEndTime, layout: layoutFloat},
	"time_local":   {kind: isEndTime, layout: "02/Jan/2006:15:04:05 -0700"},
	"time_iso8601": {kind: isEndTime, layout: "2006-01-02T15:04:05Z07:00"},
	"content_type": {kind: isHeader, header: "Content-Type"}, "http_x_forwarded_for": {kind: isForwarded, header: "X-Forwarded-For"},
}

// nginx cuts a log_format, the whole directive or its text, into its variables and what stands between them.
func nginx(text string) (tokens []token, e escape, err error) {
	text = strings.TrimSpace(text)
	e = escapeC
	if strings.HasPrefix(text, "escape=") {
		text = "log_format - " + text
	}
	if words, ok := directive(text, "log_format"); ok {
		if len(words) < 2 {
			return nil, e, fmt.Errorf("log format: log_format has a name and a text")
		}
		words, text = words[1:], ""
		if how, ok := strings.CutPrefix(words[0], "escape="); ok {
			if e, ok = map[string]escape{"default": escapeC, "json": escapeJSON, "none": escapeNone}[how]; !ok {
				return nil, e, fmt.Errorf("log format: escape=%s is not default, json or none", how)
			}
			words = words[1:]
		}
		text = strings.Join(words, "")
	} else if words, ok := directive(text, ""); ok {
		text = strings.Join(words, "")
	}
	tokens, err = nginxTokens(text)
	return tokens, e, err
}

func nginxTokens(text string) ([]token, error) {
	var tokens []token
	for text != "" {
		plain, rest, found := strings.Cut(text, "$")
		if plain != "" {
			tokens = append(tokens, token{text: plain})
		}
		if !found {
			break
		}
		name := rest[:len(rest)-len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"))]
		text = rest[len(name):]
		if inner, after, ok := strings.Cut(rest, "}"); ok && rest[0] == '{' {
			name, text = inner[1:], after
		}
		if name == "is_args" {
			// What follows is the query, with its '?' where there is one.
			if after, ok := strings.CutPrefix(text, "$args"); ok {
				tokens, text = append(tokens, token{field: field{kind: isQuery, name: "$is_args$args", begins: '?'}}), after
				continue
			}
		}
		if name == "" {
			return nil, fmt.Errorf("log format: a $ without a variable's name before %.20q", text)
		}
		tokens = append(tokens, timeTokens(nginxField(name))...)
	}
	return tokens, nil
}

func nginxField(name string) field {
	f, ok := nginxFields[name]
	header, isHTTP := strings.CutPrefix(name, "http_")
	switch {
	case ok:
	case isHTTP:
		f = field{kind: isHeader, header: textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(header, "_", "-"))}
	default:
		f.kind = isIgnored
	}
	f.name = "$" + name
	return f
}

// directive cuts a line of nginx's or Apache's configuration into the words behind its name; without a name, text that begins
// with a quote. Quoted words are unquoted.
func directive(text, name string) (words []string, ok bool) {
	rest, ok := strings.CutPrefix(text, name)
	if !ok || name == "" && !strings.HasPrefix(text, "'") && !strings.HasPrefix(text, `"`) {
		return nil, false
	}
	for {
		rest = strings.TrimLeft(rest, " \t\r\n;")
		if rest == "" {
			// Without a name, two words in double quotes are rather two quoted fields.
			return words, name != "" || text[0] == '\'' || len(words) == 1
		}
		var word string
		word, rest = configWord(rest)
		words = append(words, word)
	}
}

// configWord takes the first word. Within quotes a backslash takes its meaning from a quote or a backslash.
func configWord(text string) (word, rest string) {
	quote := text[0]
	if quote != '\'' && quote != '"' {
		end := strings.IndexAny(text, " \t\r\n;")
		if end < 0 {
			end = len(text)
		}
		return text[:end], text[end:]
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == quote:
			return b.String(), text[i+1:]
		case c == '\\' && i+1 < len(text) && strings.IndexByte(`'"\`, text[i+1]) >= 0:
			i++
			b.WriteByte(text[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}
