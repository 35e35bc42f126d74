"""The rows of the benchmark: what is measured, how, and the goal. To add a row, add an entry here.

`bound` is the maximum that `--bounds`, and so `.ci/run`, allows our server. It is a little more than the
current count, because the number of calls also depends on the speed of the other side. When the count falls,
lower the bound. The tests `footprint` have the bounds for the memory of a session, and the tests `calls` and
`flights` those for the client.
"""

from typing import Callable, NamedTuple, Optional

import alone
import measures


class Row(NamedTuple):
    name: str
    what: str
    unit: str
    measure: Callable
    # The name of the row's figure among those that `measure` returns.
    figure: str
    better: str
    # The goal: for the median of the ratios to the best peer, or for our own figure.
    ratio: Optional[float] = None
    value: Optional[float] = None
    bound: Optional[float] = None
    # Measures the same figure for plain loopback, without a server.
    ceiling: Optional[Callable] = None
    # Whether to measure once, before the rounds: counts and memory hardly change from round to round.
    once: bool = False

    @property
    def goal(self):
        return self.value if self.ratio is None else self.ratio


def lower(name, what, unit, measure, figure, **more):
    return Row(name, what, unit, measure, figure, "lower", **more)


def higher(name, what, unit, measure, figure, **more):
    return Row(name, what, unit, measure, figure, "higher", **more)


def count(name, what, measure, value, bound=None, figure="calls"):
    """Returns a row for a count. Its goal is a number, independent of peers."""
    return lower(name, what, figure, measure, figure, value=value, bound=bound, once=True)


def growth(name, what, unit, measure, **more):
    """Returns a row for the cost of a unit at 100 times the size, divided by its cost at the size itself."""
    return lower(name, what, unit, measure, "growth", value=1.1, **more)


RETR, DISCARD, STOR = measures.bulk("copy"), measures.bulk("discard"), measures.bulk("store")
ASCII = measures.bulk("text", "text")
TLS_RETR, TLS_STOR = measures.tls_bulk("RETR"), measures.tls_bulk("STOR")
SMALL_RETR, LOGIN = measures.rate("copy:small"), measures.rate("login")
COPIED, DISCARDED, WRITTEN = (measures.ceiling(sink) for sink in ("copy", "discard", "write"))

