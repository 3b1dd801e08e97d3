package route

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/validation"

	"umbra/internal/diag"
)

// clusterDomain is Kubernetes' default; umbra's clusters have no other.
const clusterDomain = "cluster.local"

// validate asks istiod's own validation what it rejects, and keeps what it warns of.
func (b *builder) validate() {
	for _, g := range b.m.gateways {
		b.istiod(g.document, g.spec, validation.ValidateGateway)
	}
	for _, vs := range b.m.virtualServices {
		b.istiod(vs.document, vs.spec, validation.ValidateVirtualService)
	}
	for _, dr := range b.m.rules {
		b.istiod(dr.document, dr.spec, validation.ValidateDestinationRule)
	}
}

func (b *builder) istiod(d *document, spec proto.Message, f validation.ValidateFunc) {
	check := func(spec proto.Message) []string {
		_, err := f(config.Config{Meta: b.metaOf(d), Spec: spec})
		return messages(err)
	}
	for _, msg := range check(spec) {
		for _, path := range locate(spec, msg, check) {
			b.faultAt(d, path, "istiod rejects %s: %s%s", d.ID(), msg, remedy(msg))
		}
	}
	warnings, _ := f(config.Config{Meta: b.metaOf(d), Spec: spec})
	for _, w := range flatten(warnings) {
		b.warnAt(d, rulePath(spec, w), "istiod warns of %s: %s", d.ID(), oneLine(w))
	}
}

func (b *builder) metaOf(d *document) config.Meta {
	return config.Meta{Name: d.Name, Namespace: d.Namespace, Labels: d.meta.Labels, Annotations: d.meta.Annotations, Domain: clusterDomain}
}

// flatten gives the single errors of a multierror.
func flatten(err error) []error {
	var many interface{ WrappedErrors() []error }
	switch {
	case err == nil:
		return nil
	case errors.As(err, &many):
		var out []error
		for _, e := range many.WrappedErrors() {
			out = append(out, flatten(e)...)
		}
		return out
	case err.Error() == "": // a Validation that holds a warning or nothing
		return nil
	}
	return []error{err}
}

// messages gives the messages of a multierror, each once.
func messages(err error) []string {
	var out []string
	for _, e := range flatten(err) {
		if msg := oneLine(e); !slices.Contains(out, msg) {
			out = append(out, msg)
		}
	}
	return out
}

func oneLine(err error) string {
	return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", ": ")
}

// remedies say what to do where istiod's message says only what is wrong.
var remedies = []struct{ in, do string }{
	{"both mirror and mirrors", "keep one of the two"},
	{"contain both", "keep one of the two"},
	{"total destination weight = 0", "give a destination a weight above 0"},
	{"max value of 100", "give a percentage from 0 to 100"},
	{"min value of 0", "give a percentage from 0 to 100"},
	{"percentage", "give a percentage from 0 to 100"},
	{"direct_response is required", "give the route a destination, a redirect or a directResponse"},
	{"wildcard host * is not allowed", "name the host, or bind the VirtualService to a gateway"},
	{"duplicate", "keep one of them"},
	{"is not a valid retryOn policy", "see x-envoy-retry-on for those that are; no blanks between them"},
	{"attempts are set to 0", "remove the other settings, or give attempts a number above 0"},
	{"duration must be", "give at least 1ms, in whole milliseconds"},
	{"only durations to ms", "give whole milliseconds"},
	{"redirect code", "use 301, 302, 303, 307 or 308"},
	{"must have TLS settings", "give the server tls, or make its protocol HTTP"},
	{"empty", "give it a value"},
	{"required", "add it"},
	{"must be set", "add it"},
	{"must be provided", "add one"},
	{"at least one", "add one"},
	{"must contain", "add it"},
	{"supported", "use one that is supported"},
}

func remedy(msg string) string {
	for _, r := range remedies {
		if strings.Contains(strings.ToLower(msg), strings.ToLower(r.in)) {
			return "; " + r.do
		}
	}
	return "; change it, as the API server would not take the object"
}

// rulePath finds the route that a warning on unreachable routes names ("#2", or its quoted name).
func rulePath(spec proto.Message, warning error) []any {
	vs, ok := spec.(*networking.VirtualService)
	var aware *validation.AnalysisAwareError
	if !ok || !errors.As(warning, &aware) || len(aware.Parameters) == 0 {
		return nil
	}
	name := fmt.Sprint(aware.Parameters[0])
	for i, r := range vs.Http {
		if name == "#"+strconv.Itoa(i) || r.GetName() != "" && name == strconv.Quote(r.GetName()) {
			return []any{"spec", "http", i}
		}
	}
	return nil
}

