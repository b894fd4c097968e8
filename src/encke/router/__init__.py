"""The router: who is where (`map`), who waits for what (`dispatch`), its process (`process`)."""
