"""A real PostgreSQL server, on a Unix socket and a free loopback port, ended by its id."""

import glob
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from system.node import until

PROGRAMS = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
MISSING = "" if PROGRAMS else "PostgreSQL isn't installed (apt install postgresql)"

_USER = "postgres"


class Postgres:
    """One server with an empty database; it can be killed and started again."""

    def __init__(self) -> None:
        self._programs = Path(PROGRAMS[-1]).parent
        self._directory = Path(tempfile.mkdtemp(prefix="encke-postgres-"))
        # it refuses to be root
        self._as = {"user": _USER, "group": _USER} if os.getuid() == 0 else {}
        if self._as:
            shutil.chown(self._directory, _USER, _USER)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._run("initdb", "--auth=trust", "--username=encke", "--no-sync", "--encoding=UTF8")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://encke:secret@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        data = self._directory / "data"
        options = [f"--port={self.port}", "--listen-addresses=127.0.0.1", "--max-connections=50"]
        with (self._directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._programs / "postgres", "-D", data, "-k", self._directory, *options],
                stderr=log, cwd="/", **self._as,  # type: ignore[call-overload]
            )  # fmt: skip
        until(self._answers, "PostgreSQL answers")

    def end(self) -> None:
        """As SIGQUIT does it: at once, with what was committed kept."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(20)

    def empty(self) -> None:
        """Drop all that Encke has made."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS encke_subscriptions, encke_schema")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()
        shutil.rmtree(self._directory)

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self._directory / "log").read_text(encoding="utf-8")
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *options: str) -> None:
        subprocess.run(
            [self._programs / program, "-D", self._directory / "data", *options],
            check=True, capture_output=True, cwd="/", **self._as,  # type: ignore[call-overload]
        )  # fmt: skip
