package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"umbra/internal/traffic"
)

// startIn starts an app whose receipts outlive it.
func startIn(t *testing.T, dir string) *App {
	return start(t, Config{ReceiptsDir: dir})
}

func closeApp(t *testing.T, a *App) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := a.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

func sendAll(t *testing.T, a *App, ids ...string) {
	t.Helper()
	c := client(t, false)
	for _, id := range ids {
		if _, _, err := send(c, a, "POST", "/orders", id, id); err != nil {
			t.Fatal(err)
		}
	}
}

func idsOf(all []traffic.Receipt) (ids []string) {
	for _, r := range all {
		ids = append(ids, r.ID)
	}
	return ids
}

func wantIDs(t *testing.T, a *App, want ...string) {
	t.Helper()
	if got := idsOf(receipts(t, a)); !slices.Equal(got, want) {
		t.Errorf("receipts of %v, not %v", got, want)
	}
}

func remote(a *App) Client { return Client{Base: "http://" + a.AdminAddr()} }

func statusOf(t *testing.T, a *App) Status {
	t.Helper()
	s, err := remote(a).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestReceiptsOutliveTheApp(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	for i, want := range [][]string{{"1"}, {"1", "2"}, {"1", "2", "3"}} {
		a := startIn(t, dir)
		sendAll(t, a, want[i])
		wantIDs(t, a, want...)
		s := statusOf(t, a)
		if s.Incarnation != i+1 || s.Earlier != i || s.Cut != 0 || s.Receipts != i+1 || s.Version != "v1" || s.Pod != "shop-v1-0" {
			t.Errorf("status %+v", s)
		}
		closeApp(t, a)
	}
}

func TestKeptReceiptsAreWhole(t *testing.T) {
	dir := t.TempDir()
	a := start(t, Config{ReceiptsDir: dir, Ignore: []string{"$.time"}})
	sendAll(t, a, "1")
	want := receipts(t, a)
	closeApp(t, a)
	if got := receipts(t, startIn(t, dir)); len(got) != 1 || got[0] != want[0] || len(got[0].ResponseJSONSHA256) != 64 {
		t.Errorf("%+v became %+v", want, got)
	}
}

// killed copies what a process that is killed at this instant would leave.
func killed(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// awaitKept waits until the file of the first process holds n receipts.
func awaitKept(t *testing.T, dir string, n int) {
	t.Helper()
	awaitKeptIn(t, filepath.Join(dir, keptName(1)), n)
}

func awaitKeptIn(t *testing.T, path string, n int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		rows, cut, err := countKept(path)
		if err != nil || !cut {
			t.Fatalf("the file of an app that runs: cut %v, %v", cut, err)
		}
		if rows == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d receipts written, not %d", rows, n)
		}
	}
}

func TestKilledAppLeavesItsReceipts(t *testing.T) {
	dir := t.TempDir()
	a := startIn(t, dir)
	sendAll(t, a, "1", "2")
	awaitKept(t, dir, 2)
	sendAll(t, a, "3")
	awaitKept(t, dir, 3)
	b := startIn(t, killed(t, dir))
	sendAll(t, b, "4")
	wantIDs(t, b, "1", "2", "3", "4")
	if s := statusOf(t, b); s.Incarnation != 2 || s.Earlier != 1 || s.Cut != 1 || s.Receipts != 4 {
		t.Errorf("status %+v", s)
	}
}

func TestCutFileIsReadAsFarAsItGoes(t *testing.T) {
	dir := t.TempDir()
	a := startIn(t, dir)
	for i := range 3 {
		sendAll(t, a, fmt.Sprint(i))
		awaitKept(t, dir, i+1)
	}
	whole, err := os.ReadFile(filepath.Join(dir, keptName(1)))
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1, 100, len(whole) / 2, len(whole) - 1, len(whole)} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			path := t.TempDir()
			if err := os.WriteFile(filepath.Join(path, keptName(7)), whole[:size], 0o600); err != nil {
				t.Fatal(err)
			}
			b := startIn(t, path)
			all := idsOf(receipts(t, b))
			if len(all) > 3 || !slices.Equal(all, []string{"0", "1", "2"}[:len(all)]) || (len(all) == 3) != (size == len(whole)) {
				t.Errorf("%v of %d bytes", all, size)
			}
			if s := statusOf(t, b); s.Incarnation != 8 || s.Cut != 1 || s.Receipts != len(all) {
				t.Errorf("status %+v", s)
			}
		})
	}
}

