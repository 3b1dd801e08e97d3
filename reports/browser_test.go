//go:build e2e

package reports

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// The report is looked at by a real browser, as a person has it: from a file. UMBRA_PICTURES=DIR keeps what it looked like.
func TestE2EReportInABrowser(t *testing.T) {
	browser := start(t)
	axe := axeCore(t)
	for name, r := range samples() {
		t.Run(name, func(t *testing.T) {
			look := open(t, browser, name, htmlOf(t, r))
			for _, scheme := range []string{"light", "dark"} {
				for _, width := range []int64{360, 1280} {
					look.as(scheme, width)
					look.none("too wide", look.wide(width))
					look.keep(fmt.Sprintf("%s-%d.png", scheme, width))
				}
				look.none("axe-core, in "+scheme, look.hindrances(axe))
			}
			look.byKeyboard()
			look.printed()
			look.none("heard", look.heard())
		})
	}
	t.Run("large", func(t *testing.T) {
		look := open(t, browser, "large", htmlOf(t, large()))
		look.as("light", 360)
		look.none("too wide", look.wide(360))
		look.none("heard", look.heard())
	})
}

// What the look is for, it notices.
func TestE2ELookNotices(t *testing.T) {
	look := open(t, start(t), "bad", `<!doctype html><title>bad</title><img src="http://127.0.0.1:9/x.png"><div style="width: 700px">wide</div>
		<script>console.error("wrong"); setTimeout(() => { throw new Error("thrown") })</script>`)
	look.as("light", 360)
	for what, found := range map[string][]string{"127.0.0.1:9": look.heard(), "wrong": look.heard(), "exception": look.heard(), "700px": look.wide(360), "image-alt": look.hindrances(axeCore(t))} {
		if !strings.Contains(strings.Join(found, "\n"), what) {
			t.Errorf("%s is not in %q", what, found)
		}
	}
}

// missing ends a test for which something is not here: CI has all of it.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// browsers are the names that Chromium goes by.
var browsers = []string{"chromium", "chromium-browser", "google-chrome", "chrome", "headless-shell"}

// start starts Chromium, until the test ends.
func start(t *testing.T) context.Context {
	path := ""
	for _, name := range browsers {
		if found, err := exec.LookPath(name); err == nil && path == "" {
			path = found
		}
	}
	if path == "" {
		missing(t, "there is no Chromium on the PATH (%s)", strings.Join(browsers, ", "))
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // it has none for root
	}
	allocator, end := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(end)
	browser, end := chromedp.NewContext(allocator)
	t.Cleanup(end)
	if err := chromedp.Do(browser); err != nil { // starts it
		t.Fatal(err)
	}
	return browser
}

// The version of axe-core and what its archive hashes to, in the form of the registry.
const (
	axeVersion   = "4.14.1"
	axeIntegrity = "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)

// axeCore is the script that looks for what hinders people, from the registry that npm is set to, once.
func axeCore(t *testing.T) string {
	cache, err := os.UserCacheDir()
	if err != nil {
		missing(t, "no place for axe-core: %v", err)
	}
	dir := filepath.Join(cache, "umbra")
	path := filepath.Join(dir, "axe-core-"+axeVersion+".tgz")
	archive, err := os.ReadFile(path)
	if err != nil || !whole(archive) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "npm", "pack", "axe-core@"+axeVersion, "--pack-destination", dir).CombinedOutput()
		if err != nil {
			missing(t, "axe-core could not be had by npm: %v\n%s", err, out)
		}
		if archive, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if !whole(archive) {
		t.Fatalf("%s is not the axe-core that was asked for: %s", path, axeIntegrity)
	}
	script, err := fileIn(archive, "package/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	return script
}

func whole(archive []byte) bool {
	sum := sha512.Sum512(archive)
	return "sha512-"+base64.StdEncoding.EncodeToString(sum[:]) == axeIntegrity
}

// fileIn reads a file of a .tgz.
func fileIn(archive []byte, name string) (string, error) {
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return "", err
	}
	for files := tar.NewReader(z); ; {
		h, err := files.Next()
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		if h.Name == name {
			data, err := io.ReadAll(files)
			return string(data), err
		}
	}
}

// look is a page in a tab of its own, and what was heard of it.
type look struct {
	*testing.T
	name string
	tab  context.Context

	mu     sync.Mutex
	noises []string
}

// open opens a page from a file, and tells how long that took.
func open(t *testing.T, browser context.Context, name, html string) *look {
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, []byte(html), 0o644); err != nil {
		t.Fatal(err)
	}
	address := (&url.URL{Scheme: "file", Path: path}).String()
	tab, end := chromedp.NewContext(browser)
	t.Cleanup(end)
	if err := chromedp.Do(tab); err != nil { // opens it, for as long as its context
		t.Fatal(err)
	}
	tab, end = context.WithTimeout(tab, 4*time.Minute)
	t.Cleanup(end)
	l := &look{T: t, name: name, tab: tab}
	call(l, network.Enable, network.EnableParams{})
	if err := chromedp.Listen(tab, func(event any) { l.hear(event, address) }); err != nil {
		t.Fatal(err)
	}
	l.do(chromedp.Navigate(address))
	painted := value[float64](l, `new Promise(done => requestAnimationFrame(() => setTimeout(() => done(performance.now()))))`)
	loaded := value[float64](l, `performance.getEntriesByType("navigation")[0].loadEventEnd`)
	t.Logf("%d KiB, loaded after %.0f ms, drawn after %.0f ms", len(html)>>10, loaded, painted)
	return l
}

