package kube

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func decode(t *testing.T, yaml string) []*Object {
	t.Helper()
	objects, err := Decode([]byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func createBy(manager string) metav1.CreateOptions {
	return metav1.CreateOptions{FieldManager: manager}
}

func difference(a, b *Object) string { return cmp.Diff(a.Object, b.Object) }