func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"receipts-0.arrows", "receipts-01.arrows", "receipts-1.arrows.new", "receipts-x.arrows", "notes"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := startIn(t, dir)
	if s := statusOf(t, a); s.Incarnation != 1 || s.Earlier != 0 {
		t.Errorf("status %+v", s)
	}
	var b bytes.Buffer
	out := traffic.NewReceiptWriter(&b)
	if err := errors.Join(out.Close()); err != nil {
		t.Fatal(err)
	}
	twice := filepath.Join(t.TempDir(), keptName(1))
	if err := os.WriteFile(twice, append(b.Bytes(), b.Bytes()...), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Config{Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", ReceiptsDir: filepath.Dir(twice)})
	if err == nil || !strings.Contains(err.Error(), twice) || !strings.Contains(err.Error(), "remove the file") {
		t.Errorf("a file of two streams: %v", err)
	}
}

func TestForget(t *testing.T) {
	for _, tc := range []struct {
		name string
		dir  string
		late int // receipts, spilled or not, before
	}{{"kept", t.TempDir(), 5}, {"not kept", "", 5}, {"empty", "", 0}} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.dir != "" {
				earlier := startIn(t, tc.dir)
				sendAll(t, earlier, "earlier")
				closeApp(t, earlier)
			}
			a := start(t, Config{ReceiptsDir: tc.dir, MaxReceipts: 4})
			for range tc.late {
				sendAll(t, a, "before")
			}
			if err := remote(a).Forget(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s := statusOf(t, a); s.Receipts != 0 || s.Earlier != 0 {
				t.Errorf("status %+v", s)
			}
			sendAll(t, a, "1", "2", "3")
			wantIDs(t, a, "1", "2", "3")
			if tc.dir == "" {
				return
			}
			incarnation := statusOf(t, a).Incarnation
			closeApp(t, a)
			next := startIn(t, tc.dir)
			wantIDs(t, next, "1", "2", "3")
			if s := statusOf(t, next); s.Incarnation != incarnation+1 || s.Earlier != 1 {
				t.Errorf("status %+v", s)
			}
		})
	}
}

// What was under way leaves no receipt, and is counted as ended all the same.
func TestForgetWhatIsUnderWay(t *testing.T) {
	a := start(t, Config{Mode: ModeHung})
	ended := make(chan error, 1)
	go func() {
		_, _, err := send(client(t, false), a, "GET", "/", "under way", "")
		ended <- err
	}()
	awaitReceipts(t, a, "the request has arrived", func(all []traffic.Receipt) bool { return len(all) == 1 })
	if err := remote(a).Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, a)
	if err := remote(a).Configure(t.Context(), Settings{}); err != nil { // cuts it off
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the hung request was answered")
	}
	sendAll(t, a, "after")
	wantIDs(t, a, "after")
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		_, text := admin(t, a, "/metrics")
		if strings.Contains(string(text), `umbra_app_requests_in_flight{version="v1"} 0`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a forgotten request is still in flight:\n%s", text)
		}
	}
}

func TestLinger(t *testing.T) {
	ended := func(a *App) chan error {
		c := make(chan error, 1)
		go func() { c <- a.Close(context.Background()) }()
		return c
	}
	t.Run("until receipts are fetched", func(t *testing.T) {
		a := start(t, Config{Linger: time.Hour})
		sendAll(t, a, "1")
		wantIDs(t, a, "1") // before the drain: it does not count
		closed := ended(a)
		for deadline := time.Now().Add(patience); !a.isDrained(); runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatal("it does not drain")
			}
		}
		if res, _ := admin(t, a, "/health"); res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("health %d", res.StatusCode)
		}
		if err := remote(a).Configure(t.Context(), Settings{}); err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("settings while draining: %v", err)
		}
		wantIDs(t, a, "1")
		select {
		case err := <-closed:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("it did not end")
		}
	})
	t.Run("until the last receipts are fetched", func(t *testing.T) {
		a := start(t, Config{Linger: time.Hour, Mode: ModeSlow, SlowBy: 50 * time.Millisecond})
		answered := make(chan error, 1)
		go func() {
			_, _, err := send(client(t, false), a, "GET", "/", "in flight", "")
			answered <- err
		}()
		awaitReceipts(t, a, "the request has arrived", func(all []traffic.Receipt) bool { return len(all) == 1 })
		type fetched struct {
			ids []string
			err error
		}
		got := make(chan fetched, 1)
		go func() {
			var f fetched
			stream, err := remote(a).LastReceipts(t.Context())
			if err == nil {
				_, _, err = eachKept(stream, func(r *traffic.Receipt) error {
					f.ids = append(f.ids, fmt.Sprint(r.ID, r.Status))
					return nil
				})
				err = errors.Join(err, stream.Close())
			}
			f.err = err
			got <- f
		}()
		closeApp(t, a)
		if err := <-answered; err != nil {
			t.Error(err)
		}
		if f := <-got; f.err != nil || !slices.Equal(f.ids, []string{"in flight200"}) {
			t.Errorf("%v, %v", f.ids, f.err)
		}
	})
	t.Run("bounded", func(t *testing.T) {
		a := start(t, Config{Linger: time.Millisecond})
		select {
		case err := <-ended(a):
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("it did not end")
		}
	})
}

