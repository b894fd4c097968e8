"""The other nodes, and a node's link to NATS, which joins it to them. Begin with `peers`; then
`link`."""
