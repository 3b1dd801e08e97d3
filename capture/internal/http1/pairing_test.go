package http1

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"umbra/capture/internal/exchange"
)

// segment is a piece of a connection that may be lost.
type segment struct {
	from exchange.Direction
	text string
	at   time.Time
}

// serial makes the segments of a client that waits for each answer; the body of the answer to /n is n.
func serial(r *rand.Rand, exchanges int) []segment {
	var all []segment
	now := epoch
	add := func(from exchange.Direction, text string) {
		for text != "" {
			now = now.Add(time.Millisecond)
			n := 1 + r.IntN(len(text))
			if r.IntN(3) > 0 {
				n = len(text)
			}
			all = append(all, segment{from, text[:n], now})
			text = text[n:]
		}
	}
	for i := range exchanges {
		request, response := messages(r, i)
		add(exchange.FromClient, request)
		add(exchange.FromServer, response)
	}
	return all
}

// messages makes the request with the path /i and its answer, whose body is i, of any kind.
func messages(r *rand.Rand, i int) (request, response string) {
	method, sent, body := "GET", "", fmt.Sprint(i)
	response = ok(body)
	switch r.IntN(5) {
	case 0:
		method, response = "HEAD", strings.TrimSuffix(response, body)
	case 1:
		response = chunkedOK + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	case 2:
		method, sent = "POST", "some text"
	}
	return fmt.Sprintf("%s /%d HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", method, i, len(sent), sent), response
}

// lose plays the segments with some of them missing. The reassembly tells of a gap when it gives up waiting: at once, or after
// the other direction went on for a while.
func lose(r *rand.Rand, all []segment, s exchange.Stream) {
	var missing [2]int64
	var waiting [2][]segment
	for _, seg := range all {
		d := seg.from
		if r.IntN(8) == 0 && len(waiting[d]) == 0 {
			missing[d] += int64(len(seg.text))
			continue
		}
		waiting[d] = append(waiting[d], seg)
		if missing[d] == 0 || r.IntN(3) > 0 {
			tell(r, s, &missing[d], &waiting[d])
		}
	}
	for d := range waiting {
		tell(r, s, &missing[d], &waiting[d])
	}
}

func tell(r *rand.Rand, s exchange.Stream, missing *int64, waiting *[]segment) {
	for _, seg := range *waiting {
		if n := *missing; n > 0 {
			if r.IntN(4) == 0 {
				n = -1
			}
			s.Gap(seg.from, n, seg.at)
		}
		*missing = 0
		give(s, seg.from, []byte(seg.text), seg.at)
	}
	*waiting = nil
}

// Whatever is lost of a connection whose client waits for its answers, no request gets another one's answer.
func TestNeverPairsWrongly(t *testing.T) {
	const connections, exchanges = 3000, 30
	pairs := 0
	for seed := range uint64(connections) {
		r := rand.New(rand.NewPCG(seed, 5))
		sink := newSink()
		p := New(Options{Sink: sink, Loss: sink.loss, Limits: limits, Scheme: "http"})
		lose(r, serial(r, exchanges), p)
		p.Close(epoch)
		pairs += rightPairs(t, seed, sink)
		checkLoss(t, sink, p)
	}
	if share := float64(pairs) / (connections * exchanges); share < 0.2 {
		t.Errorf("%.2f of the exchanges were paired: doubt does not end", share)
	} else {
		t.Logf("%.2f of the exchanges were paired", share)
	}
}

// rightPairs checks that each request that has an answer has its own, and counts them.
func rightPairs(t *testing.T, seed uint64, s *sink) (pairs int) {
	t.Helper()
	for _, e := range s.begun {
		answer := e.Request.Response
		if answer == nil {
			continue
		}
		pairs++
		want := digest(strings.TrimPrefix(e.Request.Path, "/"))
		if e.Request.Method == "HEAD" {
			want = digest("")
		}
		if answer.BodySHA256[:6] != want {
			t.Fatalf("seed %d: %s", seed, describe(e))
		}
	}
	return pairs
}
