"""What CONNECT shows the server: user and password, a token, or a signature.

Files are read anew for each connection, since credentials expire and are replaced.
"""

import base64
import binascii
import re

import msgspec

from ..errors import BadSettings
from ..extras import needed
from ..wire.nats import Connect, Info
from .options import NatsOptions
from .servers import Server

_jwt = re.compile(r"-----BEGIN NATS USER JWT-----\s+(\S+)\s+-+END NATS USER JWT-+").search
_seed = re.compile(r"-----BEGIN USER NKEY SEED-----\s+(\S+)\s+-+END USER NKEY SEED-+").search
_bare_seed = re.compile(r"\s*(SU[A-Z2-7]+)\s*").fullmatch


def connect_options(options: NatsOptions, server: Server, info: Info, *, secure: bool) -> Connect:
    """CONNECT's options for `server`, which introduced itself with `info`.

    Raises BadSettings if the file with the credentials is of no use, MissingExtra without nkeys.
    """
    connect = Connect(name=options.name, version=options.version, tls_required=secure)
    if options.credentials:
        return _signed(connect, info.nonce, options.credentials)
    if server.token:
        return msgspec.structs.replace(connect, auth_token=server.token)
    if server.user or server.password:
        return msgspec.structs.replace(connect, user=server.user, password=server.password)
    return connect


def read(path: str) -> tuple[str | None, str]:
    """The JWT, if there is one, and the seed that are in the file `path`.

    Raises BadSettings if the file is of no use.
    """
    try:
        with open(path, encoding="ascii") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    jwt, seed = _jwt(text), _seed(text) or _bare_seed(text)
    if seed is None:
        raise BadSettings(f"{path} has no nkey seed: it takes a .creds file, or a seed (SU...).")
    return jwt[1] if jwt is not None else None, seed[1]


def _signed(connect: Connect, nonce: str, path: str) -> Connect:
    jwt, seed = read(path)
    nkeys = needed("nkeys")
    try:
        key = nkeys.from_seed(bytearray(seed, "ascii"))
        signature = base64.urlsafe_b64encode(key.sign(nonce.encode())).rstrip(b"=").decode()
        nkey = key.public_key.decode()
    except (nkeys.NkeysError, binascii.Error, ValueError) as error:
        raise BadSettings(f"{path}: not a valid nkey seed: {error}") from None
    if jwt is not None:
        return msgspec.structs.replace(connect, jwt=jwt, sig=signature)
    return msgspec.structs.replace(connect, nkey=nkey, sig=signature)
