package formats

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"umbra/capture/internal/exchange"
	"umbra/internal/traffic"
)

// isoTime is Envoy's START_TIME without an argument.
const isoTime = "2006-01-02T15:04:05Z07:00"

// envoyFields are Envoy's command operators that tell of a request. START_TIME is its begin.
var envoyFields = map[string]field{
	"START_TIME": {kind: isTime, layout: isoTime}, "PROTOCOL": {kind: isProtocol}, "RESPONSE_CODE": {kind: isStatus},
	"BYTES_RECEIVED": {kind: isLength}, "DURATION": {kind: isDuration, unit: time.Millisecond},
	"DOWNSTREAM_REMOTE_ADDRESS": {kind: isAddress}, "DOWNSTREAM_DIRECT_REMOTE_ADDRESS": {kind: isIgnored},
	"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": {kind: isAddress}, "CONNECTION_ID": {kind: isConnection},
}

// envoy cuts a text_format into its command operators and what stands between them. Envoy escapes nothing.
func envoy(text string) ([]token, escape, error) {
	text = strings.TrimSuffix(strings.TrimRight(text, "\r\n"), `\n`)
	tokens, err := operators(text, envoyTokens)
	return tokens, escapeNone, err
}

// envoyTokens reads an operator and the '%' that ends it; %% is a '%'.
func envoyTokens(text string) ([]token, string, error) {
	end := operatorEnd(text)
	switch {
	case end < 0:
		return nil, "", fmt.Errorf("log format: %.60q has no second %%", "%"+text)
	case end == 0:
		return []token{{text: "%"}}, text[1:], nil
	}
	f, err := envoyField(text[:end])
	if err != nil {
		return nil, "", err
	}
	return timeTokens(f), text[end+1:], nil
}

// operatorEnd finds the '%' that ends an operator, whose argument may hold others: START_TIME(%s.%3f).
func operatorEnd(text string) int {
	percent, open := strings.IndexByte(text, '%'), strings.IndexByte(text, '(')
	if open < 0 || percent < open {
		return percent
	}
	closing := strings.IndexByte(text, ')')
	if closing < 0 {
		return -1
	}
	if end := strings.IndexByte(text[closing:], '%'); end >= 0 {
		return closing + end
	}
	return -1
}

// envoyField reads OPERATOR(argument):longest.
func envoyField(operator string) (f field, err error) {
	name, rest, hasArgument := strings.Cut(operator, "(")
	argument, after, _ := strings.Cut(rest, ")")
	f, ok := envoyFields[name]
	switch {
	case name == "REQ" || name == "REQUEST_HEADER":
		f = envoyHeader(argument)
	case name == "START_TIME" && hasArgument && argument != "":
		if f.layout, err = envoyLayout(argument); err != nil {
			return f, err
		}
	case !ok:
		f.kind = isIgnored
	}
	if n, ok := strings.CutPrefix(after, ":"); ok {
		if f.longest, err = strconv.Atoi(n); err != nil || f.longest < 1 {
			return f, fmt.Errorf("log format: %%%s%%: %q is no length", operator, n)
		}
	}
	f.name = "%" + operator + "%"
	return f, nil
}

func envoyLayout(argument string) (string, error) {
	switch argument {
	case "%s":
		return layoutSec, nil
	case "%s.%3f", "%s.%6f", "%s.%9f", "%s.%f":
		return layoutFloat, nil
	case "%s%3f":
		return layoutMsec, nil
	case "%s%6f":
		return layoutUsec, nil
	case "%s%9f":
		return layoutNsec, nil
	}
	return layoutOf(argument)
}

// envoyHeader reads REQ's argument: a name, or NAME?OTHER for the first of the two that is there.
func envoyHeader(argument string) field {
	name, other, _ := strings.Cut(strings.ToLower(argument), "?")
	if other == ":path" || other == ":authority" {
		name = other
	}
	switch name {
	case ":method":
		return field{kind: isMethod}
	case "x-envoy-original-path":
		return field{kind: isOriginal, begins: '/'}
	case ":path":
		return field{kind: isTarget, begins: '/'}
	case ":authority", "host":
		return field{kind: isHost}
	case ":scheme":
		return field{kind: isScheme}
	case "content-length":
		return field{kind: isLength}
	case "x-forwarded-for":
		return field{kind: isForwarded, header: name}
	}
	if other != "" || strings.HasPrefix(name, ":") {
		return field{kind: isIgnored} // of which header it is, the line does not say
	}
	return field{kind: isHeader, header: name}
}

