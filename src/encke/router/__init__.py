"""The router: who waits for what (`ledger`), other nodes (`others`), its process (`process`)."""
