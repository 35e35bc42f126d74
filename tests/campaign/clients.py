"""The clients of a campaign, with a command line for each order; None if a client cannot carry out an order."""

import os
import pathlib
import shutil
import subprocess
import sys
import urllib.parse
from typing import NamedTuple, Optional

from place import CONTROL, HOST, IMPLICIT

# Timeouts of all clients, in seconds: for connecting, for a reply, and without progress.
CONNECT, REPLY, STALL = 8, 12, 10


class Connection(NamedTuple):
    """How a client reaches a server."""

    address: str
    user: str
    password: str
    # plain, explicit or implicit.
    security: str = "plain"
    active: bool = False
    authority: str = ""
    port: int = CONTROL
    host: str = HOST

    @property
    def is_tls(self) -> bool:
        return self.security != "plain"


class Order(NamedTuple):
    """An order for a client: get, put, append, resume, continue, rename, delete, list, mkdir or rmdir."""

    verb: str
    # The absolute path on the server.
    path: str
    # The new path of a rename.
    to: str = ""
    local: str = ""
    # Bytes per second.
    rate: int = 0


class Command(NamedTuple):
    """A program with its arguments and additions to its environment."""

    words: list[str]
    environment: dict[str, str] = {}


def quoted(path: str) -> str:
    return urllib.parse.quote(path, safe="/")


class Ours:
    """The client of this project."""

    name = "ours"
    VERBS = {
        "get": ["get"], "resume": ["get", "-c"], "put": ["put"], "append": ["put", "--append"],
        "continue": ["put", "-c"], "rename": ["mv"], "delete": ["rm"], "list": ["ls", "-a"],
        "mkdir": ["mkdir"], "rmdir": ["rmdir"],
    }  # fmt: skip
    TRANSFERS = ("get", "resume", "put", "append", "continue")

    def __init__(self, program: str) -> None:
        self.program = program

    def is_installed(self) -> bool:
        return os.path.exists(self.program)

    def options(self, connection: Connection) -> list[str]:
        options = ["-u", connection.user, "--bind", connection.address, "--no-netrc"]
        options += ["--connect-timeout", str(CONNECT), "--reply-timeout", str(REPLY), "--stall-timeout", str(STALL)]
        options += ["--final-timeout", "20"]
        options += ["--active"] * connection.active
        return options + (["--ca-file", connection.authority] if connection.is_tls else [])

    def url(self, connection: Connection, path: str) -> str:
        scheme = {"plain": "ftp", "explicit": "ftpes", "implicit": "ftps"}[connection.security]
        port = IMPLICIT if connection.security == "implicit" else connection.port
        return f"{scheme}://{connection.host}:{port}{quoted(path)}"

    def command(self, connection: Connection, order: Order) -> Command:
        url = self.url(connection, order.path)
        words = [self.program, *self.VERBS[order.verb], *self.options(connection)]
        if order.rate and order.verb in self.TRANSFERS:
            words += ["--limit-rate", str(order.rate)]
        if order.verb in ("get", "resume"):
            words += [url, order.local]
        elif order.verb in ("put", "append", "continue"):
            words += [order.local, url]
        elif order.verb == "rename":
            words += [url, order.to]
        elif order.verb == "list":
            words += ["--raw-names", url + "/"]
        else:
            words += [url]
        return Command(words, {"FTP_PASSWORD": connection.password})


class Curl:
    """curl, with the password as an argument."""

    name = "curl"

    def is_installed(self) -> bool:
        return bool(shutil.which("curl"))

    def command(self, connection: Connection, order: Order) -> Command:
        scheme, port = ("ftps", IMPLICIT) if connection.security == "implicit" else ("ftp", connection.port)
        base = f"{scheme}://{connection.host}:{port}"
        words = ["curl", "-q", "-sS", "--interface", connection.address, "--connect-timeout", str(CONNECT)]
        words += ["--user", f"{connection.user}:{connection.password}", "--max-time", "50"]
        if connection.is_tls:
            words += ["--ssl-reqd", "--cacert", connection.authority]
        # Under TLS, curl 7.88 sometimes fails in active mode: "sa_addr inet_ntop() failed".
        if connection.active and not connection.is_tls:
            words += ["--ftp-port", "-"]
        if order.rate:
            words += ["--limit-rate", str(order.rate)]
        whole = base + quoted(order.path)
        quotes = {
            "rename": [f"RNFR {order.path}", f"RNTO {order.to}"],
            "delete": [f"DELE {order.path}"],
            "mkdir": [f"MKD {order.path}"],
            "rmdir": [f"RMD {order.path}"],
        }
        more = {
            "get": ["-o", order.local, whole],
            "resume": ["-C", "-", "-o", order.local, whole],
            "put": ["-T", order.local, whole],
            "append": ["-a", "-T", order.local, whole],
            "continue": ["-C", "-", "-T", order.local, whole],
            "list": ["--list-only", whole + "/"],
        }
        if order.verb in quotes:
            return Command(words + [f"-Q{line}" for line in quotes[order.verb]] + ["-I", base + "/"])
        return Command(words + more[order.verb])


