"""Tests of the room `node`: forking, watching, ending."""
