"""A gateway: our server in front of another one, with a proxy between them that breaks transfers and changes what they say."""

import contextlib
import pathlib
from typing import Iterator, Optional

import peers
from place import HOST
from proxy import LISTINGS, Plan, Proxy, Struck
from server import hashed

# The names of gateways begin with it. The name of the other server follows.
TO = "gateway to "

CONFIGURATION = """
[listen]
addresses = ["{server.host}:{server.port}"]

[users.{server.user}]
password = "{hash}"
root = "store:other"
rights = "full"

[stores.other]
url = "ftp://{other.user}@{host}:{port}"
password_file = "{server.place}/password"
timeout = "3 s"

[timeouts]
idle = "15 s"
stall = "3 s"
data_connect = "5 s"

[limits]
per_address = 0
ban_after = 0
"""


class Between(Proxy):
    """The proxy between a gateway and the other server. It stays for many actions."""

    def begin(self, plan: Plan, dialogues: list) -> None:
        """Begins an action."""
        self.plan, self.switches, self.struck, self._turns = plan, dialogues, None, 0

    def fault(self) -> Optional[Struck]:
        """Returns the fault that happened. A gateway notices it, unless a listing ends early and in order."""
        if self.struck and self.struck.verb not in LISTINGS:
            return self.struck._replace(kind=f"{self.struck.kind} beyond the gateway")
        return self.struck


def kinds(others: list[peers.Kind]) -> list[peers.Kind]:
    """Returns the gateways to these servers. `running` starts one."""
    return [kind._replace(name=TO + kind.name) for kind in others]


@contextlib.contextmanager
def running(
    program: str, password: str, kind: peers.Kind, root: Optional[pathlib.Path], host: str
) -> Iterator[tuple[peers.Server, Between]]:
    """Runs another server and a gateway to it, which serves the same files."""
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(peers.Server(kind, root, tls=False))
        between = stack.enter_context(Between(other.port, Plan(), root=other.root))

        def command(server: peers.Server) -> list[str]:
            secret, written = server.place / "password", server.place / "gateway.toml"
            secret.write_text(other.password)
            secret.chmod(0o600)
            facts = {"server": server, "other": other, "hash": hashed(password), "host": HOST, "port": between.port}
            written.write_text(CONFIGURATION.format(**facts))
            return [program, "serve", "--config", str(written)]

        front = peers.Kind(kind.name, program, command, password=password)
        yield stack.enter_context(peers.Server(front, other.root, tls=False, host=host)), between
