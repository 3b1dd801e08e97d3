//go:build e2e

package reports

import (
	"bytes"
	"fmt"
	"testing"
)

// Comparisons and trends are looked at as reports are.
func TestE2EComparisonsInABrowser(t *testing.T) {
	browser := start(t)
	axe := axeCore(t)
	c, r := comparison(t), history(t)
	for name, page := range map[string]string{"compare": written(t, func(b *bytes.Buffer) error { return c.HTML(b) }), "trend": written(t, func(b *bytes.Buffer) error { return r.HTML(b) })} {
		t.Run(name, func(t *testing.T) {
			look := open(t, browser, name, page)
			for _, scheme := range []string{"light", "dark"} {
				for _, width := range []int64{360, 1280} {
					look.as(scheme, width)
					look.none("too wide", look.wide(width))
					look.keep(fmt.Sprintf("%s-%d.png", scheme, width))
				}
				look.none("axe-core, in "+scheme, look.hindrances(axe))
			}
			look.byKeyboard()
			look.none("heard", look.heard())
		})
	}
}
