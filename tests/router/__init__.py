"""Tests of the router's map and mind."""
