"""A Debian with systemd, which the walks change and look at."""

import contextlib
import ftplib
import io
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import threading
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
DOCS = REPOSITORY / "docs"
ROOT = pathlib.Path(sys.argv[1])
CONFIGURATION = ROOT / "etc/ftp-cli/server.toml"
DROP_IN = "etc/systemd/system/ftp-cli.service.d/walk.conf"
LONGEST = 60
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def at_last(holds, what, seconds=LONGEST):
    """Waits until something holds, and returns it."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.05)
    return found


class Debian:
    """A container with systemd as its first process."""

    # The hash of the password of all users, "secret".
    hash = ""

    def boot(self):
        self.log = open(ROOT.parent / "console", "w+", encoding="utf-8")
        # The filter of a container knows no Landlock. Without systemd on the host, nothing registers the container.
        command = ["systemd-nspawn", "--quiet", "--boot", f"--directory={ROOT}", "--console=pipe", "--register=no"]
        command += ["--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self"]
        command += ["--keep-unit"] * (not os.path.isdir("/run/systemd/system"))
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        at_last(self.is_up, self.said)

    def said(self):
        return (ROOT.parent / "console").read_text(encoding="utf-8")

    def is_up(self):
        assert self.process.poll() is None, self.said()
        # Its first child is another process at first.
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        if not children:
            return False
        self.first = children[0]
        ran = self.run("systemctl", "is-system-running", check=False)
        return ran.stdout.strip() in ("running", "degraded")

    def run(self, *command, check=True, **options):
        """Runs a command in the Debian."""
        enter = ["nsenter", "--target", self.first, "--mount", "--uts", "--ipc", "--pid", "--root", "--wd", "--"]
        environment = {"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        environment["SSL_CERT_FILE"] = "/root/ca.pem"
        ran = subprocess.run([*enter, *command], env=environment, text=True, capture_output=True, check=False, **options)
        assert not check or ran.returncode == 0, f"{command}: {ran.returncode}\n{ran.stdout}{ran.stderr}{self.late()}"
        return ran

    def late(self):
        """Returns the last lines of the journal."""
        return self.run("journalctl", "--no-pager", "--lines=15", check=False).stdout

    def show(self, name, unit="ftp-cli"):
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).stdout.strip()

    def journal(self, cursor, *options):
        """Returns the lines of the units since the cursor, each with its priority."""
        self.run("journalctl", "--sync", check=False)
        lines = self.run("journalctl", "--output=json", f"--after-cursor={cursor}", *options).stdout.splitlines()
        for line in map(json.loads, lines):
            unit = line.get("UNIT") or line.get("_SYSTEMD_UNIT") or ""
            message = line.get("MESSAGE")
            if unit.startswith("ftp-cli") and message:
                yield int(line["PRIORITY"]), message if isinstance(message, str) else bytes(message).decode(errors="replace")

    def cursor(self):
        said = self.run("journalctl", "--lines=0", "--show-cursor").stdout
        return said.rpartition("cursor: ")[2].strip()

    def power_off(self):
        self.run("systemctl", "poweroff", check=False)
        assert self.process.wait(LONGEST) == 0, self.said()


debian = Debian()
steps = []

# Most configurations of the walks have no TLS, and say so.
PLAINTEXT = "warning: clients can send passwords unencrypted to "


@contextlib.contextmanager
def step(name, *provoked, is_judged=True):
    """A step, whose lines in the journal at priority warning or worse are exactly those that `provoked` describes, unless
    all of it is about failures."""
    began, cursor = time.monotonic(), debian.cursor()
    yield cursor
    bad = [line for priority, line in debian.journal(cursor) if priority <= 4 and is_judged and not line.startswith(PLAINTEXT)]
    unexpected = [line for line in bad if not any(re.search(one, line) for one in provoked)]
    assert not unexpected, f"{name}: in the journal: {unexpected}"
    missing = [one for one in provoked if not any(re.search(one, line) for line in bad)]
    assert not missing, f"{name}: not in the journal: {missing}, but {bad}"
    steps.append((time.monotonic() - began, name))
    print(f"boot: {steps[-1][0]:6.1f} s  {name}", flush=True)


def logged(cursor, text):
    """Waits for a line in the journal."""
    lines = lambda: [line for _, line in debian.journal(cursor) if re.search(text, line)]
    return at_last(lines, lambda: f"no line {text!r} in the journal:\n{debian.late()}")[0]


# The documents.

def blocks(page):
    """Returns the blocks of code of a page of the documents: what is said after the quotes, and the text."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"(?ms)^```(\w+[^\n]*)\n(.*?)^```$", text)


def file_of(page, path):
    """Returns the file that a page lets the reader write."""
    [text, *_] = [text for info, text in blocks(page) if info.endswith(f" {path}")]
    return text


def shell(page, contains, **options):
    """Runs a block of commands of a page as root."""
    [text] = [text for info, text in blocks(page) if info in ("sh", "text") and contains in text]
    text = re.sub(r"(?m)^.*# without the package$", "", text)
    return debian.run("sh", "-euc", f'sudo() {{ "$@"; }}\ncd /root\n{text}', **options)


# Files and settings.

def ids():
    line = re.search(r"(?m)^ftp-cli:x:(\d+):(\d+)", (ROOT / "etc/passwd").read_text())
    return int(line[1]), int(line[2])


