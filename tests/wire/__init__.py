"""Tests of the wire room: each decoder is fed whole, byte by byte, and with more behind."""
