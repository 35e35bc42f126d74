"""Dialogues with a server, and command lines of the client. Each raises an exception if it goes wrong."""

import hashlib
import os
import socket
import ssl
import subprocess
import time

LIMIT = 20
CONTENT = bytes(range(256)) * 800


class Session:
    """A control connection."""

    def __init__(self, port, login=True):
        self.socket = socket.create_connection(("127.0.0.1", port), LIMIT)
        self.lines = self.socket.makefile("rb")
        self.expect(None, 220)
        self.protects = False
        if login:
            self.expect("USER u", 331)
            self.expect("PASS p", 230)
            self.expect("TYPE I", 200)

    def reply(self):
        text = line = self.lines.readline().decode("utf-8", "surrogateescape")
        while line[3:4] == "-" or not line[:3].isdigit():
            assert line, f"closed after {text!r}"
            line = self.lines.readline().decode("utf-8", "surrogateescape")
            text += line
        return int(line[:3]), text

    def send(self, line):
        self.socket.sendall(line.encode() + b"\r\n")

    def expect(self, line, code):
        """Sends a line, if there is one, and returns the text of the reply, which must have the code."""
        if line is not None:
            self.send(line)
        came, text = self.reply()
        assert came == code, f"{line}: {text.strip()}"
        return text

    def open(self):
        port = int(self.expect("EPSV", 229).split("|")[3])
        return socket.create_connection(("127.0.0.1", port), LIMIT)

    def secured(self, data):
        return context().wrap_socket(data) if self.protects else data

    def take(self, line):
        """Returns the data that the server sends."""
        with self.open() as data:
            self.expect(line, 150)
            data, content = self.secured(data), b""
            while piece := data.recv(1 << 16):
                content += piece
        self.expect(None, 226)
        return content

    def give(self, line, content):
        """Sends data, and returns the text of the 150."""
        with self.open() as data:
            text = self.expect(line, 150)
            data = self.secured(data)
            data.sendall(content)
            if self.protects:
                data.unwrap()
        self.expect(None, 226)
        return text

    def refused(self, line, *codes):
        with self.open():
            self.send(line)
            code, text = self.reply()
        assert code in codes, f"{line}: {text.strip()}"

    def secure(self):
        self.expect("AUTH TLS", 234)
        self.socket = context().wrap_socket(self.socket)
        self.lines = self.socket.makefile("rb")
        self.expect("PBSZ 0", 200)
        self.expect("PROT P", 200)
        self.protects = True


def context():
    made = ssl.create_default_context()
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def content_of(root, name):
    with open(os.path.join(root, name), "rb") as file:
        return file.read()


def equals(found, wanted):
    assert found == wanted, f"{found[:80]!r} is not {wanted[:80]!r}"


def store(root, name, content=CONTENT):
    with open(os.path.join(root, name), "wb") as file:
        file.write(content)


def link(root, target, name):
    os.symlink(target, os.path.join(root, name))


def until(what, is_so):
    end = time.monotonic() + LIMIT
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(0.01)


# Dialogues with the server: the function gets a session and the root, which has the files `f` and
# `d/g` and the empty directory `e`.


def wrong_password(session, root):
    other = Session(session.port, login=False)
    other.expect("USER u", 331)
    other.expect("PASS x", 530)


def features(session, root):
    text = session.expect("FEAT", 211)
    assert "MLST" in text and "MFMT" in text, text


def working_directory(session, root):
    session.expect("CWD d", 250)
    assert '"/d"' in session.expect("PWD", 257)
    session.expect("CDUP", 250)


def retr(session, root):
    equals(session.take("RETR f"), CONTENT)


def retr_missing(session, root):
    session.refused("RETR missing", 550)


def retr_from(session, root):
    session.expect("REST 1000", 350)
    equals(session.take("RETR f"), CONTENT[1000:])


def retr_text(session, root):
    store(root, "t", b"a\nb\n")
    session.expect("TYPE A", 200)
    equals(session.take("RETR t"), b"a\r\nb\r\n")


def retr_active(session, root):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        session.expect(f"EPRT |1|127.0.0.1|{listener.getsockname()[1]}|", 200)
        session.expect("RETR f", 150)
        data, _ = listener.accept()
        with data:
            content = b""
            while piece := data.recv(1 << 16):
                content += piece
    session.expect(None, 226)
    equals(content, CONTENT)


