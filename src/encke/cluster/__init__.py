"""A node's link to NATS, which joins it to other nodes. Begin with `link`."""
