"""Breaks transfers of real servers and clients in the middle, and looks at what is left.

    interrupted.py PROGRAM servers|clients

PROGRAM is ftp-cli. Prints a table of tab-separated values: servers (what others find under the
name of a file that a client replaces, while it runs and after it was interrupted), and clients (what
is left of a file that a client replaces, and the exit code). A program that is not installed is left
out. ProFTPD and Pure-FTPd need root. Nothing leaves loopback.
"""

import contextlib
import os
import pathlib
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

PROGRAM = os.path.realpath(sys.argv[1])
OLD, NEW = b"old\n" * 1000, b"new\n" * 250_000
HALF = len(NEW) // 2


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def reset(connection):
    """Ends a connection so that the peer sees a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def content(path):
    """What a reader finds under the name, in one word."""
    if not path.exists():
        return "nothing"
    found = path.read_bytes()
    if found == OLD:
        return "old file"
    if found == NEW:
        return "new file"
    return "partial file"


# Servers: a client replaces a file, and vanishes in the middle.


class Session:
    """A client by hand."""

    def __init__(self, port, tls=False):
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.tls = tls
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.lines = self.socket.makefile("rb")
        self.reply()
        if tls:
            self.say("AUTH TLS")
            self.socket = self.context.wrap_socket(self.socket)
            self.lines = self.socket.makefile("rb")
            self.say("PBSZ 0")
            self.say("PROT P")

    def reply(self):
        while True:
            line = self.lines.readline()
            if not line or line[3:4] == b" " and line[:3].isdigit():
                return line.decode("latin-1").strip()

    def say(self, line):
        self.socket.sendall(line.encode() + b"\r\n")
        return self.reply()

    def upload(self, name):
        """Begins an upload and sends half of it; the data connection."""
        self.say("TYPE I")
        port = int(self.say("EPSV").split("|")[3])
        data = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.say(f"STOR {name}")
        if self.tls:
            data = self.context.wrap_socket(data, session=self.socket.session)
        data.sendall(NEW[:HALF])
        time.sleep(0.5)
        return data


def interrupted(server, fault):
    """What is under the name after a fault, or while the upload runs."""
    path = server.root / "file.bin"
    path.write_bytes(OLD)
    os.chmod(path, 0o666)
    session = Session(server.port, tls=fault == "truncated")
    for line in (f"USER {server.user}", f"PASS {server.password}"):
        session.say(line)
    data = session.upload("file.bin")
    said = ""
    if fault == "killed":
        # The system closes the connections of a killed process in no particular order.
        data.close()
        session.lines.close()
        session.socket.close()
    elif fault == "reset":
        reset(data)
    elif fault == "truncated":
        # TCP ends, and TLS does not say that the file does.
        data.detach_plain()
        said = session.reply()[:3]
    time.sleep(1)
    found = content(path)
    with contextlib.suppress(OSError):
        reset(data)
        session.socket.close()
    time.sleep(0.3)
    return f"{found}, {said}" if said else found


def detach_plain(self):
    """Ends the TCP connection below a TLS connection in good order, without close_notify."""
    descriptor = self.detach()
    with socket.socket(fileno=descriptor) as plain:
        plain.shutdown(socket.SHUT_WR)
        time.sleep(0.2)


ssl.SSLSocket.detach_plain = detach_plain


class Server:
    """A server that runs, over an own directory."""

    def __init__(self, name, command, user="user", password="pass", give_to=None):
        self.name, self.port, self.user, self.password = name, free_port(), user, password
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="pictures-"))
        self.root = self.place / "root"
        self.root.mkdir()
        for path in (self.place, self.root):
            os.chmod(path, 0o777 if path == self.root else 0o755)
        if give_to:
            os.chown(self.root, give_to, give_to)
        openssl(self.place)
        self.process = subprocess.Popen(
            command(self), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(self.place / "log", "wb")
        )

    def __enter__(self):
        for _ in range(100):
            try:
                Session(self.port).socket.close()
                return self
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"{self.name} does not start: {(self.place / 'log').read_text()}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        shutil.rmtree(self.place, ignore_errors=True)


def openssl(place):
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
        " -keyout key.pem -out cert.pem && cat cert.pem key.pem >both.pem && chmod 600 *.pem",
        shell=True,
        cwd=place,
        check=True,
        stderr=subprocess.DEVNULL,
    )


def ours(server):
    tls = ["--tls-cert", str(server.place / "cert.pem"), "--tls-key", str(server.place / "key.pem")]
    listen = ["--listen", f"127.0.0.1:{server.port}"]
    return [PROGRAM, "serve", *listen, *tls, "--user", "user:pass", "--write", str(server.root)]


def vsftpd(*more):
    def command(server):
        path = server.place / "vsftpd.conf"
        path.write_text(
            f"listen=YES\nbackground=NO\nlisten_address=127.0.0.1\nlisten_port={server.port}\n"
            "run_as_launching_user=YES\nseccomp_sandbox=NO\nxferlog_enable=NO\nanonymous_enable=YES\nlocal_enable=NO\n"
            f"anon_root={server.root}\nanon_umask=022\nanon_world_readable_only=NO\nallow_writeable_chroot=YES\n"
            "write_enable=YES\nanon_upload_enable=YES\nanon_other_write_enable=YES\n"
            "ssl_enable=YES\nallow_anon_ssl=YES\nssl_ciphers=HIGH\nrequire_ssl_reuse=NO\n"
            f"rsa_cert_file={server.place}/cert.pem\nrsa_private_key_file={server.place}/key.pem\n" + "".join(more)
        )
        path.chmod(0o600)
        return [shutil.which("vsftpd"), str(path)]

    return command


def proftpd(*more):
    def command(server):
        program = shutil.which("proftpd")
        password = subprocess.run(["openssl", "passwd", "-6", "pass"], capture_output=True, text=True, check=True)
        passwd = server.place / "passwd"
        passwd.write_text(f"user:{password.stdout.strip()}:0:0::{server.root}:/bin/sh\n")
        passwd.chmod(0o600)
        modules = pathlib.Path(program).parent.parent / "lib/proftpd"
        config = server.place / "proftpd.conf"
        config.write_text(
            f"ServerType standalone\nDefaultAddress 127.0.0.1\nPort {server.port}\nSocketBindTight on\nUseIPv6 off\n"
            "User root\nGroup root\nRootLogin on\nAuthOrder mod_auth_file.c\nUseFtpUsers off\nRequireValidShell off\n"
            f"AuthUserFile {passwd}\nPidFile {server.place}/pid\nScoreboardFile {server.place}/scoreboard\n"
            "DelayEngine off\nWtmpLog off\nSystemLog none\nTransferLog none\nUseReverseDNS off\nAllowOverwrite on\n"
            f"ModulePath {modules}\nLoadModule mod_tls.c\nTLSEngine on\nTLSRequired off\nTLSVerifyClient off\n"
            f"TLSECCertificateFile {server.place}/cert.pem\nTLSECCertificateKeyFile {server.place}/key.pem\n"
            "TLSOptions NoSessionReuseRequired\n" + "".join(more)
        )
        return [program, "--nodaemon", "--config", str(config)]

    return command


def pure_ftpd(*more):
    def command(server):
        password = subprocess.run(["openssl", "passwd", "-6", "pass"], capture_output=True, text=True, check=True)
        (server.place / "passwd").write_text(f"user:{password.stdout.strip()}:65534:65534::{server.root}/./::::::::::::\n")
        database = server.place / "passwd.pdb"
        subprocess.run(["pure-pw", "mkdb", str(database), "-f", str(server.place / "passwd")], check=True)
        return [
            shutil.which("pure-ftpd"),
            *("--bind", f"127.0.0.1,{server.port}", "--login", f"puredb:{database}", "--noanonymous"),
            *("--chrooteveryone", "--dontresolve", "--tls=1", f"--certfile={server.place}/both.pem"),
            *("--syslogfacility", "none", "--pidfile", str(server.place / "pid")),
            *more,
        ]

    return command


def pyftpdlib(server):
    script = pathlib.Path(__file__).resolve().parent.parent / "src/peer/pyftpdlib_serve.py"
    arguments = ["127.0.0.1", str(server.port), str(server.root), str(server.place / "both.pem"), "explicit", "both"]
    return [PYTHON, str(script), *arguments]


def python_with(modules):
    for directory in os.environ["PATH"].split(":"):
        program = os.path.join(directory, "python3")
        if os.access(program, os.X_OK):
            if not subprocess.run([program, "-c", f"import {modules}"], stderr=subprocess.DEVNULL).returncode:
                return program
    return None


PYTHON = python_with("OpenSSL, pyftpdlib.handlers")
ANONYMOUS = {"user": "anonymous", "password": "a@b.c"}
NOBODY = {"give_to": 65_534}
SERVERS = [
    ("ftp-cli serve", PROGRAM, ours, {}),
    ("vsftpd", shutil.which("vsftpd"), vsftpd(), ANONYMOUS),
    ("vsftpd, delete_failed_uploads", shutil.which("vsftpd"), vsftpd("delete_failed_uploads=YES\n"), ANONYMOUS),
    ("ProFTPD", shutil.which("proftpd"), proftpd(), {}),
    ("ProFTPD, HiddenStores", shutil.which("proftpd"), proftpd("HiddenStores on\n"), {}),
    ("Pure-FTPd", shutil.which("pure-ftpd"), pure_ftpd(), NOBODY),
    ("Pure-FTPd, --notruncate", shutil.which("pure-ftpd"), pure_ftpd("--notruncate"), NOBODY),
    ("pyftpdlib", PYTHON, pyftpdlib, {"password": "pass word"}),
]


def servers():
    print("server\twhile it runs\tclient killed\tconnection reset\tTLS cut short")
    for name, program, command, more in SERVERS:
        if not program:
            continue
        row = []
        for fault in ("runs", "killed", "reset", "truncated"):
            with Server(name, command, **more) as server:
                row.append(interrupted(server, fault))
        print(name, *row, sep="\t", flush=True)


# Clients: a server breaks a download in the middle.


def serve(listener, fault):
    """A server by hand that sends half of a file, and then does FAULT."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=serve_one, args=(connection, fault), daemon=True).start()


