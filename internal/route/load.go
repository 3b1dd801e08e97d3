package route

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"gopkg.in/yaml.v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbra/internal/diag"
)

// Source is a manifest file's content.
type Source struct {
	Name string // what errors show
	Data []byte
}

// Manifests are decoded manifests. They are immutable.
type Manifests struct {
	Objects []Object // every object in the order written; the items of a List stand for it

	documents       []*document // of Objects, in their order
	gateways        []*resource[*networking.Gateway]
	virtualServices []*resource[*networking.VirtualService]
	rules           []*resource[*networking.DestinationRule]
	deployments     []*resource[*appsv1.Deployment]
	services        []*resource[*corev1.Service]
	noted           []*document // kinds that no route depends on, but that change how traffic runs
	pods            []*document // workloads other than Deployments
}

// Object is one object of a manifest.
type Object struct {
	APIVersion, Kind string
	Namespace, Name  string // Namespace is "default" where none is written, and empty for a Namespace
	File             string
	Line             int
	Raw              []byte // its own text: the YAML document, or the item of a List written anew
}

// ID names the object as people do: "VirtualService shop/my-app".
func (o *Object) ID() string {
	if o.Namespace == "" {
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// Key tells objects apart, whatever the version that they are written in.
func (o *Object) Key() string { return groupOf(o.APIVersion) + " " + o.ID() }

// IsVirtualService tells whether the object is one of Istio's.
func (o *Object) IsVirtualService() bool { return o.isIstios("VirtualService") }

// IsDestinationRule tells whether the object is one of Istio's.
func (o *Object) IsDestinationRule() bool { return o.isIstios("DestinationRule") }

func (o *Object) isIstios(kind string) bool {
	return groupOf(o.APIVersion) == "networking.istio.io" && o.Kind == kind
}

// document is an object with its tree, from which places are told. It is not changed once it is decoded.
type document struct {
	Object
	root *yaml.Node
	meta metav1.ObjectMeta
}

// resource is an object with what it was decoded to.
type resource[T any] struct {
	*document
	spec T
}

// Load decodes manifests strictly. The error is diag.Faults: all that is wrong, each at its place. Together with it
// come the objects that did decode, so that NewTable can tell its faults too.
func Load(sources ...Source) (*Manifests, error) {
	l := &loader{seen: map[string]*document{}}
	for _, s := range sources {
		l.source(s)
	}
	return &l.m, l.faults.Err()
}

type loader struct {
	m      Manifests
	faults diag.Faults
	seen   map[string]*document // by group, kind, namespace and name
}

func (l *loader) source(s Source) {
	for _, c := range split(s.Data) {
		root, ok := l.parse(s.Name, c)
		if ok {
			l.object(s.Name, root, bytes.TrimSpace(c.text))
		}
	}
}

// chunk is the text of one YAML document.
type chunk struct {
	text   []byte
	before int // lines of the file before it
}

// split cuts a stream of YAML documents at its markers, so that a syntax error in one hides nothing in the others.
// A marker at the start of a line is one even inside a block scalar (YAML 1.2, rule c-forbidden).
func split(data []byte) []chunk {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var out []chunk
	cur := chunk{}
	line := 0
	flush := func() {
		if !blank(cur.text) {
			out = append(out, cur)
		}
	}
	for text := range bytes.Lines(data) {
		switch {
		case isMarker(text, "---"):
			flush()
			cur = chunk{text: append([]byte("   "), text[3:]...), before: line}
		case isMarker(text, "..."):
			flush()
			cur = chunk{before: line + 1}
		default:
			cur.text = append(cur.text, text...)
		}
		line++
	}
	flush()
	return out
}

func isMarker(line []byte, marker string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(marker))
	return ok && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0)
}

// blank tells whether a document holds nothing but comments and directives.
func blank(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && line[0] != '%' {
			return false
		}
	}
	return true
}

