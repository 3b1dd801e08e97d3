package scenarios

import (
	"context"

	"umbra/internal/mesh"
)

// Mesh is what a run needs of a mesh; the room cluster has them.
type Mesh interface {
	// Up stands the mesh up and waits until it serves. What it started it ends itself where it fails.
	Up(ctx context.Context, spec mesh.Spec) (Running, error)
}

// Running is a mesh that serves. It stands in internal/mesh, as the meshes that return one may not import this room.
type Running = mesh.Running
