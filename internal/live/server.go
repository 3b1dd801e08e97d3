package live

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/netutil"
)

// Address reads where to serve: "HOST:PORT", HOST an address of loopback, "localhost" or nothing, which is 127.0.0.1; port 0 is any that is
// free. What others than this machine could reach is an error.
func Address(text string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no address like :0 or 127.0.0.1:8000", text)
	}
	if host == "" || host == "localhost" {
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || !ip.IsLoopback() {
		return netip.AddrPort{}, fmt.Errorf("%q: the page is for this machine alone; give an address of loopback, like :0, 127.0.0.1:8000 or [::1]:8000", text)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q: %q is no port from 0 to 65535", text, port)
	}
	return netip.AddrPortFrom(ip, uint16(n)), nil
}

// Server serves the page of a run. Nothing that is asked of it holds up the run.
type Server struct {
	listener net.Listener
	server   *http.Server
	hosts    []string // by which it may be called
	served   chan error
}

// The bounds of what those who look on may take.
const (
	connections = 16
	ioTimeout   = 5 * time.Second
	headerBytes = 8 << 10
	endTimeout  = time.Second // for answers under way at the end
)

// Serve serves the page of a run to those who connect to an Address. It owns the listener. Close it.
func Serve(listener net.Listener, state *State) *Server {
	s := &Server{listener: netutil.LimitListener(listener, connections), served: make(chan error, 1)}
	at := listener.Addr().(*net.TCPAddr).AddrPort()
	for _, name := range []string{at.Addr().String(), "localhost"} {
		s.hosts = append(s.hosts, net.JoinHostPort(name, strconv.Itoa(int(at.Port()))))
	}
	if at.Port() == 80 { // browsers leave it out
		s.hosts = append(s.hosts, strings.TrimSuffix(s.hosts[0], ":80"), "localhost")
	}
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", page(state))
	pages.HandleFunc("GET /state.json", stateJSON(state))
	s.server = &http.Server{Handler: s.guard(pages), ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, IdleTimeout: ioTimeout, MaxHeaderBytes: headerBytes}
	go func() { s.served <- s.server.Serve(s.listener) }()
	return s
}

// URL is where the page is.
func (s *Server) URL() string { return "http://" + s.hosts[0] + "/" }

// Close ends it; what it started has ended when it returns. It takes no context: the run's has ended by then where it was interrupted, and
// answers under way are given endTimeout all the same.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	err := s.server.Shutdown(ctx)
	if err != nil { // somebody reads too slowly
		err = s.server.Close()
	}
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// guard refuses who calls the server by another name than its own, as a page from elsewhere does whose name was made to lead here (DNS
// rebinding), and tells the browser to load nothing from anywhere and to let nobody embed or read what it gets.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(s.hosts, r.Host) {
			http.Error(w, "this page is served to "+s.URL()+" alone", http.StatusMisdirectedRequest)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// policy allows the page's own style and script, by their hashes, and questions to where it came from.
var policy = fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	hashOf("style"), hashOf("script"))

// hashOf is the source expression for the page's one element of a name (Content Security Policy Level 3, 2.3.1).
func hashOf(element string) string {
	text := regexp.MustCompile(`(?s)<` + element + `>(.*?)</` + element + `>`).FindStringSubmatch(pageText)[1]
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// view is what the page is made of.
type view struct {
	Snapshot
	Known   bool
	Percent float64 // of what is played
}

func page(state *State) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		v := view{Snapshot: state.Snapshot()}
		if v.Place != nil {
			v.Percent, v.Known = v.Place.Share()
			v.Percent *= 100
		}
		var b bytes.Buffer
		err := pageTemplate.Execute(&b, &v)
		answer(w, "text/html; charset=utf-8", b.Bytes(), err)
	}
}

func stateJSON(state *State) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		data, err := json.MarshalIndent(state.Snapshot(), "", "  ")
		answer(w, "application/json", data, err)
	}
}

// answer writes what was made whole before, so that who reads it slowly holds nothing but a connection.
func answer(w http.ResponseWriter, kind string, data []byte, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(data) // who asked may have gone
}
