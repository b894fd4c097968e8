"""The event loop of gateways, router and supervisor's children."""
