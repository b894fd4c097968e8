"""The server's log: one logfmt line an event that an operator would want, on stderr.

    ts=2026-11-23T08:00:00.123Z level=info event=ready listen=127.0.0.1:8000 pid=4711

None a message, none a connection: those are counted (see the metrics).
"""

import sys
import time

_QUOTED = set(' "=\n\t\r')


def info(event: str, **fields: object) -> None:
    """Log something that is as it should be."""
    _write("info", event, fields)


def warning(event: str, **fields: object) -> None:
    """Log something that an operator may have to look at."""
    _write("warning", event, fields)


def error(event: str, **fields: object) -> None:
    """Log something that an operator must look at."""
    _write("error", event, fields)


def _write(level: str, event: str, fields: dict[str, object]) -> None:
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03}Z"
    pairs = "".join(f" {name}={_value(value)}" for name, value in fields.items())
    sys.stderr.write(f"ts={stamp} level={level} event={event}{pairs}\n")
    sys.stderr.flush()


def _value(value: object) -> str:
    text = str(value)
    if text and not _QUOTED.intersection(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
