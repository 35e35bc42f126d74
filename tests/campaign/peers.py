"""Servers in addition to those of tests/bench/peers: GNU inetutils and BusyBox, started for each connection."""

import json
import os
import pathlib
import shutil
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.realpath(__file__)), "../bench/peers"))
import servers  # noqa: E402

Server, Kind = servers.Server, servers.Kind


def busybox(server: Server) -> list[str]:
    serve = ["busybox-ftpd", "tcpsvd", server.host, str(server.port)]
    return [*serve, server.kind.program, "ftpd", "-w", "-A", str(server.root)]


def inetutils(server: Server) -> list[str]:
    """Runs the server with a separate /etc/passwd, because its users are those of the machine."""
    passwd = server.place / "passwd"
    user = f"user:{servers.CHEAP_HASH}:0:0::{server.root}:/bin/sh\n"
    passwd.write_text(f"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n{user}")
    passwd.chmod(0o600)
    serve = f"exec busybox-ftpd tcpsvd {server.host} {server.port} {server.kind.program} --auth=default"
    script = f"mount --bind {passwd} /etc/passwd && {serve}"
    return ["unshare", "--mount", "--", "sh", "-c", script]


def ours(program: str, password: str, *more: str, prefix: tuple[str, ...] = ()) -> Kind:
    """Returns our server, with short timeouts. Its command begins with `prefix`."""
    short = ["timeouts.idle=15 s", "timeouts.stall=3 s", "timeouts.data_connect=5 s", *more]
    words = [word for setting in short for word in ("--set", setting)]
    plain = servers.ours(*words)
    return Kind("ours", program, lambda server: [*prefix, *plain(server)], password=password)


def world(**switches) -> Kind:
    """Returns a server whose names, commands and replies are as these switches of world_server.py say."""
    script = pathlib.Path(__file__).with_name("world_server.py")

    def command(server: Server) -> list[str]:
        return [server.kind.program, str(script), server.host, str(server.port), str(server.root), json.dumps(switches)]

    return Kind("world", servers.python_with("pyftpdlib.handlers"), command, password="pass word")


def all_servers(program: str, password: str) -> list[Kind]:
    """Returns the installed servers, ours first."""
    others = [kind for kind in servers.kinds(program) if kind.name not in ("ftp-cli serve", "libunftp")]
    kinds = [
        ours(program, password),
        *others,
        Kind("inetutils", shutil.which("inetutils-ftpd"), inetutils),
        Kind("BusyBox", shutil.which("busybox-ftpd"), busybox),
    ]
    return [kind for kind in kinds if kind.is_installed()]
