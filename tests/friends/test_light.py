"""What a router imports before anybody has friends."""

import subprocess
import sys


def test_no_database_is_imported_before_it_is_needed() -> None:
    """SQLite and psycopg cost a process memory: they come with the first lookup."""
    program = "import encke.friends.lookups, encke.friends.opening, sys; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"sqlite3", "psycopg", "psycopg_pool", "ssl", "asyncio"} & set(modules)
