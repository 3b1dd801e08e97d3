package route

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"gopkg.in/yaml.v3"

	"umbra/internal/diag"
)

// decoder turns trees into Istio's protobuf messages and Kubernetes' structs. It does so node by node, so that each
// fault has its own place, and is as strict as the API server with --validate=strict.
type decoder struct {
	file   string
	faults *diag.Faults
}

func (d *decoder) fault(n *yaml.Node, format string, args ...any) {
	d.faults.Addf(d.file, n.Line, n.Column, format, args...)
}

func (d *decoder) want(n *yaml.Node, what, name string) {
	d.fault(n, "%s must be %s; this is %s", name, what, kindOf(n))
}

// message decodes a mapping into m.
func (d *decoder) message(n *yaml.Node, m protoreflect.Message, name string) {
	if n.Kind != yaml.MappingNode {
		d.want(n, "a mapping", name)
		return
	}
	given := map[protoreflect.FullName]string{} // of the fields and oneofs that are set, by the key that did
	for key, value := range pairs(n) {
		fd := fieldOf(m.Descriptor(), key.Value)
		if fd == nil {
			d.unknown(key, string(m.Descriptor().Name()), jsonNames(m.Descriptor()))
			continue
		}
		unit := fd.FullName()
		if one := fd.ContainingOneof(); one != nil {
			unit = one.FullName()
		}
		if other, ok := given[unit]; ok {
			d.fault(key, "%s stands beside %s, but only one of them may be set: remove one", key.Value, other)
			continue
		}
		given[unit] = key.Value
		d.field(value, m, fd)
	}
}

// fieldOf finds a field by the name that the CustomResourceDefinitions have for it: its JSON name, and mirror_percent.
// protojson takes every proto name, but the API server prunes what its schema does not know.
func fieldOf(md protoreflect.MessageDescriptor, key string) protoreflect.FieldDescriptor {
	if key == "mirror_percent" {
		return md.Fields().ByName("mirror_percent")
	}
	return md.Fields().ByJSONName(key)
}

func jsonNames(md protoreflect.MessageDescriptor) []string {
	var names []string
	for i := range md.Fields().Len() {
		names = append(names, md.Fields().Get(i).JSONName())
	}
	return names
}

// unknown tells of a key that its object does not have.
func (d *decoder) unknown(key *yaml.Node, of string, known []string) {
	slices.Sort(known)
	hint := "it has " + strings.Join(known, ", ")
	if near := diag.Nearest(key.Value, known); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	} else if len(known) == 0 {
		hint = "it takes no fields"
	}
	d.fault(key, "unknown field %q of %s; %s", key.Value, of, hint)
}

// field decodes a field's value.
func (d *decoder) field(n *yaml.Node, m protoreflect.Message, fd protoreflect.FieldDescriptor) {
	name := fd.JSONName()
	switch {
	case isNull(n):
		if !isWellKnown(fd) { // the schemas have wrappers nullable, and nothing else
			d.fault(n, "%s is empty: give it a value or remove it", name)
		}
	case fd.IsMap():
		d.mapField(n, m, fd)
	case fd.IsList():
		d.listField(n, m, fd)
	case fd.Message() != nil && !isWellKnown(fd):
		d.message(n, m.Mutable(fd).Message(), name)
	default:
		if v, ok := d.leaf(n, m, fd, name, func(v any) any { return v }); ok {
			m.Set(fd, v.Get(fd))
		}
	}
}

func (d *decoder) mapField(n *yaml.Node, m protoreflect.Message, fd protoreflect.FieldDescriptor) {
	if n.Kind != yaml.MappingNode {
		d.want(n, "a mapping", fd.JSONName())
		return
	}
	to := m.Mutable(fd).Map()
	for key, value := range pairs(n) {
		name := fd.JSONName() + "." + key.Value
		mk := protoreflect.ValueOfString(key.Value).MapKey()
		elem := fd.MapValue()
		switch {
		case isNull(value):
			d.fault(value, "%s is empty: give it a value or remove it; {} asks for nothing but presence", name)
		case elem.Message() != nil && !isWellKnown(elem):
			v := to.NewValue()
			d.message(value, v.Message(), name)
			to.Set(mk, v)
		default:
			if v, ok := d.leaf(value, m, fd, name, func(v any) any { return map[string]any{key.Value: v} }); ok {
				to.Set(mk, v.Get(fd).Map().Get(mk))
			}
		}
	}
}

