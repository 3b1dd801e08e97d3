package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
)

// shop makes the varied traffic: browsers, apps and services with heads of their own, sessions that begin and end, and answers
// of many kinds and lengths. It is the same each time.
type shop struct {
	*maker
	random  *rand.Rand
	clients [connections]client
}

func newShop(m *maker) *shop {
	return &shop{maker: m, random: rand.New(rand.NewPCG(1, 2))}
}

// client is who is at the other end of a connection.
type client struct {
	left   int    // requests until it goes
	fields string // of each of its requests
	traced bool   // it sends an id with each request
	page   string // where it is
}

var browsers = []string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.%d Safari/605.1.15",
	"Mozilla/5.0 (X11; Linux x86_64; rv:%d.0) Gecko/20100101 Firefox/128.0",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 17_%d like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
}

var languages = []string{"en-US,en;q=0.9", "de-DE,de;q=0.9,en;q=0.8", "fr-FR,fr;q=0.8", "ja,en-US;q=0.7,en;q=0.3"}

// arrive makes a client: of two in five a browser, of two an app, else a service.
func (s *shop) arrive() client {
	c := client{left: 1 + s.random.IntN(60), page: "https://shop.example.com/"}
	switch s.random.IntN(5) {
	case 0, 1:
		c.fields = fmt.Sprintf("Host: shop.example.com\r\nConnection: keep-alive\r\nUser-Agent: "+s.pick(browsers)+"\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: %s\r\nAccept-Encoding: gzip, deflate, br\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nCookie: _ga=GA1.2.%d.%d; sid=%s; theme=dark\r\n",
			100+s.random.IntN(40), s.pick(languages), s.random.Uint32(), s.random.Uint32(), s.token(32))
	case 2, 3:
		c.traced = true
		c.fields = fmt.Sprintf("host: api.example.com\r\nuser-agent: ShopApp/%d.%d (Android 14)\r\naccept: application/json\r\naccept-encoding: gzip\r\nauthorization: Bearer %s.%s.%s\r\n",
			4+s.random.IntN(3), s.random.IntN(20), s.token(36), s.token(120), s.token(43))
	default:
		c.traced = true
		c.fields = fmt.Sprintf("Host: inventory.shop.svc\r\nUser-Agent: Go-http-client/1.1\r\nX-Forwarded-For: 10.%d.%d.%d\r\nX-Api-Key: %s\r\nAccept-Encoding: gzip\r\n",
			s.random.IntN(256), s.random.IntN(256), s.random.IntN(256), s.token(24))
	}
	return c
}

func (s *shop) pick(of []string) string { return of[s.random.IntN(len(of))] }

func (s *shop) token(n int) string {
	const digits = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	var b strings.Builder
	for range n {
		b.WriteByte(digits[s.random.IntN(len(digits))])
	}
	return b.String()
}

// exchange is a request of the client on a connection, or of the next one there, and its answer.
func (s *shop) exchange(c int) {
	who := &s.clients[c]
	if who.left == 0 {
		if s.next[c] != [2]uint32{} {
			s.close(c)
		}
		*who = s.arrive()
		s.open(c)
	}
	who.left--
	s.send(c, true, s.request(who))
	s.send(c, false, s.response())
}

func (s *shop) request(who *client) string {
	fields := who.fields
	if who.traced {
		fields += fmt.Sprintf("traceparent: 00-%016x%016x-%016x-01\r\nx-request-id: %016x\r\n", s.random.Uint64(), s.random.Uint64(), s.random.Uint64(), s.random.Uint64())
	} else {
		fields += "Referer: " + who.page + "\r\n"
	}
	switch s.random.IntN(10) {
	case 0:
		body := fmt.Sprintf(`{"item":%d,"count":%d,"note":%q,"coupon":null,"price":{"amount":%d.%02d,"currency":"EUR"}}`,
			s.random.Uint32(), 1+s.random.IntN(9), s.token(s.random.IntN(80)), s.random.IntN(500), s.random.IntN(100))
		return fmt.Sprintf("POST /api/cart/%d/lines HTTP/1.1\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", s.random.IntN(1e6), fields, len(body), body)
	case 1:
		body := fmt.Sprintf("item=%d&count=%d&csrf_token=%s", s.random.IntN(1e6), s.random.IntN(9), s.token(24))
		return fmt.Sprintf("POST /cart HTTP/1.1\r\n%sContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", fields, len(body), body)
	}
	path := fmt.Sprintf([]string{"/items/%d", "/api/items/%d?fields=name,price&lang=en", "/search?q=red+mug&page=%d", "/static/app.%d.js", "/api/users/%d/orders?limit=20"}[s.random.IntN(5)], s.random.IntN(1e6))
	if !who.traced {
		who.page = "https://shop.example.com" + path
	}
	return "GET " + path + " HTTP/1.1\r\n" + fields + "\r\n"
}

func (s *shop) response() string {
	date := s.at.UTC().Format(http.TimeFormat)
	switch s.random.IntN(10) {
	case 0:
		return fmt.Sprintf("HTTP/1.1 304 Not Modified\r\nDate: %s\r\nETag: \"%s\"\r\nServer: nginx\r\n\r\n", date, s.token(12))
	case 1:
		return fmt.Sprintf("HTTP/1.1 302 Found\r\nDate: %s\r\nLocation: /items/%d\r\nSet-Cookie: cart=%s; Path=/; HttpOnly\r\nContent-Length: 0\r\n\r\n", date, s.random.IntN(1e6), s.token(20))
	case 2:
		body := s.token(1 + s.random.IntN(3000))
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n4\r\n</p>\r\n0\r\n\r\n", date, len(body), body)
	}
	body := fmt.Sprintf(`{"id":%d,"name":"mug","stock":%d,"text":"%s"}`, s.random.Uint32(), s.random.IntN(100), s.token(s.random.IntN(900)))
	return fmt.Sprintf("HTTP/1.1 200 OK\r\ndate: %s\r\nserver: istio-envoy\r\ncontent-type: application/json\r\ncontent-length: %d\r\nx-envoy-upstream-service-time: %d\r\n\r\n%s", date, len(body), s.random.IntN(90), body)
}
