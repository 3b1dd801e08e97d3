package route

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Mirrored gives the same manifests with every mirror that is programmed above 0 at 100 percent.
func (m *Manifests) Mirrored() (*Manifests, error) {
	return m.routes(func(r *yaml.Node) (replaced []*yaml.Node) {
		changed := false
		if mirror := child(r, "mirror"); mirror != nil && !isZero(child(r, "mirrorPercentage")) {
			remove(r, "mirrorPercent", "mirror_percent", "mirrorPercentage")
			changed = true
		}
		if mirrors := child(r, "mirrors"); mirrors != nil {
			for _, policy := range mirrors.Content {
				if !isZero(child(policy, "percentage")) {
					remove(policy, "percentage")
					changed = true
				}
			}
		}
		if !changed {
			return nil
		}
		return []*yaml.Node{r}
	})
}

// WithTimeout gives the same manifests with a time-out for every route that mirrors: "2s".
func (m *Manifests) WithTimeout(timeout string) (*Manifests, error) {
	return m.routes(func(r *yaml.Node) []*yaml.Node {
		if !mirrors(r) {
			return nil
		}
		remove(r, "timeout")
		set(r, "timeout", r, timeout)
		return []*yaml.Node{r}
	})
}

// uploads are the methods whose requests have bodies (RFC 9110, section 9.3; RFC 5789).
var uploads = []string{"POST", "PUT", "PATCH"}

// WithoutUploads gives the same manifests with a route without mirror for POST, PUT and PATCH in front of every route that mirrors.
func (m *Manifests) WithoutUploads() (*Manifests, error) {
	return m.routes(func(r *yaml.Node) []*yaml.Node {
		if !mirrors(r) {
			return nil
		}
		plain := copied(r)
		remove(plain, "mirror", "mirrors", "mirrorPercentage", "mirrorPercent", "mirror_percent", "match")
		if name := child(plain, "name"); name != nil {
			name.Value += "-uploads"
		}
		match := onlyUploads(child(r, "match"))
		if match == nil {
			return nil
		}
		match.Line, match.Column = r.Line, r.Column
		plain.Content = append(plain.Content, textNode("match", r), match)
		return []*yaml.Node{plain, r}
	})
}

// onlyUploads narrows a route's conditions to uploads; nil where they take none.
func onlyUploads(match *yaml.Node) *yaml.Node {
	method := func(at *yaml.Node, c *yaml.Node) {
		value := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: at.Line, Column: at.Column}
		set(value, "regex", at, strings.Join(uploads, "|"))
		c.Content = append(c.Content, textNode("method", at), value)
	}
	out := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	if match == nil || len(match.Content) == 0 {
		any := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		method(out, any)
		out.Content = append(out.Content, any)
		return out
	}
	for _, condition := range match.Content {
		c := copied(condition)
		switch of := child(c, "method"); {
		case of == nil:
			method(condition, c)
		case !takesUploads(of):
			continue
		}
		out.Content = append(out.Content, c)
	}
	if len(out.Content) == 0 {
		return nil
	}
	return out
}

// takesUploads tells whether a condition on the method may take an upload: of a regular expression that is not known.
func takesUploads(method *yaml.Node) bool {
	exact := child(method, "exact")
	return exact == nil || slices.Contains(uploads, exact.Value)
}

// WithPool gives the same manifests with a connection pool, a DestinationRule's connectionPool in YAML, for clusters by Envoy's names. It
// tells whether a DestinationRule is about any of them.
func (m *Manifests) WithPool(pool string, clusters ...string) (out *Manifests, found bool, err error) {
	out, err = m.Edited(func(o *Object, root *yaml.Node) (bool, error) {
		if !o.IsDestinationRule() {
			return false, nil
		}
		changed := false
		for _, cluster := range clusters {
			parts := strings.Split(cluster, "|") // outbound|port|subset|host
			if spec := child(root, "spec"); len(parts) == 4 && isHost(child(spec, "host"), parts[3], o.Namespace) {
				at := spec
				if parts[2] != "" {
					at = named(child(spec, "subsets"), parts[2])
				}
				if at != nil {
					if err := setPool(at, pool); err != nil {
						return false, err
					}
					changed, found = true, true
				}
			}
		}
		return changed, nil
	})
	return out, found, err
}

// isHost tells whether a DestinationRule's host is a service by its full name.
func isHost(host *yaml.Node, full, namespace string) bool {
	if host == nil {
		return false
	}
	return host.Value == full || host.Value+"."+namespace+".svc.cluster.local" == full
}

// named is the item of a list with a name.
func named(list *yaml.Node, name string) *yaml.Node {
	if list == nil {
		return nil
	}
	for _, item := range list.Content {
		if n := child(item, "name"); n != nil && n.Value == name {
			return item
		}
	}
	return nil
}

func setPool(at *yaml.Node, pool string) error {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(pool), &doc); err != nil {
		return err
	}
	value := doc.Content[0]
	movedTo(value, at)
	policy := child(at, "trafficPolicy")
	if policy == nil {
		policy = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: at.Line, Column: at.Column}
		at.Content = append(at.Content, textNode("trafficPolicy", at), policy)
	}
	remove(policy, "connectionPool")
	policy.Content = append(policy.Content, textNode("connectionPool", at), value)
	return nil
}

// movedTo has what is told of a tree told at another node's place.
func movedTo(n, at *yaml.Node) {
	n.Line, n.Column, n.Style = at.Line, at.Column, 0
	for _, c := range n.Content {
		movedTo(c, at)
	}
}

// routes edits each HTTP route of each VirtualService: what edit gives takes its place; nil leaves it as it is.
func (m *Manifests) routes(edit func(r *yaml.Node) (replaced []*yaml.Node)) (*Manifests, error) {
	return m.Edited(func(o *Object, root *yaml.Node) (bool, error) {
		if !o.IsVirtualService() {
			return false, nil
		}
		http := child(child(root, "spec"), "http")
		if http == nil {
			return false, nil
		}
		changed := false
		var content []*yaml.Node
		for _, r := range http.Content {
			replaced := edit(r)
			if replaced == nil {
				replaced = []*yaml.Node{r}
			} else {
				changed = true
			}
			content = append(content, replaced...)
		}
		http.Content = content
		return changed, nil
	})
}

// mirrors tells whether a route mirrors more than 0 percent.
func mirrors(r *yaml.Node) bool {
	if child(r, "mirror") != nil && !isZero(child(r, "mirrorPercentage")) {
		return true
	}
	list := child(r, "mirrors")
	return list != nil && slices.ContainsFunc(list.Content, func(policy *yaml.Node) bool { return !isZero(child(policy, "percentage")) })
}

// textNode is a node of text, told at another's place.
func textNode(value string, at *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value, Line: at.Line, Column: at.Column}
}

// set adds a text to a mapping.
func set(n *yaml.Node, key string, at *yaml.Node, value string) {
	n.Content = append(n.Content, textNode(key, at), textNode(value, at))
}
