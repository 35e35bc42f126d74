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

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../bench/peers"))
import servers  # noqa: E402

PROGRAM = os.path.realpath(sys.argv[1])
OLD, NEW = b"old\n" * 1000, b"new\n" * 250_000
HALF = len(NEW) // 2


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


def upload(session, name):
    """Begins an upload and sends half of it; the data connection."""
    session.say("TYPE I")
    data = session.begin(f"STOR {name}")
    data.sendall(NEW[:HALF])
    time.sleep(0.5)
    return data


def interrupted(server, fault):
    """What is under the name after a fault, or while the upload runs."""
    path = server.root / "file.bin"
    path.write_bytes(OLD)
    os.chmod(path, 0o666)
    session = server.session(tls=fault == "truncated")
    if session.tls:
        session.protect()
    data = upload(session, "file.bin")
    said = ""
    if fault == "killed":
        # The system closes the connections of a killed process in no particular order.
        data.close()
        session.close()
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


def kinds():
    """The servers of the benchmark, and some with a setting that makes a difference here."""
    usual = {kind.name: kind for kind in servers.kinds(PROGRAM)}
    with_settings = {
        "vsftpd": ("delete_failed_uploads", servers.vsftpd("delete_failed_uploads=YES\n")),
        "ProFTPD": ("HiddenStores", servers.proftpd("HiddenStores on\n")),
        "Pure-FTPd": ("--notruncate", servers.pure_ftpd("--notruncate")),
    }
    for name in ("ftp-cli serve", "vsftpd", "ProFTPD", "Pure-FTPd", "pyftpdlib"):
        yield usual[name]
        if name in with_settings:
            setting, command = with_settings[name]
            yield usual[name]._replace(name=f"{name}, {setting}", command=command)


def print_servers():
    print("server\twhile it runs\tclient killed\tconnection reset\tTLS cut short")
    for kind in kinds():
        if not kind.is_installed():
            continue
        row = []
        for fault in ("runs", "killed", "reset", "truncated"):
            with servers.Server(kind) as server:
                row.append(interrupted(server, fault))
        print(kind.name, *row, sep="\t", flush=True)


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


def print_clients():
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
    {"servers": print_servers, "clients": print_clients}[sys.argv[2]]()