// locate finds which parts of a spec a complaint is about: it takes parts away and looks whether check still complains.
// Where no single part is to blame it gives the smallest one that holds them all.
func locate(spec proto.Message, msg string, check func(proto.Message) []string) [][]any {
	l := locator{msg: msg, check: check, all: check(spec), budget: 2000}
	return prepend("spec", l.message(spec, proto.Message.ProtoReflect))
}

type locator struct {
	msg    string
	check  func(proto.Message) []string
	all    []string // of the whole spec
	budget int      // checks left; places get coarser when it is used up
}

// access leads from a spec to a message in it.
type access func(proto.Message) protoreflect.Message

// edited is a copy of a spec with a part changed.
type edited struct {
	spec  proto.Message
	still bool // the complaint holds
	worse bool // there are complaints that the whole spec does not have
}

func (l *locator) edit(spec proto.Message, at access, edit func(protoreflect.Message)) edited {
	if l.budget--; l.budget < 0 {
		return edited{still: true}
	}
	c := proto.Clone(spec)
	edit(at(c))
	got := l.check(c)
	return edited{
		spec:  c,
		still: slices.Contains(got, l.msg),
		worse: slices.ContainsFunc(got, func(m string) bool { return !slices.Contains(l.all, m) }),
	}
}

// message looks for the field without which the complaint is gone. Where there are several, as in a contradiction, it
// takes the last of those that can go without another complaint; where none can, it stays with the whole.
func (l *locator) message(spec proto.Message, at access) [][]any {
	var clean, suspects []protoreflect.FieldDescriptor
	m := at(spec)
	for i := range m.Descriptor().Fields().Len() {
		fd := m.Descriptor().Fields().Get(i)
		if !m.Has(fd) {
			continue
		}
		e := l.edit(spec, at, func(m protoreflect.Message) { m.Clear(fd) })
		if !e.still {
			suspects = append(suspects, fd)
		}
		if !e.still && !e.worse {
			clean = append(clean, fd)
		}
	}
	switch {
	case len(clean) > 0:
		suspects = clean
	case len(suspects) != 1:
		return [][]any{nil}
	}
	fd := suspects[len(suspects)-1]
	return prepend(fd.JSONName(), l.field(spec, at, fd))
}

func (l *locator) field(spec proto.Message, at access, fd protoreflect.FieldDescriptor) [][]any {
	switch {
	case fd.IsMap():
		return l.mapField(spec, at, fd)
	case fd.IsList():
		return l.listField(spec, at, fd)
	case fd.Message() != nil && !isWellKnown(fd):
		return l.message(spec, func(spec proto.Message) protoreflect.Message { return at(spec).Mutable(fd).Message() })
	}
	return [][]any{nil}
}

func (l *locator) listField(spec proto.Message, at access, fd protoreflect.FieldDescriptor) [][]any {
	var out [][]any
	for i := range at(spec).Get(fd).List().Len() {
		only := l.edit(spec, at, func(m protoreflect.Message) {
			keep := m.NewField(fd).List()
			keep.Append(m.Get(fd).List().Get(i))
			m.Set(fd, protoreflect.ValueOfList(keep))
		})
		switch {
		case !only.still || only.spec == nil:
		case fd.Message() != nil:
			first := func(spec proto.Message) protoreflect.Message { return at(spec).Mutable(fd).List().Get(0).Message() }
			out = append(out, prepend(i, l.message(only.spec, first))...)
		default:
			out = append(out, []any{i})
		}
	}
	return orWhole(out)
}

func (l *locator) mapField(spec proto.Message, at access, fd protoreflect.FieldDescriptor) [][]any {
	var keys []string
	at(spec).Get(fd).Map().Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k.String())
		return true
	})
	slices.Sort(keys)
	var out [][]any
	for _, key := range keys {
		only := l.edit(spec, at, func(m protoreflect.Message) {
			mk := protoreflect.ValueOfString(key).MapKey()
			keep := m.NewField(fd).Map()
			keep.Set(mk, m.Get(fd).Map().Get(mk))
			m.Set(fd, protoreflect.ValueOfMap(keep))
		})
		if only.still && only.spec != nil {
			out = append(out, []any{key})
		}
	}
	return orWhole(out)
}

func orWhole(paths [][]any) [][]any {
	if len(paths) == 0 {
		return [][]any{nil}
	}
	return paths
}

func prepend(step any, paths [][]any) [][]any {
	out := make([][]any, len(paths))
	for i, p := range paths {
		out[i] = append([]any{step}, p...)
	}
	return out
}

func (b *builder) faultAt(d *document, path []any, format string, args ...any) {
	addAt(&b.faults, d, path, format, args...)
}

func (b *builder) warnAt(d *document, path []any, format string, args ...any) {
	addAt(&b.t.warnings, d, path, format, args...)
}

func addAt(to *diag.Faults, d *document, path []any, format string, args ...any) {
	at := d.place(path...)
	to.Addf(d.File, at.line, at.col, format, args...)
}