class Lftp:
    """lftp, which tries each command once."""

    name = "lftp"

    def is_installed(self) -> bool:
        return bool(shutil.which("lftp"))

    def command(self, connection: Connection, order: Order) -> Optional[Command]:
        def word(text: str) -> str:
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

        path, local = word(order.path), word(order.local)
        commands = {
            "get": f"get {path} -o {local}",
            "resume": f"get -c {path} -o {local}",
            "put": f"put {local} -o {path}",
            "continue": f"put -c {local} -o {path}",
            "rename": f"mv {path} {word(order.to)}",
            "delete": f"rm {path}",
            "list": f"nlist {word(order.path + '/')}",
            "mkdir": f"mkdir {path}",
            "rmdir": f"rmdir {path}",
        }
        if order.verb not in commands:
            return None
        scheme, port = ("ftps", IMPLICIT) if connection.security == "implicit" else ("ftp", connection.port)
        settings = {
            "cmd:fail-exit": "yes", "net:max-retries": "1", "net:timeout": str(REPLY), "net:persist-retries": "0",
            "net:socket-bind-ipv4": connection.address, "xfer:clobber": "yes", "xfer:log": "no", "ftp:use-mdtm": "no",
            "ftp:passive-mode": "no" if connection.active else "yes", "net:limit-rate": str(order.rate),
            "ftp:ssl-allow": "yes" if connection.is_tls else "no", "ftp:ssl-protect-data": "yes",
            "ftp:ssl-force": "yes" if connection.is_tls else "no", "xfer:use-temp-file": "no",
        }  # fmt: skip
        if connection.is_tls:
            settings["ssl:ca-file"] = word(connection.authority)
            # GnuTLS does not compare addresses with the certificate.
            settings["ssl:check-hostname"] = "no"
        script = "".join(f"set {name} {value}; " for name, value in settings.items())
        login = f"{word(connection.user)},{word(connection.password)}"
        script += f"open -u {login} {scheme}://{connection.host}:{port}; {commands[order.verb]}"
        return Command(["lftp", "--norc", "-c", script])


class Ftplib:
    """Python's ftplib, in a separate program so that it can be killed."""

    name = "ftplib"

    def is_installed(self) -> bool:
        return True

    def command(self, connection: Connection, order: Order) -> Optional[Command]:
        if connection.security == "implicit":
            return None
        script = pathlib.Path(__file__).with_name("ftplib_client.py")
        words = [sys.executable, "-B", str(script), connection.host, str(connection.port), connection.address, connection.user]
        words += [connection.authority if connection.is_tls else "", "active" if connection.active else "passive"]
        words += [order.verb, order.path, order.to, order.local, str(order.rate)]
        return Command(words, {"FTP_PASSWORD": connection.password})


class Rclone:
    """rclone, which tries each transfer once, and removes incomplete uploads. Only without TLS."""

    name = "rclone"

    def is_installed(self) -> bool:
        return bool(shutil.which("rclone"))

    def command(self, connection: Connection, order: Order) -> Optional[Command]:
        def remote(path: str) -> str:
            return f"there:{path}"

        words = {
            "get": ["copyto", remote(order.path), order.local],
            "put": ["copyto", order.local, remote(order.path)],
            "rename": ["moveto", remote(order.path), remote(order.to)],
            "delete": ["deletefile", remote(order.path)],
        }
        if order.verb not in words or connection.is_tls or connection.active:
            return None
        hidden = subprocess.run(["rclone", "obscure", "-"], input=connection.password, capture_output=True, text=True)
        settings = {"TYPE": "ftp", "HOST": connection.host, "PORT": str(connection.port), "USER": connection.user}
        settings |= {"PASS": hidden.stdout.strip(), "DISABLE_TLS13": "false"}
        environment = {f"RCLONE_CONFIG_THERE_{name}": value for name, value in settings.items()}
        options = ["--config", "/dev/null", "--retries", "1", "--low-level-retries", "1", "--timeout", "10s"]
        options += ["--contimeout", "8s", "--ignore-times"]
        return Command(["rclone", *options, *words[order.verb]], environment)


Client = Ours | Curl | Lftp | Ftplib
CLIENTS = ("ours", "curl", "lftp", "ftplib")


def all_clients(program: str) -> list[Client]:
    """Returns the installed clients, ours first."""
    return [client for client in (Ours(program), Curl(), Lftp(), Ftplib()) if client.is_installed()]
