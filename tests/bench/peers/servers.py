"""The table of FTP servers, their configurations and commands, and a minimal client.

To add a server, add an entry to `kinds`. The pictures of tests/pictures use the same table.
"""

import functools
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from typing import Callable, NamedTuple, Optional

TOP = pathlib.Path(__file__).resolve().parents[3]
# `.ci/run` unpacks servers whose packages conflict into target/peers; Debian installs others in /usr/sbin.
for folder in (TOP / "target/peers/usr/sbin", TOP / "target/peers/usr/bin", pathlib.Path("/usr/sbin")):
    os.environ["PATH"] += f":{folder}"

# Where servers listen by default.
HOST = "127.0.0.1"
# A hash of "pass" by the cheapest method: logins are compared, not the computation of hashes.
CHEAP_HASH = "abccBcrPOxnLU"


class Kind(NamedTuple):
    """A server that may be installed."""

    name: str
    # None if it is not installed.
    program: Optional[str]
    # Turns a Server into the words of its command.
    command: Callable
    user: str = "user"
    password: str = "pass"

    def is_installed(self):
        return bool(self.program) and os.path.exists(self.program)


class Session:
    """A session of a minimal client."""

    def __init__(self, port, tls=False, host=HOST):
        self.host = host
        self.socket = socket.create_connection((host, port), timeout=20)
        self.lines = self.socket.makefile("rb")
        self.reply()
        self.tls = None
        if tls:
            # The default context loads the certificates of authorities, which takes 20 ms.
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE
            self.say("AUTH TLS")
            self.socket = self.tls.wrap_socket(self.socket)
            self.lines = self.socket.makefile("rb")

    def reply(self):
        """Returns the last line of the next reply; "" at the end of the connection."""
        while True:
            line = self.lines.readline()
            if not line or line[3:4] == b" " and line[:3].isdigit():
                return line.decode("latin-1").strip()

    def say(self, line):
        self.socket.sendall(line.encode() + b"\r\n")
        return self.reply()

    def expect(self, line, code):
        """Sends a line and returns its reply, which must begin with these digits."""
        said = self.say(line)
        if not said.startswith(code):
            raise OSError(f"{line}: {said or 'closed'}")
        return said

    def login(self, user, password):
        self.expect(f"USER {user}", "331")
        self.expect(f"PASS {password}", "230")

    def protect(self):
        """Turns TLS on for data connections."""
        self.expect("PBSZ 0", "200")
        self.expect("PROT P", "200")

    def begin(self, command):
        """Returns a data connection over which a command transfers bytes."""
        port = int(self.expect("EPSV", "229").split("|")[3])
        data = socket.create_connection((self.host, port), timeout=20)
        self.expect(command, "1")
        return self.tls.wrap_socket(data, session=self.socket.session) if self.tls else data

    def close(self):
        self.lines.close()
        self.socket.close()


def free_port():
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return listener.getsockname()[1]


class Server:
    """A configured server with a shared directory or its own one; `with` runs it."""

    def __init__(self, kind, root=None, tls=True, host=HOST):
        self.name, self.user, self.password, self.host = kind.name, kind.user, kind.password, host
        self.kind, self.tls, self.port = kind, tls, free_port()
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="ftp-server-"))
        self.place.chmod(0o755)
        self.root = root or self.place / "root"
        if not root:
            self.root.mkdir()
            # Pure-FTPd runs as the user nobody.
            self.root.chmod(0o777)
        if tls:
            make_certificate(self.place)
        self.command, self.process = kind.command(self), None

    @property
    def pid(self):
        return self.process.pid

    def __enter__(self):
        with open(self.place / "log", "wb") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(100):
            try:
                Session(self.port, host=self.host).close()
                return self
            except OSError:
                time.sleep(0.1)
        log = (self.place / "log").read_text(errors="replace")
        self.__exit__()
        raise OSError(f"{self.name} does not start: {log}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.remove()

    def remove(self):
        """Removes the configuration, and the directory if it is the server's own."""
        shutil.rmtree(self.place, ignore_errors=True)

    def session(self, tls=False):
        """Returns a logged-in session."""
        session = Session(self.port, tls, self.host)
        session.login(self.user, self.password)
        return session


def make_certificate(place):
    """Creates cert.pem, key.pem, and both.pem, which contains both."""
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
        " -keyout key.pem -out cert.pem && cat cert.pem key.pem >both.pem && chmod 600 *.pem",
        shell=True,
        cwd=place,
        check=True,
        stderr=subprocess.DEVNULL,
    )


def ours(*more):
    def command(server):
        listen = ["--listen", f"{server.host}:{server.port}", "--user", f"{server.user}:{server.password}", "--write"]
        tls = ["--tls-cert", str(server.place / "cert.pem"), "--tls-key", str(server.place / "key.pem")]
        return [server.kind.program, "serve", *listen, *(tls if server.tls else []), *more, str(server.root)]

    return command


