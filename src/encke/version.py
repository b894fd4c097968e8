"""The package's version: pyproject.toml reads it here, and so does who says it to others."""

VERSION = "0.1.0"
