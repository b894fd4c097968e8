"""A PostgreSQL server with an empty database, on a Unix socket and a free loopback port.

PostgreSQL refuses to run as root; then its own user runs it.
"""

import glob
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from .processes import BenchError, free_ports
from .server import Server

USER = "postgres"
"""Who runs it where we are root."""


def _programs() -> Path | None:
    found = shutil.which("postgres") or max(
        glob.glob("/usr/lib/postgresql/*/bin/postgres"), default=""
    )
    return Path(found).parent if found else None


def missing() -> str | None:
    """Why there is none here, if there is none."""
    if _programs() is None:
        return "PostgreSQL is not installed; apt install postgresql"
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed; pip install 'encke[postgres]'"
    if not os.geteuid() and USER not in {user.pw_name for user in pwd.getpwall()}:
        return f"it doesn't run as root, and there is no user {USER}"
    return None


class Postgres(Server):
    """One server; it can be ended and started again. Raises BenchError if it doesn't start."""

    def __init__(self) -> None:
        super().__init__("postgres", *free_ports(1))
        self.patience = 60.0  # it writes what it has in memory
        self._user = None if os.geteuid() else USER
        self._directory = Path(tempfile.mkdtemp(prefix="encke-postgres-"))
        if self._user:
            shutil.chown(self._directory, self._user, self._user)
        self._programs = _programs() or Path()
        options = (
            "--auth=trust",
            "--username=encke",
            "--no-sync",
            "--encoding=UTF8",
            "--no-locale",
        )
        done = subprocess.run(
            [self._programs / "initdb", "-D", self._directory / "data", *options],
            capture_output=True, text=True, user=self._user, group=self._user, cwd="/", check=False,
        )  # fmt: skip
        if done.returncode:
            raise BenchError(f"initdb could not create a database:\n{done.stderr[-2000:]}")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://encke:secret@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = [f"--port={self.port}", "--listen-addresses=127.0.0.1", "--max-connections=50"]
        command = [f"{self._programs}/postgres", "-D", f"{self._directory}/data"]
        self.launch(
            [*command, "-k", f"{self._directory}", *options], self._answers, user=self._user
        )

    def end(self) -> None:
        """As SIGQUIT does it: at once, with what was committed kept."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(20)

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._directory)

    def bytes(self) -> int:
        """The database's size on disk."""
        ((size,),) = self._ask("SELECT pg_database_size(current_database())")
        return int(size)

    def empty(self) -> None:
        """Drop all that Encke has made."""
        self._ask("DROP TABLE IF EXISTS encke_subscriptions, encke_schema")

    def _ask(self, query: str) -> list[tuple[int, ...]]:
        import psycopg

        with psycopg.connect(self.url, autocommit=True, connect_timeout=2) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def _answers(self) -> bool:
        import psycopg

        with suppress(psycopg.OperationalError):
            return self.bytes() > 0
        return False
