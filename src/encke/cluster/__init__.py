"""The other nodes, and a node's uplink to NATS, which joins it to them. Begin with `peers`; then
`uplink`."""
