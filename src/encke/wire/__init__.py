"""The meaning of bytes: pure, no sockets; each decoder is fed bytes and gives events."""