// hear notes what a page should not do: ask for anything but itself, and complain.
func (l *look) hear(event any, address string) {
	said := ""
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if e.Request.URL != address && !strings.HasPrefix(e.Request.URL, "data:") {
			said = "a request of " + e.Request.URL
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			said = fmt.Sprintf("on the console: %s", e.Args[0].Value)
		}
	case *runtime.EventExceptionThrown:
		said = "an exception: " + e.ExceptionDetails.Text
	case *log.EventEntryAdded:
		said = fmt.Sprintf("in the log: %s: %s", e.Entry.Level, e.Entry.Text)
	}
	if said != "" {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.noises = append(l.noises, said)
	}
}

func (l *look) do(steps ...chromedp.Action[chromedp.Void]) {
	l.Helper()
	if err := chromedp.Do(l.tab, steps...); err != nil {
		l.Fatal(err)
	}
}

// value is what a script, or the promise that it gives, comes to.
func value[T any](l *look, script string) T {
	l.Helper()
	return got(l, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
}

// got is what an action gives.
func got[T any](l *look, action chromedp.Action[T]) T {
	l.Helper()
	v, err := chromedp.Run(l.tab, action)
	if err != nil {
		l.Fatal(err)
	}
	return v
}

// call calls a command of the protocol.
func call[P, R any](l *look, command cdp.Command[P, R], params P) {
	l.Helper()
	if _, err := chromedp.Call(l.tab, command, params); err != nil {
		l.Fatal(err)
	}
}

// as sets the colour scheme and the width of the window.
func (l *look) as(scheme string, width int64) {
	l.do(chromedp.EmulateViewport(width, 800))
	call(l, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
}

// wide is what is wider than the window and does not scroll by itself, all of the details open.
func (l *look) wide(width int64) []string {
	l.details(true)
	defer l.details(false)
	wide := value[[]string](l, fmt.Sprintf(`[...document.body.querySelectorAll("*")].
		filter(e => !e.closest(".scroll > *, .skip") && e.getBoundingClientRect().right > %d + 0.5).map(e => e.outerHTML.slice(0, 200))`, width))
	if scrolls := value[int64](l, `document.documentElement.scrollWidth`); scrolls > width {
		wide = append(wide, fmt.Sprintf("%d px, in a window of %d", scrolls, width))
	}
	return wide
}

// details opens all of the details, or closes them.
func (l *look) details(open bool) {
	l.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.querySelectorAll("details").forEach(d => d.open = %t)`, open)))
	value[bool](l, `new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`)
}

// hindrances are what axe-core finds that hinders people, all of the details open.
func (l *look) hindrances(axe string) []string {
	l.details(true)
	defer l.details(false)
	l.do(chromedp.Evaluate[chromedp.Void](axe))
	if rules := value[int](l, `axe.getRules().length`); rules < 50 {
		l.Errorf("axe-core has %d rules", rules)
	}
	return value[[]string](l, `axe.run(document, {resultTypes: ["violations"]}).
		then(r => r.violations.map(v => v.id + ": " + v.help + ": " + v.nodes.slice(0, 3).map(n => n.html.slice(0, 200)).join(" | ")))`)
}

// byKeyboard: the first stop leads past the head, and a picture's figures open by a key.
func (l *look) byKeyboard() {
	l.do(chromedp.KeyEvent(kb.Tab))
	first := value[string](l, `document.activeElement.className`)
	l.do(chromedp.KeyEvent(kb.Enter))
	then := value[string](l, `document.activeElement.id`)
	l.do(chromedp.Focus(chromedp.CSS("summary")), chromedp.KeyEvent(kb.Enter))
	shown := value[bool](l, `document.querySelector("details").open`)
	if first != "skip" || then != "main" || !shown {
		l.Errorf("the first stop is %q, it leads to %q, and the figures are open: %t", first, then, shown)
	}
	l.details(false)
}

// printed: it can be printed.
func (l *look) printed() {
	pdf := got(l, chromedp.PrintToPDF(chromedp.PDFPrintBackground(), chromedp.PDFPaper(chromedp.PaperA4), chromedp.PDFPreferCSSPageSize()))
	if !bytes.HasPrefix(pdf, []byte("%PDF-")) {
		l.Errorf("%d bytes that are no PDF", len(pdf))
	}
	l.write("print.pdf", pdf)
}

// keep keeps a picture of the whole page.
func (l *look) keep(name string) {
	if os.Getenv("UMBRA_PICTURES") == "" {
		return
	}
	l.write(name, got(l, chromedp.FullScreenshot(100)))
}

func (l *look) write(name string, data []byte) {
	if dir := os.Getenv("UMBRA_PICTURES"); dir != "" {
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, l.name+"-"+name), data, 0o644)); err != nil {
			l.Fatal(err)
		}
	}
}

// heard is what the page asked for beside itself, and what it complained of.
func (l *look) heard() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Compact(slices.Clone(l.noises))
}

// none: nothing was found.
func (l *look) none(what string, found []string) {
	l.Helper()
	for _, f := range found {
		l.Errorf("%s: %s", what, f)
	}
}
