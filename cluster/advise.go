package cluster

import (
	"errors"
	"fmt"
	"strings"

	"umbra/cluster/internal/kube"
	"umbra/internal/route"
)

// imageAdvice stands behind the failure of a pod whose image its node cannot have.
const imageAdvice = "name images that the node can pull (--app-image, --istio-hub and --istio-tag, or UMBRA_APP_IMAGE, UMBRA_ISTIO_HUB and UMBRA_ISTIO_TAG; others in the manifests), or have them loaded from the local engine (--load-image, UMBRA_LOAD_IMAGES)"

// advised adds to what a cluster did not take, or could not run, what to do about it: where a rejected object is written, and
// where images come from.
func advised(err error, m *route.Manifests) error {
	var places []string
	for _, r := range rejections(err) {
		for i := range m.Objects {
			if o := &m.Objects[i]; o.ID() == kube.Name(r.Object) {
				places = append(places, fmt.Sprintf("%s:%d: change %s", o.File, o.Line, o.ID()))
			}
		}
	}
	if len(places) > 0 {
		return fmt.Errorf("%w\n%s", err, strings.Join(places, "\n"))
	}
	var late *kube.NotReady
	if errors.As(err, &late) && strings.Contains(late.Early, "Image") { // ErrImagePull, ImagePullBackOff, InvalidImageName and their like
		return fmt.Errorf("%w\n%s", err, imageAdvice)
	}
	return err
}

// rejections finds all in a tree of errors.
func rejections(err error) []*kube.Rejected {
	switch e := err.(type) {
	case *kube.Rejected:
		return []*kube.Rejected{e}
	case interface{ Unwrap() error }:
		return rejections(e.Unwrap())
	case interface{ Unwrap() []error }:
		var all []*kube.Rejected
		for _, one := range e.Unwrap() {
			all = append(all, rejections(one)...)
		}
		return all
	}
	return nil
}
