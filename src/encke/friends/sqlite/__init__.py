"""Friends in a file, for a node that is alone. Begin with `file`."""
