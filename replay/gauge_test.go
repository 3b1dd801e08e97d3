package replay

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// While a server holds its answers back, the requests that are due are under way, those that wait for a connection among them.
func TestGaugeTellsWhatIsUnderWay(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		release := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
		defer server.Close()
		var g Gauge
		go func() {
			defer close(release)
			for deadline := time.Now().Add(20 * time.Second); g.UnderWay() < 12 && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
			if g.Due() != 12 || g.UnderWay() != 12 {
				t.Errorf("%d due, %d under way; want 12 of both", g.Due(), g.UnderWay())
			}
		}()
		o := Options{Portable: portable, Address: server.Listener.Addr().String(), Connections: 4, Loops: 2, Timeout: 30 * time.Second, Gauge: &g}
		m := play1(t, o, every(12, time.Millisecond, same(get("/"))))
		if ok := m.outcomes()["ok"]; ok != 12 || g.Due() != 12 || g.UnderWay() != 0 {
			t.Errorf("behind the run: %d ok, %d due, %d under way", ok, g.Due(), g.UnderWay())
		}
	})
}