def vsftpd(*more):
    def command(server):
        path = server.place / "vsftpd.conf"
        tls = (
            "ssl_enable=YES\nallow_anon_ssl=YES\nssl_ciphers=HIGH\nrequire_ssl_reuse=NO\n"
            f"rsa_cert_file={server.place}/cert.pem\nrsa_private_key_file={server.place}/key.pem\n"
        )
        path.write_text(
            f"listen=YES\nbackground=NO\nlisten_address={server.host}\nlisten_port={server.port}\n"
            "run_as_launching_user=YES\nseccomp_sandbox=NO\nxferlog_enable=NO\nanonymous_enable=YES\nlocal_enable=NO\n"
            f"anon_root={server.root}\nanon_umask=022\nanon_world_readable_only=NO\nallow_writeable_chroot=YES\n"
            "write_enable=YES\nanon_upload_enable=YES\nanon_other_write_enable=YES\n"
            "ascii_download_enable=YES\nmax_clients=0\nmax_per_ip=0\n" + (tls if server.tls else "") + "".join(more)
        )
        path.chmod(0o600)
        return [server.kind.program, str(path)]

    return command


def proftpd(*more):
    def command(server):
        passwd = server.place / "passwd"
        passwd.write_text(f"user:{CHEAP_HASH}:0:0::{server.root}:/bin/sh\n")
        passwd.chmod(0o600)
        modules = pathlib.Path(server.kind.program).parent.parent / "lib/proftpd"
        tls = (
            f"ModulePath {modules}\nLoadModule mod_tls.c\nTLSEngine on\nTLSRequired off\nTLSVerifyClient off\n"
            f"TLSECCertificateFile {server.place}/cert.pem\nTLSECCertificateKeyFile {server.place}/key.pem\n"
            "TLSProtocol TLSv1.2 TLSv1.3\nTLSOptions NoSessionReuseRequired\n"
        )
        config = server.place / "proftpd.conf"
        config.write_text(
            f"ServerType standalone\nDefaultAddress {server.host}\nPort {server.port}\n"
            "SocketBindTight on\nUseIPv6 off\n"
            "User root\nGroup root\nRootLogin on\nAuthOrder mod_auth_file.c\nUseFtpUsers off\nRequireValidShell off\n"
            f"AuthUserFile {passwd}\nPidFile {server.place}/pid\nScoreboardFile {server.place}/scoreboard\n"
            "DelayEngine off\nWtmpLog off\nSystemLog none\nTransferLog none\nUseReverseDNS off\nAllowOverwrite on\n"
            + (tls if server.tls else "")
            + "".join(more)
        )
        return [server.kind.program, "--nodaemon", "--config", str(config)]

    return command


def pure_ftpd(*more):
    def command(server):
        home = f"{server.root}/./"
        (server.place / "passwd").write_text(f"user:{CHEAP_HASH}:65534:65534::{home}::::::::::::\n")
        database = server.place / "passwd.pdb"
        subprocess.run(["pure-pw", "mkdb", str(database), "-f", str(server.place / "passwd")], check=True)
        return [
            server.kind.program,
            *("--bind", f"{server.host},{server.port}", "--login", f"puredb:{database}", "--noanonymous"),
            *("--chrooteveryone", "--dontresolve", "--syslogfacility", "none", "--pidfile", str(server.place / "pid")),
            *("--maxclientsnumber", "1000", "--limitrecursion", "20000:8"),
            *(("--tls=1", f"--certfile={server.place}/both.pem") if server.tls else ()),
            *more,
        ]

    return command


def pyftpdlib(server):
    script = TOP / "tests/src/peer/pyftpdlib_serve.py"
    tls = [str(server.place / "both.pem"), "explicit", "both"] if server.tls else []
    return [server.kind.program, str(script), server.host, str(server.port), str(server.root), *tls]


def libunftp(server):
    tls = [str(server.place / "cert.pem"), str(server.place / "key.pem")] if server.tls else []
    return [server.kind.program, f"{server.host}:{server.port}", str(server.root), *tls]


@functools.cache
def python_with(modules):
    """Returns a Python in PATH that has these modules; None if there is none."""
    for directory in os.environ["PATH"].split(":"):
        program = os.path.join(directory, "python3")
        if os.access(program, os.X_OK):
            if not subprocess.run([program, "-c", f"import {modules}"], stderr=subprocess.DEVNULL).returncode:
                return program
    return None


def kinds(program, *settings):
    """Returns all servers, ours first: it runs `program` with `settings` as additional arguments."""
    unftp = TOP / "tests/bench/target/release/libunftp-serve"
    return [
        Kind("ftp-cli serve", program, ours(*settings)),
        Kind("vsftpd", shutil.which("vsftpd"), vsftpd(), "anonymous", "a@b.c"),
        Kind("ProFTPD", shutil.which("proftpd"), proftpd()),
        Kind("Pure-FTPd", shutil.which("pure-ftpd"), pure_ftpd()),
        Kind("pyftpdlib", python_with("OpenSSL, pyftpdlib.handlers"), pyftpdlib, password="pass word"),
        Kind("libunftp", str(unftp), libunftp),
    ]
