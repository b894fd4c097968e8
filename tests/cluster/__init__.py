"""Tests of the link to NATS, with real servers."""
