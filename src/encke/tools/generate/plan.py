"""What the generator is told to do."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from ...described import Flag
from ...errors import BadSettings
from ..load.stamp import SENDERS


class Distribution(StrEnum):
    """Who gets the messages."""

    UNIFORM = "uniform"
    ZIPF = "zipf"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said to ``encke generate``."""

    to: Annotated[
        str, Meta(description="Address of the server."), Flag(metavar="URL", variable="ENCKE_URL")
    ] = "http://127.0.0.1:8000"
    path: Annotated[
        str,
        Meta(
            description="Where a message is sent; {} stands for the user id. [default: /send/{}; "
            "with --ndjson /send; with --publish /publish/{} and /publish]"
        ),
        Flag(metavar="PATH"),
    ] = ""
    publish: Annotated[
        bool, Meta(description="Publish for random users: to all who are subscribed to them.")
    ] = False
    count: Annotated[
        int, Meta(ge=0, description="Messages. 0: no limit."), Flag(short="-c", metavar="N")
    ] = 0
    duration: Annotated[
        float, Meta(ge=0, description="End after S seconds. 0: no limit."), Flag(metavar="S")
    ] = 0.0
    interval: Annotated[
        float,
        Meta(ge=0, description="Milliseconds between two messages of a sender."),
        Flag(metavar="MS"),
    ] = 0.0
    rate: Annotated[
        float,
        Meta(
            ge=0, description="Messages a second, of all senders. 0: as fast as the server answers."
        ),
        Flag(metavar="N"),
    ] = 0.0
    linger: Annotated[
        float,
        Meta(
            ge=0,
            le=1000,
            description="Write only each MS milliseconds, all that is due then: cheaper for the "
            "server.",
        ),
        Flag(metavar="MS"),
    ] = 0.0
    senders: Annotated[
        int, Meta(ge=1, description="Connections; each user has one of them."), Flag(metavar="N")
    ] = 1
    pipeline: Annotated[
        int,
        Meta(ge=1, description="Requests of a sender without an answer, at most; of NDJSON 4."),
        Flag(metavar="N"),
    ] = 64
    first_id: Annotated[int, Meta(ge=0, description="The first user id."), Flag(metavar="N")] = 1
    max_id: Annotated[int, Meta(ge=0, description="The last user id."), Flag(metavar="N")] = 1000
    each: Annotated[bool, Meta(description="One message to each user, instead of random ones.")] = (
        False
    )
    distribution: Annotated[
        Distribution,
        Meta(description="Who gets them: all alike, or few much and a long tail little."),
    ] = Distribution.UNIFORM
    exponent: Annotated[
        float,
        Meta(
            ge=0.0,
            le=10.0,
            description="Of zipf: user k of them gets in proportion to k^-exponent.",
        ),
    ] = 1.0
    seed: Annotated[
        int | None,
        Meta(description="For the same users in the same order again."),
        Flag(metavar="N"),
    ] = None
    body: Annotated[str, Meta(description="The message."), Flag(metavar="TEXT")] = "Hello"
    size: Annotated[
        int, Meta(ge=0, description="Fill the message up to this size."), Flag(metavar="BYTES")
    ] = 0
    stamp: Annotated[
        bool, Meta(description="Put time, sender and number before the message, for `encke flood`.")
    ] = False
    ndjson: Annotated[bool, Meta(description="Many messages a request, as NDJSON.")] = False
    batch: Annotated[
        int, Meta(ge=1, description="Messages of an NDJSON body, at most."), Flag(metavar="N")
    ] = 1000
    retry: Annotated[
        bool,
        Meta(
            description="Send again what was answered with 503, after the time that it names (it "
            "may come twice); and wait for a server that isn't there."
        ),
    ] = False
    timeout: Annotated[
        float, Meta(ge=0.1, description="Seconds to wait for an answer."), Flag(metavar="S")
    ] = 30.0
    counts: Annotated[
        str,
        Meta(description="Keep the number of messages to each user in FILE."),
        Flag(metavar="FILE"),
    ] = ""
    sums: Annotated[
        str,
        Meta(description="Keep the sum of each publisher's keys in FILE (--publish)."),
        Flag(metavar="FILE"),
    ] = ""
    api_key: Annotated[
        str,
        Meta(
            description="Key for sending. Better in the environment: other users may see arguments."
        ),
        Flag(metavar="KEY", variable="ENCKE_API_KEY"),
    ] = ""
    every: Annotated[
        float, Meta(ge=0.1, description="Seconds between two lines."), Flag(metavar="S")
    ] = 10.0
    json: Annotated[bool, Meta(description="For programs: print a JSON object a line.")] = False

    def settled(self) -> "Plan":
        """With what follows from other fields: `rate`. Raises BadSettings."""
        if self.interval and self.rate:
            raise BadSettings("Give either --interval or --rate: one follows from the other.")
        if not self.interval:
            return self
        return msgspec.structs.replace(self, rate=self.senders * 1000 / self.interval)

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
