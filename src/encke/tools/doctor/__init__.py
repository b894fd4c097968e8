"""``encke doctor``: can this machine hold N connections, and what to set if it can't.

The kernel tuning of "A Million-user Comet Application with Mochiweb" (2008, parts 1
and 3), brought up to date. Of its lines

- ``fs.file-max``, ``ulimit -n``, ``ip_local_port_range``, ``tcp_mem`` and the size of the
  connection tracker still matter and are checked here. ``ulimit`` in a shell doesn't
  reach a service, which has ``LimitNOFILE=``; ``ip_conntrack_max`` is now
  ``nf_conntrack_max``, and counts only where a firewall rule asks for tracking.
- ``tcp_rmem`` and ``tcp_wmem`` (4096 16384 33554432) are obsolete: buffers have grown and
  shrunk by themselves since Linux 2.6.17, and an idle socket's are not allocated at
  all. Only a minimum above the default would hurt, and that is checked.
- ``net.core.rmem_max`` is obsolete: it limits what a program asks for with SO_RCVBUF, and
  Encke doesn't ask. ``wmem_max``, the same for SO_SNDBUF, is checked: see ``--send-buffer``.
- ``netdev_max_backlog`` is obsolete: network cards have been polled (NAPI) past that
  queue for long; it is left for loopback and for cards of one queue.
- ``tcp_max_tw_buckets``: by default it grows with the memory, and mostly the client
  closes first, which leaves the waiting to the client.
- ``vm.min_free_kbytes`` is sized by the kernel; ``vm.swappiness = 0`` has since Linux 3.5
  meant that programs are killed rather than swapped.

What the article didn't need to say, because it had one process and another kernel:
``somaxconn`` (it cut every backlog to 128), ``epoll.max_user_watches``, limits on
processes and memory that a container sets, and ``tcp_ehash_entries``: the table in which the
kernel looks up the socket of each packet has a fixed number of buckets, and what it walks
there is in no cache.

Of the files here `machine` reads /proc and /sys, `checks` is pure, and `report` prints.
"""

from .checks import Finding, Verdict, check
from .machine import Machine, read_machine, tcp_buckets
from .report import advice, run

__all__ = [
    "Finding",
    "Machine",
    "Verdict",
    "advice",
    "check",
    "read_machine",
    "run",
    "tcp_buckets",
]
