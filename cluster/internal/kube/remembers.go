package kube

import "context"

// Remembers tells whether something waits to be put back.
func (c *Client) Remembers(ctx context.Context, namespace string) (bool, error) {
	live, err := c.Get(ctx, memoryObject(namespace))
	return live != nil, err
}
