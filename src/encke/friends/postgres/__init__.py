"""Friends in PostgreSQL, for several nodes, or a database that is there anyway. Begin with
`database`."""
