package formats

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"umbra/capture/internal/exchange"
)

// mustEnd ranges over a reader and holds what every reader promises: requests that can be sent, errors with a place and a cause,
// nothing behind a fatal one, and no more entries than there are bytes.
func mustEnd(t *testing.T, rows Requests, size int) {
	t.Helper()
	n, over := 0, false
	for r, err := range rows {
		var e *EntryError
		switch n++; {
		case over:
			t.Fatal("it goes on behind a fatal error")
		case n > size+1:
			t.Fatalf("%d entries of %d bytes", n, size)
		case errors.Is(err, ErrFatal):
			over = true
		case err != nil && (!errors.As(err, &e) || e.Where == "" || e.Cause == "" || e.Msg == ""):
			t.Fatalf("an error without place or cause: %v", err)
		case err == nil && check(&r, Options{}) != nil:
			t.Fatalf("an unsendable request: %+v", r)
		}
	}
}

// fuzz runs a reader over plain text: what unpacks gzip and zstd is others' code.
func fuzz(f *testing.F, k Kind, format string) {
	for _, fixture_ := range fixtures {
		if fixture_.kind == k && (k != Log || fixture_.format == format) {
			f.Add(fixture(f, fixture_.file))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.HasPrefix(text, []byte{0x1f, 0x8b}) || bytes.HasPrefix(text, []byte{0x28, 0xb5}) {
			return
		}
		rows, err := Read(k, format, bytes.NewReader(text), Options{Host: "a.test", Open: openFixture})
		if err != nil {
			t.Fatal(err)
		}
		mustEnd(t, rows, len(text))
	})
}

func FuzzHAR(f *testing.F)        { fuzz(f, HAR, "") }
func FuzzCombined(f *testing.F)   { fuzz(f, Log, "combined") }
func FuzzIstio(f *testing.F)      { fuzz(f, Log, "istio") }
func FuzzEnvoyJSON(f *testing.F)  { fuzz(f, EnvoyJSON, "") }
func FuzzGor(f *testing.F)        { fuzz(f, Gor, "") }
func FuzzVegetaHTTP(f *testing.F) { fuzz(f, VegetaHTTP, "") }
func FuzzVegetaJSON(f *testing.F) { fuzz(f, VegetaJSON, "") }

func FuzzLogFormat(f *testing.F) {
	f.Add(Combined, `1.2.3.4 - - [02/Mar/2026:09:15:00 +0000] "GET / HTTP/1.1" 200 1 "-" "-"`)
	f.Add(`log_format j escape=json '{"t":"$msec","u":"$request_method $uri$is_args$args"}';`, `{"t":"1.5","u":"GET /a?b"}`)
	f.Add(EnvoyText, `[2026-03-02T09:15:00.310Z] "GET / HTTP/2" 204 - 0 0 2 1 "-" "-" "-" "a" "-"`)
	f.Add(`LogFormat "%{%d/%b/%Y %T}t.%{msec_frac}t \"%r\" %{us}T" x`, `02/Mar/2026 09:15:00.250 "GET / HTTP/1.1" 5`)
	f.Fuzz(func(t *testing.T, format, line string) {
		parsed, err := ParseLog(format)
		if err == nil {
			mustEnd(t, ReadLog(strings.NewReader(line), parsed, Options{Host: "a.test"}), len(line))
		}
	})
}

func FuzzRecognise(f *testing.F) {
	for _, fixture_ := range fixtures {
		f.Add(fixture(f, fixture_.file))
	}
	f.Fuzz(func(t *testing.T, first []byte) {
		if r, ok := Recognise(first, "x.log"); ok && (r.Kind == "" || r.Ask != "") {
			t.Errorf("recognised as %+v", r)
		}
	})
}

// Whatever values a combined line is made of, it is read as these values, or refused.
func FuzzSplit(f *testing.F) {
	f.Add("1.2.3.4", "-", "GET / HTTP/1.1", "a b")
	f.Add("1.2.3.4", "a [b", "GET / HTTP/1.1", `\"`)
	f.Fuzz(func(t *testing.T, address, user, request, agent string) {
		quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
		if strings.ContainsAny(address, " \"") || strings.ContainsAny(address+user, "\\\r\n") || strings.ContainsAny(request+agent, "\r") {
			return // no address has these, and servers escape them elsewhere
		}
		line := fmt.Sprintf(`%s - %s [02/Mar/2026:09:15:00 +0000] "%s" 200 1 "-" "%s"`, address, user, quote.Replace(request), quote.Replace(agent))
		format, err := ParseLog("combined")
		if err != nil {
			t.Fatal(err)
		}
		var rec record
		rec.reset()
		var e *EntryError
		switch err := format.split([]byte(line), &rec); {
		case err != nil && (!errors.As(err, &e) || e.Cause != exchange.LinesUnreadable):
			t.Error(err)
		case err == nil && (rec.line != absent(request) || rec.address != absent(address)):
			t.Errorf("%s: read as %q from %q", line, rec.line, rec.address)
		}
	})
}

func absent(value string) string {
	if value == "-" {
		return ""
	}
	return value
}

func BenchmarkReaders(b *testing.B) {
	for _, f := range fixtures {
		if f.kind == HAR {
			continue // its entries are within one document
		}
		b.Run(f.file, func(b *testing.B) {
			text := bytes.Repeat(fixture(b, f.file), 200)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			entries := 0
			for b.Loop() {
				rows, err := Read(f.kind, f.format, bytes.NewReader(text), Options{Host: "a.test", Open: openFixture})
				if err != nil {
					b.Fatal(err)
				}
				entries = 0
				for range rows {
					entries++
				}
			}
			b.ReportMetric(float64(entries)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}