SERVERS = [
    higher("retr", "RETR 1 GiB, copying sink", "MB/s", RETR, "speed", ratio=1.0, ceiling=COPIED),
    higher("retr-discard", "RETR 1 GiB, discarding sink", "MB/s", DISCARD, "speed", ratio=1.0, ceiling=DISCARDED),
    lower("retr-cpu", "RETR, server and client", "CPU s/GiB", RETR, "both", ratio=1.0, ceiling=COPIED),
    count("retr-calls", "login and RETR 1 GiB", measures.bulk_calls("copy"), 110, 700),
    higher("stor", "STOR 1 GiB", "MB/s", STOR, "speed", ratio=0.98, ceiling=WRITTEN),
    lower("stor-cpu", "STOR, server and client", "CPU s/GiB", STOR, "both", ratio=1.02, ceiling=WRITTEN),
    count("stor-calls", "login and STOR 1 GiB", measures.bulk_calls("store"), 4_500, 5_000),
    count("small-retr-calls", "RETR 1 KiB", measures.calls("copy:small"), 17, 20),
    count("small-stor-calls", "STOR 1 KiB", measures.calls("store"), 23, 40),
    count("noop-calls", "NOOP", measures.calls("noop", 20, 1_020), 2, 2.2),
    higher("small-retr", "RETR 1 KiB", "per s", SMALL_RETR, "rate", ratio=1.1),
    lower("small-retr-cpu", "RETR 1 KiB, server", "CPU µs", SMALL_RETR, "cpu", ratio=0.8),
    higher("login", "login and QUIT", "per s", LOGIN, "rate", ratio=1.0),
    lower("login-cpu", "login and QUIT, server", "CPU µs", LOGIN, "cpu", ratio=1.0),
    count("login-calls", "login and QUIT", measures.calls("login", 10, 60), 30, 42),
    lower("list", "LIST of 10,000", "ms", measures.listing("LIST"), "ms", ratio=0.75),
    lower("mlsd", "MLSD of 10,000", "ms", measures.listing("MLSD"), "ms", ratio=0.85),
    lower("nlst", "NLST of 10,000", "ms", measures.listing("NLST"), "ms", ratio=1.0),
    count("list-calls", "LIST of 10,000", measures.listing_calls("LIST"), 10_050, 10_300),
    count("mlsd-calls", "MLSD of 10,000", measures.listing_calls("MLSD"), 10_050, 10_300),
    count("nlst-calls", "NLST of 10,000", measures.listing_calls("NLST"), 32, 100),
    lower("ascii-cpu", "RETR in ASCII, server", "CPU s/GiB", ASCII, "server", ratio=0.7),
    lower("crowd", "200 clients at once", "s", measures.crowd, "seconds", ratio=0.6),
    lower("crowd-login", "200 clients at once: login, p99", "ms", measures.crowd, "login", ratio=0.4),
    higher("tls-retr", "RETR under TLS", "MB/s", TLS_RETR, "speed", ratio=0.9),
    lower("tls-retr-cpu", "RETR under TLS, server", "CPU s/GiB", TLS_RETR, "cpu", ratio=0.5),
    higher("tls-stor", "STOR under TLS", "MB/s", TLS_STOR, "speed", ratio=0.9),
    lower("tls-stor-cpu", "STOR under TLS, server", "CPU s/GiB", TLS_STOR, "cpu", ratio=0.65),
    lower("tls-login-cpu", "login under TLS, server", "CPU ms", measures.tls_login, "cpu", ratio=1.0),
    lower("idle", "an idle session", "KiB", measures.idle(False), "kib", value=28, once=True),
    lower("idle-tls", "an idle session under TLS", "KiB", measures.idle(True), "kib", value=38, once=True),
    lower("start", "exec to 220", "ms", measures.start, "ms", ratio=1.0),
]

CLIENTS = [
    lower("get-small", "get of 1 KiB", "ms", measures.get_small, "ms", ratio=0.9),
    count("get-small-calls", "get of 1 KiB", measures.get_small_calls, 100),
    higher("get", "get of 1 GiB", "MB/s", measures.get_large, "speed", ratio=1.15, ceiling=WRITTEN),
    lower("get-cpu", "get of 1 GiB", "CPU s/GiB", measures.get_large, "cpu", ratio=0.8),
    count("get-calls", "get of 1 GiB", measures.get_large_calls, 5_000),
    higher("put", "put of 1 GiB", "MB/s", measures.put_large, "speed", ratio=1.0, ceiling=WRITTEN),
    lower("put-cpu", "put of 1 GiB", "CPU s/GiB", measures.put_large, "cpu", ratio=1.0),
    count("put-calls", "put of 1 GiB", measures.put_large_calls, 343),
    higher("mirror", "mirror of 1,000 files of 1 KiB", "files/s", measures.mirror, "rate", ratio=1.0),
    higher("mirror-4", "mirror -j 4, gain over one connection", "times", measures.mirror, "gain", value=2.5),
    count("mirror-flights", "mirror with --pipeline, a file", measures.flights, 1.0, figure="flights"),
    lower("ls", "ls -l of 10,000", "ms", measures.list_many, "ms", ratio=0.4),
]

GROWTH = [
    growth("growth-session", "an idle session of 10, 100 and 1,000", "KiB", alone.growth_of_sessions, once=True),
    growth("growth-entry", "an entry of an MLSD of 1,000, 10,000 and 100,000", "µs", alone.growth_of_entries),
    growth("growth-retr", "RETR of 10 MiB, 100 MiB and 1 GiB, server", "CPU s/GiB", alone.growth_of_bytes("copy")),
    growth("growth-stor", "STOR of 10 MiB, 100 MiB and 1 GiB, server", "CPU s/GiB", alone.growth_of_bytes("store")),
]

DISK = [lower("sync", "STOR of 256 MiB with sync, last byte to 226", "ms", alone.sync, "ms", ratio=0.1)]
