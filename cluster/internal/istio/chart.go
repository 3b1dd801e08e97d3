package istio

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"istio.io/istio/manifests"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// render renders an embedded chart into the namespace istio-system.
func render(name, release string, values map[string]any, kubeVersion string) ([]*Object, error) {
	c, err := load(name)
	if err != nil {
		return nil, err
	}
	caps := common.DefaultCapabilities.Copy()
	if kubeVersion != "" {
		v, err := common.ParseKubeVersion(kubeVersion)
		if err != nil {
			return nil, fmt.Errorf("version %q of Kubernetes: %w", kubeVersion, err)
		}
		caps.KubeVersion = *v
	}
	all, err := util.ToRenderValues(c, values, common.ReleaseOptions{Name: release, Namespace: Namespace, IsInstall: true, Revision: 1}, caps)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, err
	}
	return decodeFiles(files)
}

// load reads a chart as Helm's loader.LoadDir would, from the file system that is embedded in istio.io/istio.
func load(name string) (*chart.Chart, error) {
	root := path.Join("charts", name)
	var files []*archive.BufferedFile
	err := fs.WalkDir(manifests.FS, root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := manifests.FS.ReadFile(p)
		files = append(files, &archive.BufferedFile{Name: strings.TrimPrefix(p, root+"/"), Data: data})
		return err
	})
	if err != nil {
		return nil, err
	}
	return loader.LoadFiles(files)
}

// decodeFiles gives the objects of rendered templates in the order of installation.
func decodeFiles(files map[string]string) ([]*Object, error) {
	var out []*Object
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if path.Ext(name) == ".txt" { // notes to people
			continue
		}
		objects, err := decodeStream([]byte(files[name]))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, objects...)
	}
	slices.SortStableFunc(out, func(a, b *Object) int { return cmp.Compare(rank(a), rank(b)) })
	return out, nil
}

func decodeStream(data []byte) ([]*Object, error) {
	var out []*Object
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		o, err := decode(doc)
		if err != nil {
			return nil, err
		}
		if o != nil {
			out = append(out, o)
		}
	}
}

// decode reads one YAML document as Kubernetes does; nil where it holds nothing.
func decode(doc []byte) (*Object, error) {
	data, err := yaml.YAMLToJSON(doc)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(data, []byte("null")) {
		return nil, nil
	}
	o := &Object{}
	if err := o.UnmarshalJSON(data); err != nil {
		return nil, err
	}
	return o, nil
}

// order puts what others name before them: a pod is not made before its service account is there, and no webhook asks
// for a Service that is not.
var order = []string{"Namespace", "CustomResourceDefinition", "ServiceAccount", "Secret", "ConfigMap", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Service", "Deployment"}

func rank(o *Object) int {
	if i := slices.Index(order, o.GetKind()); i >= 0 {
		return i
	}
	return len(order)
}
