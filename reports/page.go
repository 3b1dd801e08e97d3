package reports

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"text/template/parse"

	"umbra/internal/verdict"
)

// assets are the style and the templates of every page.
//
//go:embed assets
var assets embed.FS

// templates are those of assets/*.gohtml. Whatever they write is inert: html/template sees to the markup, and guard to control
// characters, the direction of writing and the length.
var templates = func() *template.Template {
	t := template.Must(template.New("").Funcs(template.FuncMap{"inert": inertValue, "state": stateOf, "slug": slug}).ParseFS(assets, "assets/*.gohtml"))
	for _, each := range t.Templates() {
		if each.Tree != nil {
			guard(each.Tree.Root)
		}
	}
	return t
}()

// guard has each action of a template end in inert, so that none can forget to.
func guard(n parse.Node) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil { // no else
			return
		}
		for _, each := range n.Nodes {
			guard(each)
		}
	case *parse.ActionNode:
		if len(n.Pipe.Decl) == 0 {
			inert := parse.NewIdentifier("inert").SetPos(n.Pos)
			n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{NodeType: parse.NodeCommand, Pos: n.Pos, Args: []parse.Node{inert}})
		}
	case *parse.IfNode:
		guard(n.List)
		guard(n.ElseList)
	case *parse.RangeNode:
		guard(n.List)
		guard(n.ElseList)
	case *parse.WithNode:
		guard(n.List)
		guard(n.ElseList)
	}
}

// inertValue is inert of strings, and of what is written as one; numbers and markup of our own are what they are.
func inertValue(v any) any {
	switch v := v.(type) {
	case string:
		return inert(v)
	case verdict.State:
		return inert(string(v))
	case fmt.Stringer:
		return inert(v.String())
	}
	return v
}

// stateOf is a cell's state, nil where it is none.
func stateOf(cell any) any {
	if s, ok := cell.(verdict.State); ok {
		return s
	}
	return nil
}

// page is an HTML document that needs nothing from elsewhere and no script: it can be mailed, kept, printed and opened without a
// network. Its style is assets/style.css.
type page struct {
	Title    string        // of the document, and its heading
	Top      template.HTML // what stands above the contents: the answer
	Sections []section     // the contents list them
	Foot     string        // a line at the end
}

// section is a part of a page. Its ID is unique in the page; its headings begin with h3.
type section struct {
	ID, Title string
	Body      template.HTML
}

// write writes the document.
func (p *page) write(w io.Writer) error {
	style, err := assets.ReadFile("assets/style.css")
	if err != nil {
		return err
	}
	return templates.ExecuteTemplate(w, "page", struct {
		*page
		Style template.CSS
	}{p, template.CSS(style)})
}

// fragment is what a template makes of data. Templates that any page can use are "table" of a grid, "chart" of a chart, "badge" of a
// verdict.State and "list" of a []string.
func fragment(name string, data any) (template.HTML, error) {
	var b bytes.Buffer
	err := templates.ExecuteTemplate(&b, name, data)
	return template.HTML(b.String()), err
}

// grid is a table as data. The first cell of a row is its heading. A cell is a string, a number or a verdict.State, which is shown as a
// badge. The columns from the Right-th on are figures, and aligned to the right. A table without rows is not shown.
type grid struct {
	Caption string
	Head    []string
	Rows    [][]any
	Right   int
}

// row makes a row of strings.
func row(cells ...string) []any {
	out := make([]any, len(cells))
	for i, c := range cells {
		out[i] = c
	}
	return out
}

// Cells are the cells of a row with what a template has to know of each.
func (g *grid) Cells(row []any) []cell {
	out := make([]cell, len(row))
	for i, v := range row {
		out[i] = cell{v, i == 0, i >= g.Right}
	}
	return out
}

// cell is a cell of a grid.
type cell struct {
	Value         any
	Heads, Figure bool
}

// Heads are the cells above the rows.
func (g *grid) Heads() []cell { return g.Cells(row(g.Head...)) }

// slug is a state as the name of a style: "not-tested".
func slug(s verdict.State) string { return strings.ToLower(strings.ReplaceAll(string(s), " ", "-")) }
