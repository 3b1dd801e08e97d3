package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Client asks the admin port of an app that runs elsewhere. Its methods may be called concurrently.
type Client struct {
	Transport http.RoundTripper // nil: http.DefaultTransport
	Base      string            // as "http://127.0.0.1:8081"
}

// Receipts gives the Arrow stream of all receipts, which the caller closes; ctx holds until it does. A stream that the app
// could not finish has no end (traffic.ErrTruncated).
func (c Client) Receipts(ctx context.Context) (io.ReadCloser, error) {
	return c.do(ctx, http.MethodGet, "/receipts", nil)
}

// LastReceipts is Receipts of an app that was told to end, or is about to be: it waits until every request has ended, so
// that none follows. Config.Linger gives it the time for it.
func (c Client) LastReceipts(ctx context.Context) (io.ReadCloser, error) {
	return c.do(ctx, http.MethodGet, "/receipts?"+last, nil)
}

// Forget has the app drop all receipts so far, those of requests under way among them.
func (c Client) Forget(ctx context.Context) error {
	return c.give(ctx, http.MethodDelete, "/receipts", nil)
}

// Configure replaces the app's settings.
func (c Client) Configure(ctx context.Context, s Settings) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return c.give(ctx, http.MethodPut, "/settings", data)
}

// Settings asks what the app was told.
func (c Client) Settings(ctx context.Context) (s Settings, err error) {
	err = c.ask(ctx, "/settings", &s)
	return s, err
}

// Status asks for the app's status.
func (c Client) Status(ctx context.Context) (s Status, err error) {
	err = c.ask(ctx, "/status", &s)
	return s, err
}

// ask reads an answer in JSON.
func (c Client) ask(ctx context.Context, path string, into any) error {
	body, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return fmt.Errorf("app at %s: GET %s: %w", c.Base, path, err)
	}
	return nil
}

// give sends a request of which only the status counts.
func (c Client) give(ctx context.Context, method, path string, body []byte) error {
	answer, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	return answer.Close()
}

// maxFault is how much of an answer that is no success is quoted, in bytes.
const maxFault = 4096

// do gives the body of an answer of success; any other status is an error with the app's own words.
func (c Client) do(ctx context.Context, method, path string, body []byte) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.Base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: c.Transport}
	answer, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("app at %s: %w", c.Base, err)
	}
	if answer.StatusCode/100 == 2 {
		return answer.Body, nil
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, maxFault)) // what there is of it
	return nil, fmt.Errorf("app at %s: %s %s: %s: %s", c.Base, method, path, answer.Status, strings.TrimSpace(string(text)))
}