def write(path, text, mode=0o644):
    """Writes a file of root, which the group of the server may read if its mode says so."""
    path = ROOT / path.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    if mode == 0o640:
        os.chown(path, 0, ids()[1])


def directory(path, mode=0o755):
    """Makes a directory of the server's user."""
    debian.run("install", "-d", "-o", "ftp-cli", "-g", "ftp-cli", "-m", f"{mode:o}", path)


BASE = """
[listen]
addresses = [":21"]
[passive]
ports = "30000-30099"
[users.anna]
password = "HASH"
root = "/srv/anna"
rights = "full"
"""


def configure(more="", base=BASE):
    """Writes the configuration: keys without a table in `more` are those of anna."""
    write("/etc/ftp-cli/server.toml", (base + more).replace('"HASH"', f'"{debian.hash}"'), 0o640)


def drop_in(text):
    """Writes a drop-in of the unit, or removes it."""
    path = ROOT / DROP_IN
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[Service]\n{text}\n") if text else path.unlink(missing_ok=True)
    debian.run("systemctl", "daemon-reload")


def check():
    return debian.run("ftp-cli", "serve", "--config", "/etc/ftp-cli/server.toml", "--check", check=False)


def restart():
    # systemd counts starts, and gives up after five in 10 s.
    debian.run("systemctl", "reset-failed", "ftp-cli", check=False)
    debian.run("systemctl", "restart", "ftp-cli")


def login(user="anna", password="secret", tls=None, port=21):
    if tls is None:
        session = ftplib.FTP(timeout=LONGEST)
        session.connect("127.0.0.1", port)
    else:
        session = ftplib.FTP_TLS(timeout=LONGEST, context=tls)
        session.connect("127.0.0.1", port)
        session.host = "ftp.example.org"
        session.auth()
    session.login(user, password)
    if tls is not None:
        session.prot_p()
    return session


def upload(name, content=b"picture", **how):
    session = login(**how)
    reply = session.storbinary(f"STOR {name}", io.BytesIO(content))
    session.quit()
    assert reply.startswith("226"), reply


def authority():
    """Makes an authority that the programs in the Debian trust."""
    debian.run(*"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=Authority".split(),
               "-keyout", "/root/ca.key", "-out", "/root/ca.pem")


LINEAGE = "/etc/letsencrypt/live/ftp.example.org"


def renew():
    """Does what certbot does: writes a new certificate that only root can read, and runs the hook."""
    debian.run("install", "-d", "-m", "700", LINEAGE)
    debian.run(*"openssl req -x509 -CA /root/ca.pem -CAkey /root/ca.key -newkey ec -pkeyopt ec_paramgen_curve:prime256v1".split(),
               *"-nodes -days 60 -subj /CN=ftp.example.org -addext subjectAltName=DNS:ftp.example.org".split(),
               *"-addext basicConstraints=critical,CA:FALSE".split(),
               "-keyout", f"{LINEAGE}/privkey.pem", "-out", f"{LINEAGE}/fullchain.pem")
    debian.run("sh", "-c", f"cat /root/ca.pem >>{LINEAGE}/fullchain.pem")
    debian.run("env", f"RENEWED_LINEAGE={LINEAGE}", "/etc/letsencrypt/renewal-hooks/deploy/ftp-cli")


def trusting():
    return ssl.create_default_context(cafile=str(ROOT / "root/ca.pem"))


def serial(port=21):
    """Returns the serial number of the certificate that the server shows."""
    if port == 990:
        with socket.create_connection(("127.0.0.1", port), LONGEST) as plain:
            with trusting().wrap_socket(plain, server_hostname="ftp.example.org") as secured:
                return secured.getpeercert()["serialNumber"]
    session = login("anna", tls=trusting())
    found = session.sock.getpeercert()["serialNumber"]
    session.quit()
    return found


class Clients(threading.Thread):
    """Clients that connect one after the other, and wait for the greeting."""

    def __enter__(self):
        self.end, self.greeted, self.failed = threading.Event(), 0, []
        self.start()
        at_last(lambda: self.greeted > 5, lambda: self.failed)
        return self

    def run(self):
        while not self.end.is_set():
            try:
                with socket.create_connection(("127.0.0.1", 21), timeout=LONGEST) as session:
                    greeting = session.recv(200)
                    assert greeting.startswith(b"220 "), greeting
                self.greeted += 1
            except (OSError, AssertionError) as error:
                self.failed.append(repr(error))
            time.sleep(0.05)

    def __exit__(self, kind, *_):
        before = self.greeted
        if kind is None:
            at_last(lambda: self.greeted > before + 5, lambda: self.failed)
        self.end.set()
        self.join(LONGEST)
        assert kind or not self.failed, self.failed


class Upload(threading.Thread):
    """A transfer that lasts until a second after `may_end`."""

    def __init__(self):
        super().__init__()
        self.may_end, self.sent, self.left, self.reply = threading.Event(), 0, 10, None
        self.session = login()
        self.start()
        at_last(lambda: self.sent, "nothing was sent")

    def read(self, _size):
        self.left -= self.may_end.is_set()
        time.sleep(0.1)
        self.sent += 1000 * (self.left >= 0)
        return b"x" * 1000 if self.left >= 0 else b""

    def run(self):
        self.reply = self.session.storbinary("STOR long.bin", self)