// parse gives the document's tree, flattened and with the file's line numbers.
func (l *loader) parse(file string, c chunk) (*yaml.Node, bool) {
	dec := yaml.NewDecoder(bytes.NewReader(c.text))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if err == nil {
		if err = dec.Decode(&more); err == nil {
			err = errors.New("yaml: more than one document without a --- between them")
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		l.syntax(file, c, err)
		return nil, false
	}
	if len(doc.Content) == 0 {
		return nil, false
	}
	before := len(l.faults)
	f := flattener{file: file, before: c.before, budget: maxNodes, faults: &l.faults, open: map[*yaml.Node]bool{}}
	root := f.node(doc.Content[0], 0)
	return root, len(l.faults) == before && root.Kind != 0
}

func (l *loader) syntax(file string, c chunk, err error) {
	line, msg := diag.YAML(err, c.text)
	l.faults.Addf(file, c.before+line, 0, "%s", msg)
}

// object decodes the object whose tree is root; raw is its text.
func (l *loader) object(file string, root *yaml.Node, raw []byte) {
	if isNull(root) {
		return
	}
	if root.Kind != yaml.MappingNode {
		l.faults.Addf(file, root.Line, root.Column, "a manifest is a mapping with apiVersion, kind and metadata; this is %s", kindOf(root))
		return
	}
	d := &document{root: root, Object: Object{File: file, Line: root.Line, Raw: raw}}
	if !l.header(d) {
		return
	}
	if d.APIVersion == "v1" && d.Kind == "List" {
		l.list(d)
		return
	}
	dec := decoder{file: file, faults: &l.faults}
	if !l.metadata(d, &dec) || !l.once(d) {
		return
	}
	l.m.Objects, l.m.documents = append(l.m.Objects, d.Object), append(l.m.documents, d)
	l.typed(d, &dec)
}

// header reads what tells the object's type.
func (l *loader) header(d *document) bool {
	ok := true
	for _, field := range []struct {
		key  string
		into *string
	}{{"apiVersion", &d.APIVersion}, {"kind", &d.Kind}} {
		at, n := d.place(field.key), child(d.root, field.key)
		switch {
		case n == nil:
			l.faults.Addf(d.File, d.Line, 1, "the object has no %s: every manifest names its apiVersion and kind", field.key)
			ok = false
		case tagOf(n) != "!!str" || n.Value == "":
			l.faults.Addf(d.File, at.line, at.col, "%s must be a string that is not empty", field.key)
			ok = false
		default:
			*field.into = n.Value
		}
	}
	return ok
}

func (l *loader) list(d *document) {
	for key, n := range pairs(d.root) {
		switch key.Value {
		case "apiVersion", "kind", "metadata":
		case "items":
			l.items(d, n)
		default:
			l.faults.Addf(d.File, key.Line, key.Column, "unknown field %q of List; it has items", key.Value)
		}
	}
}

func (l *loader) items(d *document, items *yaml.Node) {
	if items.Kind != yaml.SequenceNode {
		l.faults.Addf(d.File, items.Line, items.Column, "items must be a list; this is %s", kindOf(items))
		return
	}
	for _, n := range items.Content {
		raw, err := yaml.Marshal(n)
		if err != nil {
			l.faults.Addf(d.File, n.Line, n.Column, "the item cannot be written anew: %v", err)
			continue
		}
		l.object(d.File, n, bytes.TrimSpace(raw))
	}
}

var (
	objectName    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`) // RFC 1123 subdomain
	namespaceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)  // RFC 1123 label
)

func (l *loader) metadata(d *document, dec *decoder) bool {
	n := child(d.root, "metadata")
	if n == nil || isNull(n) {
		l.faults.Addf(d.File, d.Line, 1, "the %s has no metadata: give it a metadata.name", d.Kind)
		return false
	}
	if !dec.into(n, &d.meta, "metadata") {
		return false
	}
	d.Name, d.Namespace = d.meta.Name, d.meta.Namespace
	switch {
	case d.Kind == "Namespace":
		d.Namespace = ""
	case d.Namespace == "":
		d.Namespace = "default"
	}
	name, ns := d.place("metadata", "name"), d.place("metadata", "namespace")
	switch {
	case d.Name == "":
		l.faults.Addf(d.File, name.line, name.col, "the %s has no name: give it a metadata.name", d.Kind)
		return false
	case strings.HasSuffix(groupOf(d.APIVersion), "rbac.authorization.k8s.io"): // roles may be named "system:…"
	case !objectName.MatchString(d.Name):
		l.faults.Addf(d.File, name.line, name.col, "%q is no name for a %s: use lower-case letters, digits, '-' and '.'", d.Name, d.Kind)
		return false
	}
	if d.Namespace != "" && !namespaceName.MatchString(d.Namespace) {
		l.faults.Addf(d.File, ns.line, ns.col, "%q is no namespace: use lower-case letters, digits and '-'", d.Namespace)
		return false
	}
	return true
}

// once tells whether the object is the first of its name.
func (l *loader) once(d *document) bool {
	key := d.Key()
	if first, ok := l.seen[key]; ok {
		l.faults.Addf(d.File, d.Line, d.root.Column, "%s is defined twice: it is at %s:%d already; remove one", d.ID(), first.File, first.Line)
		return false
	}
	l.seen[key] = d
	return true
}

func groupOf(apiVersion string) string {
	group, _, ok := strings.Cut(apiVersion, "/")
	if !ok {
		return ""
	}
	return group
}