def stor(session, root):
    session.give("STOR new", CONTENT)
    equals(content_of(root, "new"), CONTENT)


def stor_again(session, root):
    session.give("STOR f", b"other")
    equals(content_of(root, "f"), b"other")


def stor_inside(session, root):
    session.expect("REST 100000", 350)
    session.give("STOR f", b"end")
    equals(content_of(root, "f"), CONTENT[:100000] + b"end")


def stor_at_the_end(session, root):
    session.expect(f"REST {len(CONTENT)}", 350)
    session.give("STOR f", b"end")
    equals(content_of(root, "f"), CONTENT + b"end")


def stor_beyond(session, root):
    session.expect(f"REST {len(CONTENT) + 1}", 350)
    session.refused("STOR f", 501, 554)


def appe(session, root):
    session.give("APPE f", b"more")
    equals(content_of(root, "f"), CONTENT + b"more")


def appe_new(session, root):
    session.give("APPE new", b"more")
    equals(content_of(root, "new"), b"more")


def stou(session, root):
    name = session.give("STOU", b"unique").split()[-1]
    equals(content_of(root, name), b"unique")


def stor_resumed(session, root):
    with session.open() as data:
        session.expect("STOR cut", 150)
        data.sendall(CONTENT[:50000])
        other = Session(session.port)
        session.socket.shutdown(socket.SHUT_RDWR)
    size = lambda: (other.send("SIZE cut"), other.reply()[1].strip())[1]
    until("the upload is kept", lambda: size().startswith("213 "))
    kept = int(size().split()[1])
    other.expect(f"REST {kept}", 350)
    other.give("STOR cut", CONTENT[kept:])
    equals(content_of(root, "cut"), CONTENT)


def mlsd(session, root):
    names = sorted(line.split(" ", 1)[1] for line in session.take("MLSD").decode().splitlines())
    shown = [name for name in names if name not in (".", "..", "/")]
    assert shown == ["d", "e", "f"], names


def mlst(session, root):
    assert f"size={len(CONTENT)};" in session.expect("MLST f", 250).lower()


def list_long(session, root):
    assert len(session.take("LIST").splitlines()) == 3


def nlst(session, root):
    equals(b" ".join(sorted(session.take("NLST").split())), b"d e f")


def size(session, root):
    assert session.expect("SIZE f", 213).split()[1] == str(len(CONTENT))


def mfmt(session, root):
    session.expect("MFMT 20200102030406 f", 213)
    assert "20200102030406" in session.expect("MDTM f", 213)
    assert os.stat(os.path.join(root, "f")).st_mtime == 1577934246


def mfmt_of_directory(session, root):
    session.expect("MFMT 20200102030406 d", 213)
    assert os.stat(os.path.join(root, "d")).st_mtime == 1577934246


def chmod(session, root):
    session.expect("SITE CHMOD 640 f", 200)
    session.expect("SITE CHMOD 750 d", 200)
    modes = [os.stat(os.path.join(root, name)).st_mode & 0o777 for name in "fd"]
    assert modes == [0o640, 0o750], modes


def directories(session, root):
    session.expect("MKD made", 257)
    session.expect("MKD made", 550)
    session.expect("RMD made", 250)
    session.expect("RMD d", 550)


def rename(session, root):
    session.expect("RNFR f", 350)
    session.expect("RNTO e/moved", 250)
    equals(content_of(root, "e/moved"), CONTENT)
    session.expect("RNFR missing", 550)


def rename_onto(session, root):
    session.expect("RNFR f", 350)
    session.expect("RNTO d/g", 250)
    equals(content_of(root, "d/g"), CONTENT)


def delete(session, root):
    session.expect("DELE f", 250)
    session.expect("DELE f", 550)


def digest(session, root):
    assert hashlib.sha256(CONTENT).hexdigest() in session.expect("HASH f", 213).lower()


def private_name(session, root):
    session.refused("STOR .ftp-upload-x", 553)


def linked_file(session, root):
    link(root, "d/g", "l")
    link(root, "l", "ll")
    equals(session.take("RETR ll"), b"g")
    session.expect("SIZE ll", 213)


def linked_directory(session, root):
    link(root, "e/../d", "l")
    session.expect("CWD l", 250)
    equals(session.take("RETR g"), b"g")
    assert b"g" in session.take("MLSD")


