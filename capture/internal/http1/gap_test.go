package http1

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbra/capture/internal/exchange"
)

// unanswered and answered are what describe shows of get(n).
func unanswered(n string) string { return "GET http://h /" + n }
func answered(n, body string) string {
	return unanswered(n) + " -> 200 1s " + digest(body)
}

func TestGap(t *testing.T) {
	const post = "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n"
	const long = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
	for name, test := range map[string]struct {
		steps []step
		want  []string
		loss  exchange.Loss
	}{
		"within a request's body of a known length": {
			[]step{c(post + "ab"), cgap(5), c("xyz"), s(ok("one")), c(get(2)), s(ok("two"))},
			[]string{"requests_incomplete", answered("2", "two")}, exchange.Loss{exchange.RequestsCut: 1}},
		"to the end of a request's body": {
			[]step{c(post + "ab"), cgap(8), s(ok("one")), c(get(2)), s(ok("two"))},
			[]string{"requests_incomplete", answered("2", "two")}, exchange.Loss{exchange.RequestsCut: 1}},
		"within an answer's body of a known length": {
			[]step{c(get(1)), s(long + "ab"), sgap(5), s("xyz"), c(get(2)), s(ok("two"))},
			[]string{unanswered("1"), answered("2", "two")}, exchange.Loss{exchange.ResponsesCut: 1}},
		"to the end of an answer's body, pipelined": {
			[]step{c(get(1) + get(2)), s(long), sgap(10), s(ok("two"))},
			[]string{unanswered("1"), "GET http://h /2 -> 200 3s " + digest("two")}, exchange.Loss{exchange.ResponsesCut: 1}},
		"beyond a request's body": {
			[]step{c(post + "ab"), cgap(20), c("HTTP/1.1\r\n\r\n"), s(ok("one")), c(get(2)), s(ok("two"))},
			[]string{"requests_incomplete", answered("2", "two")}, exchange.Loss{exchange.RequestsCut: 1}},
		"beyond the body of a pipelined request": {
			[]step{c(post + "ab"), cgap(20), c("HTTP/1.1\r\n\r\n"), c(get(2)), s(ok("one")), c(get(3)), s(ok("two"))},
			[]string{"requests_incomplete", unanswered("2"), unanswered("3")},
			exchange.Loss{exchange.RequestsCut: 1, exchange.RequestsWithoutResponse: 2, exchange.ResponsesWithoutRequest: 1}},
		"beyond an answer's body": {
			[]step{c(get(1)), s(long + "ab"), sgap(20), s("tail"), c(get(2)), s(ok("two")), c(get(3)), s(ok("three"))},
			[]string{unanswered("1"), unanswered("2"), answered("3", "three")},
			exchange.Loss{exchange.ResponsesCut: 1, exchange.RequestsWithoutResponse: 1, exchange.ResponsesWithoutRequest: 1}},
		"of unknown length within a body": {
			[]step{c(post + "ab"), cgap(-1), c("xyz"), s(ok("one")), c(get(2)), s(ok("two"))},
			[]string{"requests_incomplete", answered("2", "two")}, exchange.Loss{exchange.RequestsCut: 1}},
		"within a request's head": {
			[]step{c("GET /1 HTTP/1.1\r\nHo"), cgap(5), c("X: y\r\n\r\n"), s(ok("one")), c(get(2)), s(ok("two"))},
			[]string{"requests_incomplete", answered("2", "two")}, exchange.Loss{exchange.RequestsCut: 1}},
		"within the head of a HEAD that is answered with a length": {
			[]step{c("HEAD /1 HTTP/1.1\r\nHo"), cgap(5), c("X: y\r\n\r\n"), s(long), c(get(2)), s(ok("two")), c(get(3)), s(ok("three"))},
			[]string{"requests_incomplete", unanswered("2"), answered("3", "three")},
			exchange.Loss{exchange.RequestsCut: 1, exchange.RequestsWithoutResponse: 1, exchange.ResponsesWithoutRequest: 1}},
		"within a chunked body": {
			[]step{c("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na"), cgap(1), c("cd\r\n0\r\n\r\n"), s(ok("one")), c(get(2)), s(ok("two"))},
			[]string{"requests_incomplete", answered("2", "two")}, exchange.Loss{exchange.RequestsCut: 1}},
		"within an answer's chunked body": {
			[]step{c(get(1)), s(chunkedOK + "4\r\na"), sgap(1), s("cd\r\n0\r\n\r\n"), c(get(2)), s(ok("two")), c(get(3)), s(ok("three"))},
			[]string{unanswered("1"), unanswered("2"), answered("3", "three")},
			exchange.Loss{exchange.ResponsesCut: 1, exchange.RequestsWithoutResponse: 1, exchange.ResponsesWithoutRequest: 1}},
		"within a body that the close delimits": {
			[]step{c(get(1)), s("HTTP/1.0 200 OK\r\n\r\nab"), sgap(7), s(ok("is still the body")), fin(exchange.FromServer)},
			[]string{unanswered("1")}, exchange.Loss{exchange.ResponsesCut: 1}},
		"a lost answer shifts nothing": {
			[]step{c(get(1)), sgap(50), c(get(2)), s(ok("two")), c(get(3)), s(ok("three"))},
			[]string{unanswered("1"), unanswered("2"), answered("3", "three")},
			exchange.Loss{exchange.RequestsWithoutResponse: 2, exchange.ResponsesWithoutRequest: 1}},
		"a lost answer that is told late shifts nothing": {
			[]step{c(get(1)), c(get(2)), sgap(50), s(ok("two")), c(get(3)), s(ok("three"))},
			[]string{unanswered("1"), unanswered("2"), answered("3", "three")},
			exchange.Loss{exchange.RequestsWithoutResponse: 2, exchange.ResponsesWithoutRequest: 1}},
		"a lost request shifts nothing": {
			[]step{c(get(0)), s(ok("zero")), cgap(50), s(ok("one")), c(get(2)), s(ok("two")), c(get(3)), s(ok("three"))},
			[]string{answered("0", "zero"), answered("2", "two"), answered("3", "three")},
			exchange.Loss{exchange.ResponsesWithoutRequest: 1}},
		"a lost request that is told late shifts nothing": {
			[]step{c(get(0)), s(ok("zero")), s(ok("one")), cgap(50), c(get(2)), s(ok("two")), c(get(3)), s(ok("three"))},
			[]string{answered("0", "zero"), unanswered("2"), answered("3", "three")},
			exchange.Loss{exchange.RequestsWithoutResponse: 1, exchange.ResponsesWithoutRequest: 2}},
		"a request that is told behind its answer shifts nothing": {
			[]step{c(get(0)), s(ok("zero")), s(ok("one")), at(-1500*time.Millisecond, c(get(1))), c(get(2)), s(ok("two"))},
			[]string{answered("0", "zero"), unanswered("1"), answered("2", "two")},
			exchange.Loss{exchange.RequestsWithoutResponse: 1, exchange.ResponsesWithoutRequest: 1}},
		"an answer that was seen before its request is not its answer": {
			[]step{c(get(0)), s(ok("zero")), c(get(1)), at(-1500*time.Millisecond, s(ok("late"))), s(ok("one")), c(get(2)), s(ok("two"))},
			[]string{answered("0", "zero"), unanswered("1"), answered("2", "two")},
			exchange.Loss{exchange.RequestsWithoutResponse: 1, exchange.ResponsesWithoutRequest: 2}},
		"an answer that stands in the capture just before its request shifts nothing": {
			[]step{c(get(0)), s(ok("zero")), s(ok("one")), c(get(1)), c(get(2)), s(ok("two")), c(get(3)), s(ok("three"))},
			[]string{answered("0", "zero"), unanswered("1"), unanswered("2"), unanswered("3")},
			exchange.Loss{exchange.RequestsWithoutResponse: 3, exchange.ResponsesWithoutRequest: 3}},
		"an answer that cannot be read is no pipelining": {
			[]step{c(get(0)), s(ok("zero")), c(get(1)), sgap(50), c(get(2)), s("HT"), s(ok("two")[2:]), c(get(3)), s(ok("three")), c(get(4)), s(ok("four"))},
			[]string{answered("0", "zero"), unanswered("1"), unanswered("2"), unanswered("3"), answered("4", "four")},
			exchange.Loss{exchange.RequestsWithoutResponse: 3, exchange.ResponsesWithoutRequest: 1}},
		"a client that pipelines only behind a gap": {
			[]step{c(get(0)), s(ok("zero")), cgap(9), s(ok("lost")), c(get(1)), s(ok("one")), c(get(2) + get(3)), s(ok("two") + ok("three"))},
			[]string{answered("0", "zero"), answered("1", "one"), unanswered("2"), unanswered("3")},
			exchange.Loss{exchange.RequestsWithoutResponse: 2, exchange.ResponsesWithoutRequest: 3}},
		"requests before a gap keep their answers": {
			[]step{c(get(1) + get(2)), cgap(9), c(get(4)), s(ok("one") + ok("two") + ok("three") + ok("four"))},
			[]string{"GET http://h /1 -> 200 3s " + digest("one"), "GET http://h /2 -> 200 3s " + digest("two"), unanswered("4")},
			exchange.Loss{exchange.RequestsWithoutResponse: 1, exchange.ResponsesWithoutRequest: 2}},
		"behind a pipelining client doubt stays": {
			[]step{c(get(1) + get(2)), s(ok("one") + ok("two")), cgap(9), c(get(4)), s(ok("three")), c(get(5)), s(ok("four"))},
			[]string{"GET http://h /1 -> 200 1s " + digest("one"), "GET http://h /2 -> 200 1s " + digest("two"), unanswered("4"), unanswered("5")},
			exchange.Loss{exchange.RequestsWithoutResponse: 2, exchange.ResponsesWithoutRequest: 2}},
		"joined midway": {
			[]step{cgap(-1), sgap(-1), s("rest of a body"), c("half: a head\r\n\r\n"), s(ok("zero")), c(get(1)), s(ok("one")), c(get(2)), s(ok("two"))},
			[]string{answered("1", "one"), answered("2", "two")},
			exchange.Loss{exchange.RequestsCut: 1, exchange.ResponsesWithoutRequest: 1}},
		"joined midway, before anything was answered": {
			[]step{cgap(-1), sgap(-1), c(get(1)), s(ok("one")), c(get(2)), s(ok("two"))},
			[]string{unanswered("1"), answered("2", "two")},
			exchange.Loss{exchange.RequestsWithoutResponse: 1, exchange.ResponsesWithoutRequest: 1}},
		"a begin that needs a second segment": {
			[]step{cgap(-1), c("GET /" + strings.Repeat("x", 600)), c(get(1)), s(ok("one"))},
			[]string{"requests_malformed", unanswered("1")}, // a head beyond its bound
			exchange.Loss{exchange.RequestsMalformed: 1, exchange.RequestsWithoutResponse: 1, exchange.ResponsesWithoutRequest: 1}},
		"while the client is held": {
			[]step{c("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\n\r\n"), cgap(4), c(get(2)), s(ok("one") + ok("lost")), s(ok("two"))},
			[]string{"GET http://h / {Upgrade: x} -> 200 3s " + digest("one"), unanswered("2")},
			exchange.Loss{exchange.RequestsWithoutResponse: 1, exchange.ResponsesWithoutRequest: 2}},
		"no answer while the client is held": {
			[]step{c("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\n"), c(get(2))},
			[]string{"GET http://h / {Upgrade: h2c}", unanswered("2")}, exchange.Loss{exchange.RequestsWithoutResponse: 2}},
		"in answers while the client is held": {
			[]step{c("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\n\r\n"), c("\x81\x85frame"), sgap(80), s("\x81\x05"), c(get(2))},
			[]string{"GET http://h / {Upgrade: x}", unanswered("2")},
			exchange.Loss{exchange.RequestsWithoutResponse: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			got, loss := play(test.steps, 0, nil)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("exchanges (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.loss, loss); diff != "" {
				t.Errorf("loss (-want +got):\n%s", diff)
			}
		})
	}
}
