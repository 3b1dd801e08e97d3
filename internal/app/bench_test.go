package app

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"umbra/internal/traffic"
)

// sink is a ResponseWriter that costs nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkHandle is what the app itself spends on a request.
func BenchmarkHandle(b *testing.B) {
	for _, mode := range []struct {
		name string
		dir  func(*Config)
	}{
		{"default", func(c *Config) { c.SpillDir = b.TempDir() }},
		{"kept", func(c *Config) { c.ReceiptsDir = b.TempDir() }},
		{"stamped, and ignored", func(c *Config) {
			c.SpillDir, c.Behaviour.Stamp, c.Ignore = b.TempDir(), true, []string{"$.time"}
		}},
	} {
		b.Run(mode.name, func(b *testing.B) {
			config := Config{Version: "v1", Pod: "shop-v1-0", Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", Behaviour: Behaviour{ResponseSize: 512}}
			mode.dir(&config)
			a, err := Start(b.Context(), config)
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := a.Close(b.Context()); err != nil {
					b.Error(err)
				}
			}()
			r, err := http.NewRequest("POST", "http://shop.example.com/api/items?page=3", nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.Header.Set(traffic.IDHeader, strconv.Itoa(i))
				r.Body = http.NoBody
				if i%2 == 0 {
					r.Body = body{strings.NewReader("0123456789")}
				}
				a.route(&sink{http.Header{}}, r)
			}
		})
	}
}

type body struct{ *strings.Reader }

func (body) Close() error { return nil }
