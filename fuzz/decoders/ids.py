"""User ids, and percent-encoding."""

from urllib.parse import unquote_to_bytes

from encke.errors import BadUserId
from encke.ids import is_user_id, user_id
from encke.wire.http import percent_decoded

from ..engine import Decoder, Outcome
from ..promises import hold


def check_ids(data: bytes) -> Outcome:
    """User ids and percent-encoding: as the standard library has it, and nothing passes that
    the rule for ids doesn't name."""
    decoded = percent_decoded(data)
    hold(decoded == unquote_to_bytes(data), f"decoded to {decoded!r}")
    try:
        id = user_id(decoded)
    except BadUserId as error:
        hold(not is_user_id(decoded), f"{decoded!r} was refused")
        return "".join(filter(str.isalpha, str(error)))
    hold(id == decoded and 1 <= len(id) <= 128, f"{decoded!r} became {id!r}")
    hold(all(chr(byte).isalnum() or byte in b"-_.~@:" for byte in id), f"{id!r} passed")
    hold(user_id(id.decode("ascii")) == id, f"{id!r} as text is another")
    return b"%" in data


IDS = Decoder(
    "ids",
    check_ids,
    (b"%", b"%4", b"%41", b"%25", b"%00", b"%ff", b"%2F", b"a", b"0", b":", b"@", b"~", b"\n"),
)  # fmt: skip
