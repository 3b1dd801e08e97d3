package redact

import (
	"slices"
	"strings"
	"testing"

	"umbra/internal/traffic"
)

var plainHeaders = []traffic.Header{
	{"Host", "shop.example"}, {"User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}, {"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
	{"Accept-Language", "en-GB,en;q=0.5"}, {"Accept-Encoding", "gzip, deflate, br, zstd"}, {"Connection", "keep-alive"}, {"Sec-Fetch-Mode", "navigate"}, {"X-Request-Id", "0b0e8a5e-4a1f-4c58-9a53-1a7b2f6d8c11"},
}

func BenchmarkRequest(b *testing.B) {
	document := `{"items":[` + strings.TrimSuffix(strings.Repeat(`{"sku":"a-17","count":3,"price":12.5},`, 25), ",") + `],"note":"none"}`
	tests := []struct {
		name, rules, path, body string
		headers                 []traffic.Header
	}{
		{"nothing to redact", "", "/api/items?page=3", "", nil},
		{"bearer and cookie", "", "/api/items?page=3", "", []traffic.Header{{"Authorization", "Bearer abcdefghijklmnop"}, {"Cookie", "sid=abc; theme=dark"}}},
		{"token in the query", "", "/api/items?page=3&access_token=abc", "", nil},
		{"JSON of 1 kB without secrets", "", "/api/items", document, []traffic.Header{{"Content-Type", jsonType}}},
		{"JSON of 1 kB by a path", "json: ['$..price']", "/api/items", document, []traffic.Header{{"Content-Type", jsonType}}},
		{"form", "", "/login", "user=ann&password=abc", []traffic.Header{{"Content-Type", formType}}},
	}
	for _, tt := range tests {
		b.Run(tt.name, func(b *testing.B) {
			r := redactor(b, tt.rules)
			all := slices.Concat(plainHeaders, tt.headers)
			headers, body := slices.Clone(all), []byte(tt.body)
			b.ReportAllocs()
			for b.Loop() {
				copy(headers, all)
				q := traffic.Request{Path: tt.path, Headers: headers, Body: body}
				if err := r.Request(&q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
