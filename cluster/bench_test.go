package cluster

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// BenchmarkGateway carries requests end to end, client, gateway and apps in this process, and reports requests a second.
func BenchmarkGateway(b *testing.B) {
	for _, bc := range []struct{ name, routes, method, body string }{
		{"unmirrored", toV1, "GET", ""},
		{"10%", tenth, "GET", ""},
		{"100%", mirrored, "GET", ""},
		{"100% of 1 KiB uploads", mirrored, "POST", strings.Repeat("x", 1024)},
	} {
		b.Run(bc.name, func(b *testing.B) {
			bed := up(b, spec(b, bc.routes))
			var n atomic.Int64
			b.SetParallelism(16)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r := bed.request(b.Context(), bc.method, "/items", fmt.Sprintf("r-%d", n.Add(1)), bc.body)
					res, err := bed.client.Do(r)
					if err != nil {
						b.Error(err)
						return
					}
					if res.StatusCode != http.StatusOK {
						b.Errorf("status %d", res.StatusCode)
					}
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			})
			bed.drained()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}
