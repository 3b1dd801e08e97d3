package cluster

import "umbra/scenarios"

var _ scenarios.Mesh = Embedded{}