def stor_through_link(session, root):
    link(root, "d/g", "l")
    session.give("STOR l", b"new")
    equals(content_of(root, "d/g"), b"new")
    assert os.path.islink(os.path.join(root, "l"))
    link(root, "d", "way")
    session.give("STOR way/made", b"made")
    equals(content_of(root, "d/made"), b"made")


def escape(session, root):
    """Tries each way out of the root with each command."""
    outside = os.path.join(os.path.dirname(root), "outside")
    ways = {
        "l": ("..", "outside"), "u": ("../outside", ""), "x": (outside, ""), "d/l": ("../..", "outside"),
        "r": ("d/l/outside", ""), "y": ("e/../../outside", ""), "z": ("./x", ""),
        "e/l": (os.path.dirname(root), "outside"),
    }
    for name, (target, _) in ways.items():
        link(root, target, name)
    link(root, "../outside/secret", "s")
    link(root, os.path.join(outside, "secret"), "t")
    link(root, "loop", "loop")
    before = os.stat(os.path.join(outside, "secret"))
    directories = [os.path.join(name, below).rstrip("/") for name, (_, below) in ways.items()]
    for way in directories:
        for line in (f"RETR {way}/secret", f"STOR {way}/new", f"APPE {way}/secret", f"MLSD {way}"):
            session.refused(line, 501, 550, 553)
        for line in ("CWD {}", "MKD {}/made", "DELE {}/secret", "RNFR {}/secret", "SIZE {}/secret", "HASH {}/secret"):
            session.expect(line.format(way), 550)
        for line in ("MFMT 20200102030406 {}/secret", "SITE CHMOD 666 {}/secret"):
            session.expect(line.format(way), 550)
    for name in ("s", "t", "loop"):
        for line in (f"RETR {name}", f"STOR {name}", f"APPE {name}"):
            session.refused(line, 550, 553)
        session.expect(f"MFMT 20200102030406 {name}", 550)
        session.expect(f"SITE CHMOD 666 {name}", 550)
    after = os.stat(os.path.join(outside, "secret"))
    equals(content_of(outside, "secret"), b"secret")
    assert os.listdir(outside) == ["secret"] and before.st_mode == after.st_mode and before.st_mtime == after.st_mtime


def secured(session, root):
    other = Session(session.port, login=False)
    other.secure()
    other.expect("USER u", 331)
    other.expect("PASS p", 230)
    other.expect("TYPE I", 200)
    equals(other.take("RETR f"), CONTENT)
    other.give("STOR new", CONTENT)
    equals(content_of(root, "new"), CONTENT)


def rein(session, root):
    session.expect("REIN", 220)
    session.expect("USER u", 331)
    session.expect("PASS p", 230)
    session.expect("SIZE f", 213)


def illegal_names(session, root):
    """For file systems that refuse a colon."""
    session.refused("STOR a:b", 553)
    session.expect("MKD a:b", 553)
    for name in "fd":
        session.expect(f"RNFR {name}", 350)
        session.expect("RNTO a:b", 553)


def quit_session(session, root):
    session.expect("QUIT", 221)


LINKS = [linked_file, linked_directory, stor_through_link, escape]
SERVER = [
    wrong_password, features, working_directory, retr, retr_missing, retr_from, retr_text, retr_active,
    stor, stor_again, stor_inside, stor_at_the_end, stor_beyond, appe, appe_new, stou, stor_resumed,
    mlsd, mlst, list_long, nlst, size, mfmt, mfmt_of_directory, chmod, directories, rename, rename_onto,
    delete, digest, private_name, *LINKS, secured, rein, quit_session,
]

# Command lines of the client: the words, with `URL` and `HERE`, and the check of the result.
CLIENT = [
    ("get URL/f -o HERE/got", lambda here, root: equals(content_of(here, "got"), CONTENT)),
    ("get -p URL/f -o HERE/kept", lambda here, root: equals(content_of(here, "kept"), CONTENT)),
    ("get --no-clobber URL/f -o HERE/only", lambda here, root: equals(content_of(here, "only"), CONTENT)),
    ("put HERE/got URL/put", lambda here, root: equals(content_of(root, "put"), CONTENT)),
    ("put -p HERE/got URL/putp", lambda here, root: equals(content_of(root, "putp"), CONTENT)),
    ("ls URL/", None),
    ("stat URL/f", None),
    ("mkdir URL/made", lambda here, root: os.rmdir(os.path.join(root, "made"))),
    ("mv URL/put URL/moved", lambda here, root: equals(content_of(root, "moved"), CONTENT)),
    ("rm URL/moved", lambda here, root: os.path.exists(os.path.join(root, "moved")) and 1 / 0),
    ("mirror URL/d HERE/down", lambda here, root: equals(content_of(here, "down/g"), b"g")),
    ("mirror HERE/down URL/up", lambda here, root: equals(content_of(root, "up/g"), b"g")),
    ("get --tls explicit --insecure URL/f -o HERE/tls", lambda here, root: equals(content_of(here, "tls"), CONTENT)),
]


