"""Where a server's settings come from, and whether they go together.

Later ones win: the defaults (`settings`), a TOML file (``encke serve --config FILE``), the
environment (``ENCKE_LISTEN`` and so on), the flags of ``encke serve``.
"""

import os
import re
from collections.abc import Mapping

import msgspec

from .errors import BadSettings
from .settings import Settings, address, is_loopback

SHORTEST_HANG = 1.0
"""Seconds: the shortest --hang-timeout but 0."""

_SEVERAL = frozenset(("allow_host", "allow_origin"))
"""Settings of which there may be several."""

_NAME = r"(?:[a-z0-9._~\-]+|\[[0-9a-f:.]+\])"
_is_host = re.compile(_NAME).fullmatch
_is_origin = re.compile(
    rf"(?P<scheme>[a-z][a-z0-9+.\-]*)://{_NAME}(?::(?P<port>[0-9]{{1,5}}))?"
).fullmatch


def load(
    flags: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    file: "str | os.PathLike[str] | None" = None,
) -> Settings:
    """The settings of `file`, `environment` (``ENCKE_*``) and `flags`, later ones winning.

    Raises BadSettings, naming the source and the setting, for an unknown name, a
    wrong type or a value out of range, and for an unsafe combination.
    """
    merged: dict[str, object] = {}
    if file is not None:
        import tomllib  # by the command line only: the server's memory is counted

        try:
            with open(file, "rb") as toml:
                merged.update(tomllib.load(toml))
        except OSError as error:
            raise BadSettings(f"{file}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadSettings(f"{file}: not TOML: {error}") from None
        _convert(merged, str(file))
    known = set(Settings.__struct_fields__)
    from_environment: dict[str, object] = {
        name.removeprefix("ENCKE_").lower(): value
        for name, value in (os.environ if environment is None else environment).items()
        if name.startswith("ENCKE_") and name.removeprefix("ENCKE_").lower() in known
    }
    _convert(from_environment, "environment (ENCKE_*)")
    merged.update(from_environment)
    merged.update({name: value for name, value in (flags or {}).items() if value is not None})
    settings = _convert(merged, "settings")
    _check_safe(settings)
    return msgspec.structs.replace(
        settings,
        allow_host=tuple(map(_host, settings.allow_host)),
        allow_origin=tuple(map(_origin, settings.allow_origin)),
    )


def _convert(values: Mapping[str, object], source: str) -> Settings:
    values = {
        name: _several(value) if name in _SEVERAL else value for name, value in values.items()
    }
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        name = where.removesuffix("`") + ": " if where else ""
        raise BadSettings(f"{source}: {name}{what[:1].lower()}{what[1:]}") from None


def _several(value: object) -> object:
    """The values of a setting that takes several: one after the other, or with commas."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not all(isinstance(each, str) for each in given):
        return value  # of no use
    parts = (part.strip(" ") for each in given for part in each.split(","))
    return [part for part in parts if part]


def _host(text: str) -> str:
    """A name or an address as it stands in Host, without a port, or *; raises BadSettings."""
    host = text.lower()
    if host.count(":") > 1 and not host.startswith("["):
        host = f"[{host}]"
    if text != "*" and not _is_host(host):
        raise BadSettings(
            "--allow-host takes a name or an address, without a port, e.g. push.example.org, or *; "
            f"{text!r} is none."
        )
    return host


def _origin(text: str) -> str:
    """A web origin (RFC 6454, 6.1) as browsers send it, or *; raises BadSettings."""
    if text == "*":
        return text
    parts = _is_origin(text.lower())
    if parts is None or int(parts["port"] or 0) > 65_535:
        raise BadSettings(
            "--allow-origin takes an origin, without a path, e.g. https://example.org, or *; "
            f"{text!r} is none."
        )
    usual = {"http": ":80", "https": ":443"}.get(parts["scheme"], "/")
    return parts[0].removesuffix(usual)


def _check_safe(settings: Settings) -> None:
    if settings.friends not in ("", "sqlite", "off") and not settings.friends.startswith(
        ("postgresql://", "postgres://")
    ):
        raise BadSettings(
            "--friends takes sqlite, off, or postgresql://USER:PASSWORD@HOST/DATABASE."
        )
    if settings.gateways == 0 and not settings.nats:
        raise BadSettings(
            "--gateways 0 is a node for senders, whose users are on other nodes: join it to them "
            "with --nats URL."
        )
    if 0 < settings.hang_timeout < SHORTEST_HANG:
        raise BadSettings(
            f"--hang-timeout is at least {SHORTEST_HANG:g} s: a turn of a busy process takes its "
            "time. 0 turns it off."
        )
    if settings.nats and settings.friends == "sqlite":
        raise BadSettings(
            "--friends sqlite is a file of this machine, which the other nodes of the cluster "
            "can't see. Name a database that all can: --friends postgresql://..., or --friends off."
        )
    if settings.bodies_total < max(settings.body_limit, settings.line_limit):
        raise BadSettings(
            "--bodies-total is too small: one body would be more. It's at least --body-limit and "
            "--line-limit."
        )
    least = settings.queue_limit + max(settings.body_limit, settings.line_limit)
    if settings.queue_total < least:
        raise BadSettings(
            f"--queue-total is too small: with this --queue-limit, --body-limit and --line-limit "
            f"one client may have {least} bytes waiting. Set at least that."
        )
    for name in ("listen", "control"):
        host, _ = address(getattr(settings, name))
        if not is_loopback(host) and not settings.api_key and not settings.insecure:
            raise BadSettings(
                f"--{name} {host} is reachable from other machines, and no API key is set: "
                "anyone could send. Set ENCKE_API_KEY, or bind to 127.0.0.1, or add --insecure "
                "if a firewall or proxy protects it."
            )
