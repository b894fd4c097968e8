"""Tools around the server; they use its public interface only."""
