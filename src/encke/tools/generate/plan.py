"""What the generator is told to do."""

from enum import StrEnum

import msgspec

from ...errors import BadSettings
from ..load.stamp import SENDERS


class Distribution(StrEnum):
    """Who gets the messages."""

    UNIFORM = "uniform"
    ZIPF = "zipf"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The flags of the command; times in seconds."""

    to: str = "http://127.0.0.1:8000"
    path: str = ""
    """Empty: as PATHS say."""
    ndjson: bool = False
    publish: bool = False
    """Publish, instead of sending."""
    count: int = 0
    """Messages; 0: no limit."""
    duration: float = 0.0
    """0: no limit."""
    rate: float = 0.0
    """Messages a second, all senders together; 0: as fast as the server answers."""
    linger: float = 0.0
    """Milliseconds for which what is due is gathered before it's written."""
    senders: int = 1
    pipeline: int = 64
    """Requests of a sender without an answer, at most."""
    batch: int = 1000
    """Messages of an NDJSON body, at most."""
    first_id: int = 1
    max_id: int = 1000
    each: bool = False
    distribution: Distribution = Distribution.UNIFORM
    exponent: float = 1.0
    seed: int | None = None
    body: str = "Hello"
    size: int = 0
    stamp: bool = False
    retry: bool = False
    timeout: float = 30.0
    counts: str = ""
    sums: str = ""
    api_key: str = ""
    every: float = 10.0
    json: bool = False

    @property
    def users(self) -> int:
        """How many there are."""
        return self.max_id - self.first_id + 1

    @property
    def total(self) -> int:
        """Messages to send; 0: no limit."""
        return self.users if self.each else self.count

    def check(self) -> None:
        """Raises BadSettings if this can't be done."""
        if self.users < 1:
            raise BadSettings(f"--max-id {self.max_id} is less than --first-id {self.first_id}.")
        if self.each and self.count:
            raise BadSettings("--each sends one message to each user: leave --count out.")
        if not 1 <= self.senders <= SENDERS:
            raise BadSettings(f"--senders: 1 to {SENDERS}.")
        if self.sums and not (self.publish and self.stamp):
            raise BadSettings("--sums: only what has --publish and --stamp has keys.")

    @property
    def where(self) -> str:
        """The path."""
        return self.path or PATHS[self.publish, self.ndjson]


PATHS = {
    (False, False): "/send/{}",
    (False, True): "/send",
    (True, False): "/publish/{}",
    (True, True): "/publish",
}
"""By whether it publishes, and by NDJSON."""
