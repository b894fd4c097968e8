"""Tests of the transports: one contract for all, and a file for each."""