def serve_one(control, fault):
    lines = control.makefile("rb")

    def say(text):
        control.sendall(text.encode() + b"\r\n")

    say("220 ready")
    passive, offset = None, 0
    with contextlib.suppress(OSError):
        for line in lines:
            verb, _, argument = line.decode().strip().partition(" ")
            verb = verb.upper()
            if verb in ("EPSV", "PASV"):
                passive = socket.create_server(("127.0.0.1", 0))
                port = passive.getsockname()[1]
                say(f"229 ok (|||{port}|)" if verb == "EPSV" else f"227 ok (127,0,0,1,{port // 256},{port % 256})")
            elif verb == "RETR":
                data, _ = passive.accept()
                say(f"150 here it comes ({len(NEW)} bytes)")
                data.sendall(NEW[offset : offset + HALF])
                offset = 0
                time.sleep(0.3)
                if fault == "reset":
                    reset(data)
                    reset(control)
                    return
                data.close()
                if fault == "closed":
                    control.close()
                    return
                say("226 done" if fault == "226" else "426 broken")
            elif verb in ("LIST", "NLST"):
                data, _ = passive.accept()
                say("150 here it comes")
                data.sendall(b"-rw-r--r-- 1 a a %d Jan 01 2020 file.bin\r\n" % len(NEW))
                data.close()
                say("226 done")
            elif verb == "REST":
                offset = int(argument)
                say("350 ok")
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                say(
                    {
                        "USER": "331 password",
                        "PASS": "230 in",
                        "SYST": "215 UNIX Type: L8",
                        "PWD": '257 "/"',
                        "TYPE": "200 ok",
                        "CWD": "250 ok",
                        "SIZE": f"213 {len(NEW)}",
                        "MDTM": "213 20200101000000",
                        "NOOP": "200 ok",
                    }.get(verb, "500 unknown")
                )


