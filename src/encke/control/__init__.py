"""The control port: health, state, metrics, friends, and the description of both ports."""