func (d *decoder) listField(n *yaml.Node, m protoreflect.Message, fd protoreflect.FieldDescriptor) {
	if n.Kind != yaml.SequenceNode {
		d.want(n, "a list", fd.JSONName())
		return
	}
	to := m.Mutable(fd).List()
	for i, value := range n.Content {
		name := fmt.Sprintf("%s[%d]", fd.JSONName(), i)
		switch {
		case isNull(value):
			d.fault(value, "%s is empty: give it a value or remove it", name)
		case fd.Message() != nil && !isWellKnown(fd):
			v := to.NewElement()
			d.message(value, v.Message(), name)
			to.Append(v)
		default:
			if v, ok := d.leaf(value, m, fd, name, func(v any) any { return []any{v} }); ok {
				to.Append(v.Get(fd).List().Get(0))
			}
		}
	}
}

// isWellKnown tells whether a field's message has a JSON form of its own (google.protobuf.Duration and its like).
func isWellKnown(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && !fd.IsMap() && fd.Message().FullName().Parent() == "google.protobuf"
}

// leaf decodes a value that protojson knows how to read, in a message of its own that is like m. wrap puts the value
// into the list or the map that the field is.
func (d *decoder) leaf(n *yaml.Node, m protoreflect.Message, fd protoreflect.FieldDescriptor, name string, wrap func(any) any) (protoreflect.Message, bool) {
	elem := fd
	if fd.IsMap() {
		elem = fd.MapValue()
	}
	want := wanted(elem)
	if !want.takes(n) {
		d.want(n, want.words, name)
		return nil, false
	}
	value := plain(n)
	if elem.Message() != nil && elem.Message().FullName() == "google.protobuf.Duration" {
		// Istio's own reader, jsonpb, takes whatever time.ParseDuration does: 1m, 500ms.
		dur, err := time.ParseDuration(n.Value)
		if err != nil {
			d.want(n, want.words, name)
			return nil, false
		}
		text, _ := protojson.Marshal(durationpb.New(dur))
		value = json.RawMessage(text)
	}
	out := m.New()
	text, err := json.Marshal(map[string]any{fd.JSONName(): wrap(value)})
	if err == nil {
		err = protojson.Unmarshal(text, out.Interface())
	}
	if err != nil {
		d.want(n, want.words, name)
		return nil, false
	}
	return out, true
}

// wanting is what a leaf takes, in YAML's types and in words.
type wanting struct {
	tags  []string // nil: anything
	words string
}

func (w wanting) takes(n *yaml.Node) bool {
	return w.tags == nil || slices.Contains(w.tags, tagOf(n))
}

var (
	wantString   = wanting{[]string{"!!str", "!!timestamp"}, "a string (write it in quotes)"}
	wantBool     = wanting{[]string{"!!bool"}, "true or false"}
	wantInteger  = wanting{[]string{"!!int"}, "a whole number"}
	wantNumber   = wanting{[]string{"!!int", "!!float"}, "a number"}
	wantDuration = wanting{[]string{"!!str"}, "a duration such as 500ms, 10s or 1m"}
)

func wanted(fd protoreflect.FieldDescriptor) wanting {
	if md := fd.Message(); md != nil {
		switch md.FullName() {
		case "google.protobuf.Duration":
			return wantDuration
		case "google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue", "google.protobuf.Any":
			return wanting{nil, "of the form that " + string(md.FullName()) + " has"}
		}
		if value := md.Fields().ByName("value"); value != nil { // wrappers
			return wanted(value)
		}
		return wantString
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return wantBool
	case protoreflect.StringKind:
		return wantString
	case protoreflect.BytesKind:
		return wanting{wantString.tags, "base64 text"}
	case protoreflect.EnumKind:
		return wanting{wantString.tags, "one of " + enumNames(fd.Enum())}
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return wantNumber
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return wanting{wantInteger.tags, "a whole number from 0"}
	}
	return wantInteger
}

