"""A node: one machine's processes, and the only room that joins the others."""