def clients_of(port):
    url = f"ftp://127.0.0.1:{port}/file.bin"
    lftp = f"set net:max-retries 1; set net:timeout 5; set ftp:ssl-allow no; set xfer:clobber yes; get {url} -o file.bin"
    return [
        ("ftp-cli get", [PROGRAM, "get", url, "file.bin"]),
        ("curl", ["curl", "-sS", "-o", "file.bin", url]),
        ("wget", ["wget", "-q", "--tries=1", "-O", "file.bin", url]),
        ("lftp", ["lftp", "-c", lftp]),
        ("ncftpget", ["ncftpget", "-V", "-r", "1", "-P", str(port), "127.0.0.1", ".", "file.bin"]),
        ("tnftp", ["tnftp", "-o", "file.bin", url]),
    ]


def clients():
    print("client\t426 in the middle\tconnection reset\tconnection closed\tshort file and 226")
    for at, (name, command) in enumerate(clients_of(0)):
        if not shutil.which(command[0]):
            continue
        row = []
        for fault in ("426", "reset", "closed", "226"):
            with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.TemporaryDirectory() as here:
                threading.Thread(target=serve, args=(listener, fault), daemon=True).start()
                path = pathlib.Path(here) / "file.bin"
                path.write_bytes(OLD)
                _, command = clients_of(listener.getsockname()[1])[at]
                try:
                    ran = subprocess.run(
                        command,
                        cwd=here,
                        env={"PATH": os.environ["PATH"], "HOME": here, "LC_ALL": "C.UTF-8"},
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        timeout=40,
                    )
                    code = f"exit {ran.returncode}"
                except subprocess.TimeoutExpired:
                    code = "hangs"
                row.append(f"{content(path)}, {code}")
        print(name, *row, sep="\t", flush=True)


if __name__ == "__main__":
    {"servers": servers, "clients": clients}[sys.argv[2]]()
