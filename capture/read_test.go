package capture

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"umbra/internal/traffic"
)

// TestReadSortsLogs checks that a log, which is written as requests end, comes out in the order in which they began, from the
// time at which the first of them did.
func TestReadSortsLogs(t *testing.T) {
	log := `10.0.0.1 [24/Nov/2026:02:12:54 +0000] "GET /first HTTP/1.1" 200 0.010
10.0.0.1 [24/Nov/2026:02:12:55 +0000] "GET /slow HTTP/1.1" 200 3.000
10.0.0.1 [24/Nov/2026:02:12:55 +0000] "GET /last HTTP/1.1" 200 0.000
`
	path := t.TempDir() + "/log.jsonl.zst"
	w := NewWriter(path, "log", nil, Rotation{})
	o := Options{LogFormat: `$remote_addr [$time_local] "$request" $status $request_time`, Host: "shop"}
	if err := Read(t.Context(), "-", strings.NewReader(log), o, w); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	header, requests := contents(t, path)
	begun := time.Date(2026, 11, 24, 2, 12, 52, 0, time.UTC)
	if header.Start != begun.UnixNano() || header.Partial {
		t.Errorf("the header is %+v", header)
	}
	want := []traffic.Request{{Path: "/slow"}, {Path: "/first", At: 1990 * time.Millisecond}, {Path: "/last", At: 3 * time.Second}}
	for i, r := range requests {
		if r.Path != want[i].Path || r.At != want[i].At {
			t.Errorf("request %d is %s at %v, want %s at %v", i, r.Path, r.At, want[i].Path, want[i].At)
		}
	}
}

// TestReadIsInterrupted checks that a pipe through which nothing comes holds nobody up.
func TestReadIsInterrupted(t *testing.T) {
	in, out := io.Pipe()
	defer out.Close()
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		out.Write([]byte("\xd4\xc3\xb2\xa1")) // a pcap's begin
		stop()
	}()
	w := NewWriter(t.TempDir()+"/x", "-", nil, Rotation{})
	if err := Read(ctx, "-", in, Options{}, w); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}
