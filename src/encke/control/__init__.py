"""The control port: health, state, metrics, and the description of both ports."""
