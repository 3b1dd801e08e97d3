package formats

import (
	"fmt"
	"strings"
	"time"
)

// apacheFields are the directives of mod_log_config that tell of a request. Its times are of the request's begin.
var apacheFields = map[byte]field{
	'h': {kind: isAddress}, 'a': {kind: isAddress}, 'r': {kind: isRequest}, 'm': {kind: isMethod}, 'U': {kind: isPath, begins: '/'},
	'q': {kind: isQuery, begins: '?'}, 'H': {kind: isProtocol}, 'V': {kind: isServerName}, 'v': {kind: isServerName}, 's': {kind: isStatus},
	't': {kind: isTime, layout: "02/Jan/2006:15:04:05 -0700"}, 'T': {kind: isDuration, unit: time.Second},
	'D': {kind: isDuration, unit: time.Microsecond},
}

// apache cuts a LogFormat, the whole directive or its text, into its fields and what stands between them.
func apache(text string) ([]token, escape, error) {
	text = strings.TrimSpace(text)
	if words, ok := directive(text, "LogFormat"); ok && len(words) > 0 {
		text = words[0]
	} else if words, ok := directive(text, ""); ok && len(words) == 1 {
		text = words[0]
	} else {
		text = strings.ReplaceAll(text, `\"`, `"`)
	}
	tokens, err := operators(text, apacheTokens)
	return tokens, escapeC, err
}

// operators cuts a format at each '%'. read takes what stands behind one: it gives the tokens of the operator that begins there,
// and the text behind that.
func operators(text string, read func(string) ([]token, string, error)) (tokens []token, err error) {
	for text != "" {
		plain, rest, found := strings.Cut(text, "%")
		if plain != "" {
			tokens = append(tokens, token{text: plain})
		}
		if !found {
			break
		}
		more, after, err := read(rest)
		if err != nil {
			return nil, err
		}
		tokens, text = append(tokens, more...), after
	}
	return tokens, nil
}

// apacheTokens reads what stands behind a '%': modifiers (the statuses for which it is written, < and > for the first and the last
// request of an internal redirect), {argument}, letter.
func apacheTokens(text string) ([]token, string, error) {
	rest := strings.TrimLeft(text, "!0123456789,<>")
	argument := ""
	if strings.HasPrefix(rest, "{") {
		var ok bool
		if argument, rest, ok = strings.Cut(rest[1:], "}"); !ok {
			return nil, "", fmt.Errorf("log format: %%{ without its } in %.40q", "%"+text)
		}
	}
	if len(rest) > 2 && rest[0] == '^' { // %{…}^ti, %{…}^to: trailers
		return []token{{field: field{kind: isIgnored, name: "%" + text[:len(text)-len(rest)+3]}}}, rest[3:], nil
	}
	if rest == "" {
		return nil, "", fmt.Errorf("log format: %.40q ends within a field", "%"+text)
	}
	if rest[0] == '%' {
		return []token{{text: "%"}}, rest[1:], nil
	}
	f, err := apacheField(rest[0], argument)
	f.name = "%" + text[:len(text)-len(rest)+1]
	tokens := timeTokens(f)
	if rest[0] == 't' && argument == "" {
		tokens = append(append([]token{{text: "["}}, tokens...), token{text: "]"})
	}
	return tokens, rest[1:], err
}

func apacheField(letter byte, argument string) (f field, err error) {
	f, ok := apacheFields[letter]
	switch {
	case letter == 'i':
		return apacheHeader(argument), nil
	case letter == 'p' && argument == "remote":
		f.kind = isConnection
	case letter == 't' && argument != "":
		return apacheTime(argument)
	case letter == 'T' && argument != "":
		if f.unit, ok = map[string]time.Duration{"ms": time.Millisecond, "us": time.Microsecond, "s": time.Second}[argument]; !ok {
			err = fmt.Errorf("log format: %%{%s}T is not in ms, us or s", argument)
		}
	case !ok:
		f.kind = isIgnored
	}
	return f, err
}

func apacheHeader(name string) field {
	switch strings.ToLower(name) {
	case "host":
		return field{kind: isHost}
	case "content-length":
		return field{kind: isLength}
	case "x-forwarded-for":
		return field{kind: isForwarded, header: name}
	}
	return field{kind: isHeader, header: name}
}

func apacheTime(format string) (f field, err error) {
	f.kind = isTime
	if rest, ok := strings.CutPrefix(format, "end:"); ok {
		f.kind, format = isEndTime, rest
	}
	format = strings.TrimPrefix(format, "begin:")
	switch format {
	case layoutSec, layoutMsec, layoutUsec, layoutMsecFrac, layoutUsecFrac:
		f.layout = format
	default:
		f.layout, err = layoutOf(format)
	}
	return f, err
}
