package app

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// adminHandler serves what the app says of itself.
func (a *App) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", a.health)
	mux.HandleFunc("GET /receipts", a.receipts)
	mux.HandleFunc("DELETE /receipts", a.forget)
	mux.HandleFunc("GET /settings", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, a.now.Load().Settings) })
	mux.HandleFunc("PUT /settings", a.configure)
	mux.HandleFunc("GET /status", a.status)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		a.metrics.write(w, a.config.Version, a.ledger.inMemory()) // fails only where the scraper has gone
	})
	return mux
}

// last is the query of GET /receipts that waits until every request has ended.
const last = "last"

// receipts answers with every receipt so far. A stream that cannot be finished is cut, so that it cannot pass for a
// whole one.
func (a *App) receipts(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has(last) {
		select {
		case <-a.drained:
		case <-r.Context().Done():
			return
		}
	}
	w.Header().Set("Content-Type", "application/vnd.apache.arrow.stream")
	final := a.isDrained() // before the fetch begins: nothing is added later
	out := &counted{w: w}
	if err := a.ledger.fetch(out); err != nil {
		if out.n == 0 {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		a.config.Log("%v", err)
		panic(http.ErrAbortHandler)
	}
	if final {
		a.fetched.Do(func() { close(a.collected) })
	}
}

func (a *App) isDrained() bool {
	select {
	case <-a.drained:
		return true
	default:
		return false
	}
}

// forget drops every receipt so far, for an app that is used again.
func (a *App) forget(w http.ResponseWriter, _ *http.Request) {
	if err := a.ledger.forget(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// maxSettings bounds the body of PUT /settings.
const maxSettings = 1 << 16

// configure answers 400 to settings that are wrong, 503 while the app drains, and 500 where the machine cannot follow them.
func (a *App) configure(w http.ResponseWriter, r *http.Request) {
	settings, err := readSettings(http.MaxBytesReader(w, r.Body, maxSettings))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch err := a.Configure(settings); {
	case errors.Is(err, ErrDraining):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // numbers and strings always encode
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(data, '\n')) // fails only where the client has gone
}

type counted struct {
	w io.Writer
	n int
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += n
	return n, err
}

func (a *App) health(w http.ResponseWriter, _ *http.Request) {
	status, text := http.StatusOK, "ok"
	if a.draining.Load() {
		status, text = http.StatusServiceUnavailable, "draining"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, text) // fails only where the client has gone
}
