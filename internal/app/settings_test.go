package app

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"umbra/internal/traffic"
)

// put gives the status and text of PUT /settings.
func put(t *testing.T, a *App, text string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPut, "http://"+a.AdminAddr()+"/settings", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

const slower = `{"behaviour":{"latency_p50_ns":2000000,"latency_p99_ns":3000000,"error_rate":0.25,"size":300},"seed":7,"mode":"slow","slow_by_ns":5000000,"delay_ns":100000}`

const differing = `{"behaviour":{"latency_p50_ns":0,"latency_p99_ns":0,"error_rate":0,"size":0,"differ":0.25,"stamp":true},"seed":0,"mode":"","slow_by_ns":1000000000,"ignore":["$.time"]}`

func TestSettingsAreKept(t *testing.T) {
	dir := t.TempDir()
	a := startIn(t, dir)
	if status, text := put(t, a, slower); status != http.StatusNoContent || text != "" {
		t.Fatalf("%d %s", status, text)
	}
	if _, text := admin(t, a, "/settings"); strings.TrimSpace(string(text)) != slower {
		t.Errorf("settings are %s", text)
	}
	closeApp(t, a)
	b := start(t, Config{ReceiptsDir: dir, Mode: ModeErrors, Behaviour: Behaviour{ResponseSize: 9}})
	if _, text := admin(t, b, "/settings"); strings.TrimSpace(string(text)) != slower {
		t.Errorf("after a restart settings are %s", text)
	}
	if status, text := put(t, b, differing); status != http.StatusNoContent {
		t.Fatalf("%d %s", status, text)
	}
	if _, text := admin(t, b, "/settings"); strings.TrimSpace(string(text)) != differing {
		t.Errorf("settings are %s", text)
	}
}

func TestSettingsThatAreWrong(t *testing.T) {
	a := start(t, Config{})
	_, before := admin(t, a, "/settings")
	for _, tc := range []struct{ name, text, want string }{
		{"no JSON", "mode: slow", "settings: invalid character"},
		{"nothing", "", "settings: EOF"},
		{"unknown key", `{"modus":"slow"}`, `unknown field "modus"`},
		{"wrong type", `{"seed":"7"}`, "cannot unmarshal string"},
		{"two values", `{} {}`, "something behind"},
		{"unknown mode", `{"mode":"sleepy"}`, `mode: "sleepy" is unknown`},
		{"error rate", `{"behaviour":{"error_rate":1.5}}`, "1.5 is not a share"},
		{"latency", `{"behaviour":{"latency_p99_ns":5}}`, "needs a p50 above 0"},
		{"differ", `{"behaviour":{"differ":-0.1}}`, "differ: -0.1 is not a share"},
		{"path to ignore", `{"ignore":["$.a","time"]}`, `ignore: "time", character 1: it does not begin with $`},
		{"all ignored", `{"ignore":["$"]}`, `ignore: "$" leaves nothing to compare`},
		{"slow by", `{"slow_by_ns":-1}`, "slow by: -1ns is negative"},
		{"delay", `{"delay_ns":-1}`, "delay: -1ns is negative"},
		{"too long", strings.Repeat(" ", maxSettings) + "{}", "too large"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if status, text := put(t, a, tc.text); status != http.StatusBadRequest || !strings.Contains(text, tc.want) {
				t.Errorf("%d %q does not say %q", status, text, tc.want)
			}
		})
	}
	if _, after := admin(t, a, "/settings"); string(after) != string(before) {
		t.Errorf("settings are %s, not %s", after, before)
	}
	path := filepath.Join(t.TempDir(), settingsFile)
	if err := os.WriteFile(path, []byte(`{"mode":"sleepy"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Config{Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", ReceiptsDir: filepath.Dir(path)})
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "sleepy") {
		t.Errorf("a file of wrong settings: %v", err)
	}
}

func configure(t *testing.T, a *App, s Settings) {
	t.Helper()
	if err := remote(a).Configure(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

func TestBehaviourChangesAtRunTime(t *testing.T) {
	a := start(t, Config{})
	c := client(t, false)
	for _, tc := range []struct {
		name     string
		settings Settings
		status   int
		size     int
	}{
		{"size", Settings{Behaviour: Behaviour{ResponseSize: 4000}}, 200, 4000},
		{"errors", Settings{Mode: ModeErrors, Behaviour: Behaviour{ResponseSize: 500}}, 503, 500},
		{"error rate", Settings{Behaviour: Behaviour{ErrorRate: 1, ResponseSize: 500}}, 503, 500},
		{"slow", Settings{Mode: ModeSlow, SlowBy: time.Millisecond, Behaviour: Behaviour{ResponseSize: 500}}, 200, 500},
		{"healthy", Settings{Behaviour: Behaviour{ResponseSize: 600}}, 200, 600},
	} {
		t.Run(tc.name, func(t *testing.T) {
			configure(t, a, tc.settings)
			res, text, err := send(c, a, "GET", "/", tc.name, "")
			if err != nil || res.StatusCode != tc.status || len(text) != tc.size {
				t.Errorf("%v of %d bytes, %v", res, len(text), err)
			}
		})
	}
}

// Delay comes on top of the latency and of what a mode adds, and goes with other settings.
func TestDelay(t *testing.T) {
	const delay = 20 * time.Millisecond
	a := start(t, Config{})
	c := client(t, false)
	for i, tc := range []struct {
		settings Settings
		least    time.Duration
	}{
		{Settings{Delay: delay}, delay},
		{Settings{Delay: delay, Mode: ModeErrors}, delay},
		{Settings{Delay: delay, Behaviour: Behaviour{Latency: Latency{P50: 10 * time.Millisecond}}}, delay + 10*time.Millisecond},
		{Settings{Delay: delay, Mode: ModeSlow, SlowBy: 30 * time.Millisecond}, delay + 30*time.Millisecond},
		{Settings{}, 0},
	} {
		configure(t, a, tc.settings)
		if _, _, err := send(c, a, "GET", "/", "", ""); err != nil {
			t.Fatal(err)
		}
		if took := receipts(t, a)[i].Duration; took < tc.least {
			t.Errorf("%+v: it took %v", tc.settings, took)
		}
	}
	if got := a.now.Load().Delay; got != 0 {
		t.Errorf("a delay of %v is left", got)
	}
}

// Dead is dead for connections that stand, too, and what revives listens at the same address.
func TestDeadAndAlive(t *testing.T) {
	a := start(t, Config{})
	c := client(t, true)
	for range 2 {
		sendAll(t, a, "alive")
		if _, _, err := send(c, a, "GET", "/", "alive", ""); err != nil {
			t.Fatal(err)
		}
		configure(t, a, Settings{Mode: ModeDead})
		configure(t, a, Settings{Mode: ModeDead})
		if _, _, err := send(c, a, "GET", "/", "dead", ""); err == nil {
			t.Error("a dead app answered over a connection that stood")
		}
		if conn, err := net.Dial("tcp", a.Addr()); err == nil {
			conn.Close()
			t.Error("somebody listens")
		}
		configure(t, a, Settings{})
	}
	wantIDs(t, a, "alive", "alive", "alive", "alive")
}

func TestDeadFromTheStart(t *testing.T) {
	a := start(t, Config{Mode: ModeDead})
	configure(t, a, Settings{})
	sendAll(t, a, "1")
	wantIDs(t, a, "1")
}

// An address that somebody took meanwhile is told, and the app stays dead.
func TestRevivalFails(t *testing.T) {
	dir := t.TempDir()
	a := start(t, Config{Mode: ModeDead, ReceiptsDir: dir})
	l, err := net.Listen("tcp", a.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if status, text := put(t, a, "{}"); status != http.StatusInternalServerError || !strings.Contains(text, a.Addr()) {
		t.Errorf("%d %s", status, text)
	}
	if _, text := admin(t, a, "/settings"); !strings.Contains(string(text), ModeDead) {
		t.Errorf("settings are %s", text)
	}
	if _, err := os.Stat(filepath.Join(dir, settingsFile)); err == nil {
		t.Error("settings that failed were kept")
	}
}

func TestHungRequestsAreCutByOtherSettings(t *testing.T) {
	for _, mode := range []string{"", ModeErrors, ModeDead} {
		t.Run("to "+mode, func(t *testing.T) {
			a := start(t, Config{Mode: ModeHung})
			ended := make(chan error, 1)
			go func() {
				_, _, err := send(client(t, false), a, "GET", "/", "hung", "")
				ended <- err
			}()
			awaitReceipts(t, a, "the request has arrived", func(all []traffic.Receipt) bool { return len(all) == 1 })
			configure(t, a, Settings{Mode: ModeHung, Seed: 2})
			select {
			case err := <-ended:
				t.Fatalf("hung settings after hung ones ended it: %v", err)
			default:
			}
			configure(t, a, Settings{Mode: mode})
			if err := <-ended; err == nil {
				t.Error("the hung request was answered")
			}
			all := awaitReceipts(t, a, "it has ended", func(all []traffic.Receipt) bool { return all[0].Duration != traffic.Never })
			if all[0].Status != 0 {
				t.Errorf("receipt %+v", all[0])
			}
		})
	}
}

func FuzzSettings(f *testing.F) {
	for _, seed := range []string{slower, "{}", "", "null", `{"seed":-1}`, `{"behaviour":{"error_rate":1e400}}`, `{"behaviour":{"differ":0.5,"stamp":true},"ignore":["$..time","$['a'][0]"]}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := readSettings(strings.NewReader(text))
		if err == nil && s.Check() != nil {
			t.Errorf("%q gives settings that are wrong: %v", text, s.Check())
		}
	})
}
