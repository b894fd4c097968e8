"""Friends: who is subscribed to whom, kept in SQLite or PostgreSQL."""
