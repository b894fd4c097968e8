"""Tests of the ledger: who waits for what."""
