"""Tests of the hub: who gets what is sent."""