// envoyKeys are Istio's default keys (EnvoyJSONLogFormatIstio in pilot/pkg/model/telemetry_logging.go) and what others obviously
// mean; in lower case, with '_' for '-', '.' and ':'.
var envoyKeys = map[string]field{
	"start_time": {kind: isTime}, "time": {kind: isTime}, "timestamp": {kind: isTime}, "@timestamp": {kind: isTime},
	"method": {kind: isMethod}, "request_method": {kind: isMethod}, "_method": {kind: isMethod},
	"path": {kind: isTarget}, "request_path": {kind: isTarget}, "_path": {kind: isTarget}, "request_uri": {kind: isTarget},
	"x_envoy_original_path": {kind: isOriginal}, "original_path": {kind: isOriginal},
	"authority": {kind: isHost}, "_authority": {kind: isHost}, "host": {kind: isHost},
	"scheme": {kind: isScheme}, "_scheme": {kind: isScheme}, "protocol": {kind: isProtocol},
	"response_code": {kind: isStatus}, "status": {kind: isStatus}, "status_code": {kind: isStatus},
	"duration": {kind: isDuration, unit: time.Millisecond}, "duration_ms": {kind: isDuration, unit: time.Millisecond},
	"bytes_received": {kind: isLength}, "content_length": {kind: isLength},
	"downstream_remote_address": {kind: isAddress}, "connection_id": {kind: isConnection},
	"x_forwarded_for": {kind: isForwarded, header: "x-forwarded-for"},
	"user_agent":      {kind: isHeader, header: "user-agent"}, "referer": {kind: isHeader, header: "referer"},
	"request_id": {kind: isHeader, header: "x-request-id"}, "x_request_id": {kind: isHeader, header: "x-request-id"},
	"traceparent": {kind: isHeader, header: "traceparent"}, "content_type": {kind: isHeader, header: "content-type"},
	"accept": {kind: isHeader, header: "accept"}, "cookie": {kind: isHeader, header: "cookie"}, "authorization": {kind: isHeader, header: "authorization"},
}

var keyNames = strings.NewReplacer("-", "_", ".", "_", ":", "_")

// ReadEnvoyJSON reads an access log of Envoy, or Istio, in JSON: an object a line. Everything else is as for ReadLog.
func ReadEnvoyJSON(r io.Reader, o Options) Requests {
	var origin origin
	var rec record
	return readLines(r, func(line []byte) (traffic.Request, error) {
		rec.reset()
		if err := rec.fromJSON(line); err != nil {
			return traffic.Request{}, err
		}
		return rec.request(&origin, o)
	})
}

// fromJSON takes the members whose keys are known, in their order: of two with one meaning, the last counts.
func (r *record) fromJSON(line []byte) error {
	if len(line) > maxHead {
		return refuse(exchange.LinesUnreadable, "longer than %d MiB", maxHead>>20)
	}
	d := json.NewDecoder(strings.NewReader(string(line)))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return refuse(exchange.LinesUnreadable, "not an object in JSON")
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return refuse(exchange.LinesUnreadable, "not JSON: %v", err)
		}
		var value any
		if err := d.Decode(&value); err != nil {
			return refuse(exchange.LinesUnreadable, "not JSON: %v", err)
		}
		if err := r.member(fmt.Sprint(key), value); err != nil {
			return refuse(exchange.LinesUnreadable, "%v: %v", key, err)
		}
	}
	if t, err := d.Token(); err != nil || t != json.Delim('}') {
		return refuse(exchange.LinesUnreadable, "not a whole object in JSON")
	}
	return nil
}

func (r *record) member(key string, value any) error {
	f, ok := envoyKeys[keyNames.Replace(strings.ToLower(key))]
	if !ok {
		return nil
	}
	text := ""
	switch v := value.(type) {
	case string:
		text = v
	case json.Number:
		text = v.String()
	case nil:
		return nil
	default:
		return fmt.Errorf("neither a text nor a number")
	}
	if f.kind == isTime {
		f.layout = isoTime
		if len(text) > 0 && strings.Trim(text, "0123456789.") == "" {
			f.layout = layoutFloat
		}
		r.stamp = stamp{}
	}
	return r.set(f, text)
}
