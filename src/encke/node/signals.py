"""What signals mean to the processes of a node.

The supervisor acts on those of HANDLED (`supervisor`, and docs/deployment.md). A terminal and
`kill -- -PGID` send them to its children too, which ignore what is for the supervisor: of those
only SIGTERM ends them, gateways also SIGQUIT, and SIGUSR1 lets them tell their stacks. What is in
IGNORED would end a process by default, and is no wish to end it and no fault.
"""

import signal

ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

HANDLED = (*ENDS, signal.SIGCHLD, signal.SIGHUP, signal.SIGUSR1)

IGNORED = (
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGIO,
    signal.SIGPWR,
)


def ignore() -> None:
    """In the supervisor; its children inherit it."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)


def block() -> None:
    """Before a fork: a child is to get nothing before it has handlers of its own."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


def unblock() -> None:
    """After it, in both."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def forget() -> None:
    """In a child: what is the supervisor's matters here no more."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
