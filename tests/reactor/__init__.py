"""Tests of the event loop and of the links' ends, with real descriptors."""