func TestClientTellsFaults(t *testing.T) {
	a := startIn(t, t.TempDir())
	stream, err := remote(a).Receipts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if rows, cut, err := eachKept(stream, func(*traffic.Receipt) error { return nil }); rows != 0 || cut || err != nil {
		t.Errorf("%d receipts, cut %v, %v", rows, cut, err)
	}
	if err := a.ledger.close(); err != nil {
		t.Fatal(err)
	}
	gone := Client{Base: "http://" + a.AdminAddr() + "/elsewhere", Transport: &http.Transport{DisableKeepAlives: true}}
	_, lost := remote(a).Receipts(t.Context())
	_, absent := gone.Status(t.Context())
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"receipts":  {lost, "GET /receipts: 500 Internal Server Error: receipts: the app has ended"},
		"forget":    {remote(a).Forget(t.Context()), "DELETE /receipts: 500"},
		"configure": {remote(a).Configure(t.Context(), Settings{Mode: "sleepy"}), `400 Bad Request: settings: mode: "sleepy" is unknown`},
		"status":    {absent, "GET /status: 404"},
		"nobody":    {Client{Base: "http://127.0.0.1:0"}.Forget(t.Context()), "app at http://127.0.0.1:0"},
	} {
		if tc.err == nil || !strings.Contains(tc.err.Error(), tc.want) {
			t.Errorf("%s: %v does not say %q", name, tc.err, tc.want)
		}
	}
}

func TestStatusClocks(t *testing.T) {
	before := time.Now()
	a := start(t, Config{})
	s := statusOf(t, a)
	if after := time.Now(); s.Started < before.UnixNano() || s.Clock < s.Started || s.Clock > after.UnixNano() || s.Incarnation != 1 {
		t.Errorf("status %+v", s)
	}
	if s.CPU < 0 || s.CPU != 0 && cpuTime() < time.Duration(s.CPU) {
		t.Errorf("CPU time %d", s.CPU)
	}
}

// FuzzCutFile: a file that ends anywhere gives its first batches, and never more.
func FuzzCutFile(f *testing.F) {
	f.Add(uint8(3), uint8(1), uint16(0))
	f.Add(uint8(3), uint8(1), uint16(5000))
	f.Add(uint8(40), uint8(7), uint16(9001))
	f.Fuzz(func(t *testing.T, rows, batch uint8, cut uint16) {
		var b bytes.Buffer
		out := traffic.NewReceiptWriter(&b)
		for i := range int(rows) {
			err := out.Write(&traffic.Receipt{ID: fmt.Sprint(i), Arrived: time.Unix(1, 0)})
			if batch > 0 && i%int(batch) == 0 {
				err = errors.Join(err, out.Flush())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		whole := b.Bytes()
		size := min(int(cut), len(whole))
		seen := 0
		read, wasCut, err := eachKept(bytes.NewReader(whole[:size]), func(r *traffic.Receipt) error {
			if r.ID != fmt.Sprint(seen) {
				t.Errorf("row %d is %s", seen, r.ID)
			}
			seen++
			return nil
		})
		if err != nil || read != seen || read > int(rows) || wasCut != (size < len(whole)) || !wasCut && read != int(rows) {
			t.Errorf("%d of %d rows, %d of %d bytes, cut %v, %v", read, rows, size, len(whole), wasCut, err)
		}
	})
}

// An app that is told to end takes requests for a while, as not everybody knows yet, and gives their receipts.
func TestShutdownDelay(t *testing.T) {
	a, err := Start(t.Context(), Config{Version: "v1", Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", SpillDir: t.TempDir(),
		ShutdownDelay: time.Hour, Linger: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	defer end()
	closed := make(chan error, 1)
	go func() { closed <- a.Close(ctx) }()
	for deadline := time.Now().Add(patience); !a.draining.Load(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it does not drain")
		}
	}
	sendAll(t, a, "late")
	if a.isDrained() {
		t.Error("it has drained already")
	}
	end()
	stream, err := remote(a).LastReceipts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var ids []string
	for r, err := range traffic.ReadReceipts(stream) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.ID)
	}
	if len(ids) != 1 || ids[0] != "late" {
		t.Errorf("receipts of %q", ids)
	}
	select {
	case err := <-closed: // its context ended: a connection that was not idle yet by then was cut off
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("close: %v", err)
		}
	case <-time.After(patience):
		t.Error("it did not end")
	}
}