func enumNames(ed protoreflect.EnumDescriptor) string {
	var names []string
	for i := range ed.Values().Len() {
		names = append(names, string(ed.Values().Get(i).Name()))
	}
	return strings.Join(names, ", ")
}

// into decodes a tree into what ptr points to, by its json tags; it tells whether there was no fault.
func (d *decoder) into(n *yaml.Node, ptr any, name string) bool {
	before := len(*d.faults)
	d.value(n, reflect.ValueOf(ptr).Elem(), name)
	return len(*d.faults) == before
}

// value decodes a tree into v, whose types are Kubernetes'.
func (d *decoder) value(n *yaml.Node, v reflect.Value, name string) {
	if isNull(n) {
		return // as the API server has it: absent
	}
	if own, ok := v.Addr().Interface().(json.Unmarshaler); ok {
		d.unmarshal(n, own, name)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), name)
	case reflect.Struct:
		d.structure(n, v, name)
	case reflect.Map:
		d.mapping(n, v, name)
	case reflect.Slice:
		d.slice(n, v, name)
	default:
		d.basic(n, v, name)
	}
}

func (d *decoder) unmarshal(n *yaml.Node, to json.Unmarshaler, name string) {
	text, err := json.Marshal(plain(n))
	if err == nil {
		err = to.UnmarshalJSON(text)
	}
	if err != nil {
		d.fault(n, "%s: %s is not a value that it takes: %v", name, kindOf(n), err)
	}
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, name string) {
	if n.Kind != yaml.MappingNode {
		d.want(n, "a mapping", name)
		return
	}
	fields := map[string][]int{}
	collectFields(v.Type(), nil, fields)
	for key, value := range pairs(n) {
		index, ok := fields[key.Value]
		if !ok {
			var known []string
			for k := range fields {
				known = append(known, k)
			}
			d.unknown(key, v.Type().Name(), known)
			continue
		}
		d.value(value, v.FieldByIndex(index), key.Value)
	}
}

// collectFields maps a struct's json names to its fields; embedded structs without a name are part of it.
func collectFields(t reflect.Type, at []int, out map[string][]int) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		index := append(slices.Clone(at), i)
		switch {
		case name == "-" || !f.IsExported():
		case name == "" && f.Anonymous && f.Type.Kind() == reflect.Struct:
			collectFields(f.Type, index, out)
		case name != "":
			out[name] = index
		}
	}
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, name string) {
	if n.Kind != yaml.MappingNode {
		d.want(n, "a mapping", name)
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for key, value := range pairs(n) {
		elem := reflect.New(v.Type().Elem()).Elem()
		d.value(value, elem, name+"."+key.Value)
		v.SetMapIndex(reflect.ValueOf(key.Value).Convert(v.Type().Key()), elem)
	}
}

func (d *decoder) slice(n *yaml.Node, v reflect.Value, name string) {
	if n.Kind != yaml.SequenceNode {
		d.want(n, "a list", name)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, c := range n.Content {
		d.value(c, v.Index(i), fmt.Sprintf("%s[%d]", name, i))
	}
}

func (d *decoder) basic(n *yaml.Node, v reflect.Value, name string) {
	want := wantString
	switch v.Kind() {
	case reflect.Bool:
		want = wantBool
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint32, reflect.Uint64:
		want = wantInteger
	case reflect.Float64:
		want = wantNumber
	}
	if !want.takes(n) {
		d.want(n, want.words, name)
		return
	}
	text, err := json.Marshal(plain(n))
	if err == nil {
		err = json.Unmarshal(text, v.Addr().Interface())
	}
	if err != nil {
		d.want(n, want.words, name)
	}
}
