"""A PostgreSQL server for one measurement, with its defaults, of a database of its own.

PostgreSQL refuses to run as root; then its own user runs it.

May import: peers, processes; psycopg, once it's started.
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .peers import free_ports, wait_until
from .processes import BenchError, running

USER = "postgres"
"""Who runs it where we are root."""

PATIENCE = 60.0
"""Seconds that it may take to write what it has in memory, and end."""


def missing() -> str | None:
    """Why it can't be measured here, if it can't."""
    if not (shutil.which("initdb") and shutil.which("postgres")):
        return "its programs initdb and postgres are not in PATH; apt install postgresql"
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed; pip install 'encke[postgres]'"
    if not os.geteuid() and USER not in {user.pw_name for user in pwd.getpwall()}:
        return f"it doesn't run as root, and there is no user {USER}"
    return None


class Database:
    """An empty database; `url` is its address."""

    def __init__(self, url: str) -> None:
        self.url = url

    def bytes(self) -> int:
        """Its size on disk."""
        import psycopg

        with psycopg.connect(self.url) as connection:
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def postgres() -> Iterator[Database]:
    """A running server. Raises BenchError if it doesn't start."""
    import psycopg

    user = None if os.geteuid() else USER
    (port,) = free_ports(1)
    database = Database(f"postgresql://encke@127.0.0.1:{port}/postgres")

    def answers() -> bool:
        with suppress(psycopg.OperationalError):
            return database.bytes() > 0
        return False

    with (
        tempfile.TemporaryDirectory(prefix="encke-bench-postgres-") as directory,
        tempfile.TemporaryFile() as log,
    ):
        if user is not None:
            shutil.chown(directory, user)
        data = Path(directory) / "data"
        _create(data, user)
        command = [
            "postgres", "-D", str(data), "-k", directory, "-p", str(port),
            "-c", "listen_addresses=127.0.0.1",
        ]  # fmt: skip
        with running(command, None, log=log.fileno(), user=user, patience=PATIENCE) as process:
            wait_until(answers, process, "postgres", log)
            yield database


def _create(data: Path, user: str | None) -> None:
    done = subprocess.run(
        ["initdb", "-D", str(data), "-U", "encke", "-A", "trust", "-E", "UTF8", "--no-locale"],
        capture_output=True,
        text=True,
        check=False,
        user=user,
        cwd="/",
    )
    if done.returncode:
        raise BenchError(f"initdb could not create a database:\n{done.stderr[-2000:]}")
