package traffic

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
)

// IgnoredHeaders is the published list of what HeaderDigest passes over, as proxies on the way add or change it:
// whole names in lower case, and prefixes that end with '*'.
var IgnoredHeaders = []string{
	"x-forwarded-*", "x-request-id", "x-envoy-*",
	// trace headers
	"traceparent", "tracestate", "baggage", "b3", "x-b3-*", "x-ot-span-context", "x-cloud-trace-context",
	"grpc-trace-bin", "x-amzn-trace-id", "x-datadog-*", "sw8", "uber-trace-id",
	// hop-by-hop (RFC 9110, 7.6.1) and framing
	"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
	"transfer-encoding", "upgrade", "content-length",
}

// HeaderDigest is the SHA-256, in lower-case hex, over the sorted lines "name: value\n" of a request's headers with
// names in lower case, without IgnoredHeaders. It is made to compare receipts with each other.
func HeaderDigest(h http.Header) string {
	lines := make([]string, 0, len(h))
	for name, values := range h {
		name = strings.ToLower(name)
		if ignored(name) {
			continue
		}
		for _, v := range values {
			lines = append(lines, name+": "+v+"\n")
		}
	}
	slices.Sort(lines)
	sum := sha256.New()
	for _, l := range lines {
		sum.Write([]byte(l))
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func ignored(name string) bool {
	return slices.ContainsFunc(IgnoredHeaders, func(rule string) bool {
		prefix, wild := strings.CutSuffix(rule, "*")
		return name == rule || wild && strings.HasPrefix(name, prefix)
	})
}
