"""Three NATS servers, joined: messages across, and the way to another when one dies."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from reactor.turning import run_until

from bench.servers.nats import NatsServer, nats_cluster
from encke.reactor.loop import Reactor
from encke.wire.subjects import Subjects

from .member import Join, Member

USER = Subjects().user


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[NatsServer]]:
    """Three servers that know each other."""
    with nats_cluster(3, tmp_path) as servers:
        yield servers


def until_all_are_known(member: Member) -> None:
    """Wait until the server has named the others to `member`."""
    run_until(member.reactor, lambda: len(member.link._pool) == 3)


def until_carried(reactor: Reactor, sender: Member, receiver: Member, subject: bytes) -> None:
    """Wait until interest has come across: until something that is sent arrives."""
    before = len(receiver.messages)

    def sent() -> bool:
        sender.link.publish([subject], [b"probe"])
        return len(receiver.messages) > before

    run_until(reactor, sent)
    assert sender.flushed()


def test_messages_go_across(servers: list[NatsServer], join: Join, reactor: Reactor) -> None:
    """A message published at one server is received at the others, in order."""
    members = [join(server.url, USER(b"%d" % n)) for n, server in enumerate(servers)]
    for receiver in range(3):
        for sender in range(3):
            if sender != receiver:
                until_carried(reactor, members[sender], members[receiver], USER(b"%d" % receiver))
    for member in members:
        member.messages.clear()
    sent = [b"%d" % number for number in range(500)]
    members[0].link.publish([USER(b"2")] * 500, sent)
    members[1].link.publish([USER(b"0")] * 500, sent)
    for receiver in (0, 2):
        run_until(reactor, lambda r=receiver: members[r].payloads()[-500:] == sent)  # type: ignore[misc]


def test_another_server_takes_over(servers: list[NatsServer], join: Join, reactor: Reactor) -> None:
    """Told of one server only, a link goes on at another when that is killed, with all its
    interest there before it is ready; messages from the third server arrive again."""
    first, *others = servers
    subjects = [USER(b"%d" % number) for number in range(12_000)]
    member = join(first.url, *subjects)
    until_all_are_known(member)
    first.end()
    member.until_away()
    with_all: list[bool] = []
    member.linked = lambda: with_all.append(  # type: ignore[method-assign]
        any(
            server.subscriptions() > len(subjects)
            for server in others
            if server.address == str(member.link.server)
        )
    )
    member.until_ready()
    assert with_all == [True]
    assert str(member.link.server) in {server.address for server in others}
    third = next(server for server in others if server.address != str(member.link.server))
    sender = join(third.url)
    until_carried(reactor, sender, member, subjects[-1])


def test_servers_that_die_one_after_the_other(
    servers: list[NatsServer], join: Join, reactor: Reactor
) -> None:
    """The link follows to whichever lives, and back when all were away."""
    member = join(servers[0].url, USER(b"1"))
    until_all_are_known(member)
    by_address = {server.address: server for server in servers}
    for _ in range(2):
        by_address[str(member.link.server)].end()
        member.until_away()
        member.until_ready()
    last = by_address[str(member.link.server)]
    last.end()
    member.until_away()
    last.start()
    member.until_ready()
    sender = join(last.url)
    sender.link.publish([USER(b"1")], [b"hi"])
    assert member.until_received(1) == [b"hi"]
    assert member.link.tally.linked == 4
    assert member.link.tally.lost == 3