def resumed(command, port, here, root):
    """Interrupts a download and an upload, and continues them."""
    sizes = lambda place: [os.stat(os.path.join(place, name)).st_size for name in os.listdir(place) if "cut" in name]
    for words in ("get -c URL/f -o HERE/cut", "put -c HERE/got URL/cut"):
        slow = f"{words} --limit-rate 200K".replace("URL", f"ftp://u:p@127.0.0.1:{port}").replace("HERE", here)
        with subprocess.Popen([*command, *slow.split()], stderr=subprocess.DEVNULL) as process:
            place = here if words.startswith("get") else root
            until(f"{words} has begun", lambda: sum(sizes(place)) >= 100_000 or process.poll() is not None)
            process.terminate()
        text = said(run_client(command, port, here, root, f"{words} -v"))
        assert "resumed after" in text, f"{words}: {text}"
        equals(content_of(place, "cut"), CONTENT)


# Options that depend on what a file system can do. Each function gets a call that runs the client and
# returns its messages, and the directories of both sides, which hold `f`.


def preserved(client, here, root):
    for words, source, target in (("get -p URL/f -o HERE/p", root, here), ("put -p HERE/f URL/p", here, root)):
        for seconds in (1_600_000_000, 1_600_000_001):
            seconds = stored_time(source, "f", seconds)
            client(words)
            equals(content_of(target, "p"), CONTENT)
            found = int(os.stat(os.path.join(target, "p")).st_mtime)
            wanted = stored_time(target, "grain", seconds)
            assert found == wanted, f"{words}: the time is {found}, not {wanted}"


def if_changed(client, here, root):
    for words, source in (("get URL/f -o HERE/c", root), ("put HERE/f URL/c", here)):
        # The new content has the old size.
        for seconds, content in ((1_600_000_000, CONTENT), (1_600_000_003, CONTENT[::-1])):
            store(source, "f", content)
            stored_time(source, "f", seconds)
            target = here if source is root else root
            client(f"{words} --if-changed")
            equals(content_of(target, "c"), content)
            for option in ("--if-changed", "--newer"):
                said = client(f"{words} -v {option}")
                assert "unchanged" in said or "not newer" in said, f"{words} {option}: {said}"
        store(source, "f")


def no_clobber(client, here, root):
    for words, target in (("get -n URL/f -o HERE/n", here), ("put -n HERE/f URL/n", root)):
        client(words)
        equals(content_of(target, "n"), CONTENT)
        store(target, "n", b"mine")
        said = client(f"{words} -v")
        assert "exists" in said, said
        equals(content_of(target, "n"), b"mine")
    store(root, "gone")
    client("get -n --remove-source URL/gone -o HERE/moved")
    equals(content_of(here, "moved"), CONTENT)
    assert not os.path.exists(os.path.join(root, "gone"))
    assert not [name for name in os.listdir(here) if "taken" in name], os.listdir(here)


OPTIONS = [preserved, if_changed, no_clobber]


def stored_time(directory, name, seconds):
    """Sets the time of a file, and returns what the file system made of it."""
    path = os.path.join(directory, name)
    with open(path, "ab"):
        pass
    os.utime(path, (seconds, seconds))
    return int(os.stat(path).st_mtime)


def run_client(command, port, here, root, words):
    words = words.replace("URL", f"ftp://u:p@127.0.0.1:{port}").replace("HERE", here).split()
    run = subprocess.run([*command, *words], capture_output=True, text=True, timeout=3 * LIMIT, check=False)
    assert run.returncode == 0, f"exit {run.returncode}: {run.stderr.strip()}"
    return run


def said(run):
    return run.stdout + run.stderr
