"""Python's ftplib against one server: interop_ftplib.py SCENARIO HOST PORT USER PASSWORD

Each scenario is a function. What is wrong ends it with a traceback and the dialogue on standard
error. The server's root is empty at first unless a scenario says otherwise.
"""

import ftplib
import io
import random
import sys

SIZES = (0, 1, (1 << 20) + 1)


def connect(encoding="utf-8"):
    host, port, user, password = sys.argv[2:6]
    ftp = ftplib.FTP(timeout=30, encoding=encoding)
    ftp.set_debuglevel(1)
    ftp.connect(host, int(port))
    ftp.login(user, password)
    return ftp


def same(got, want):
    """assert got == want, without printing a mebibyte."""
    if got != want:
        at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
        raise AssertionError(
            f"{len(got)} instead of {len(want)}, different at {at}: "
            f"{got[at:at + 16]!r}, want {want[at:at + 16]!r}")


def refused(code, call, *arguments):
    try:
        reply = call(*arguments)
    except ftplib.Error as error:
        same(str(error)[:3], code)
    else:
        raise AssertionError(f"wanted {code}, got {reply!r}")


def binary(size, seed):
    return random.Random(seed).randbytes(size)


def lines(size, seed):
    """size bytes without CR, in lines that end in LF."""
    bytes = bytearray(random.Random(seed).randbytes(size).replace(b"\r", b"r"))
    for at in range(99, size, 100):
        bytes[at] = 10
    if size:
        bytes[-1] = 10
    return bytes


def retrieve(ftp, name, **options):
    whole = io.BytesIO()
    ftp.retrbinary(f"RETR {name}", whole.write, **options)
    return whole.getvalue()


def ways(ftp):
    """Each way of making the data connection: EPSV, PASV, then PORT."""
    real = ftp.makepasv
    ftp.set_pasv(True)
    ftp.makepasv = lambda: (ftp.host, ftplib.parse229(ftp.sendcmd("EPSV"), ftp.sock.getpeername())[1])
    yield
    ftp.makepasv = real
    yield
    ftp.set_pasv(False)
    yield
    ftp.set_pasv(True)


def image():
    ftp = connect()
    for _ in ways(ftp):
        for size in SIZES:
            content = binary(size, size)
            same(ftp.storbinary("STOR file", io.BytesIO(content))[:3], "226")
            same(retrieve(ftp, "file"), content)
            ftp.voidcmd("TYPE I")
            same(ftp.size("file"), size)
    ftp.quit()


def ascii():
    ftp = connect("latin-1")
    for _ in ways(ftp):
        for size in SIZES:
            content = lines(size, size)
            ftp.storlines("STOR file", io.BytesIO(content))
            got = []
            ftp.retrlines("RETR file", got.append)
            same("".join(line + "\n" for line in got).encode("latin-1"), bytes(content))
            # Stored with LF, as files here have it.
            same(retrieve(ftp, "file"), bytes(content))
    ftp.quit()


def lists():
    """The root holds files, named after their content's length, and one directory."""
    ftp = connect()
    sizes = {"one": 1, "two words": 9, "grüße": 8, 'a "quoted" name': 15}
    for name, size in sizes.items():
        ftp.storbinary(f"STOR {name}", io.BytesIO(b"x" * size))
    ftp.mkd("directory")
    for _ in ways(ftp):
        same(sorted(ftp.nlst()), sorted([*sizes, "directory"]))
        same(ftp.nlst("directory"), [])
        long = []
        ftp.dir(long.append)
        same(sorted(line.split(None, 8)[8] for line in long), sorted([*sizes, "directory"]))
        facts = {name: facts for name, facts in ftp.mlsd() if facts["type"] in ("file", "dir")}
        same(sorted(facts), sorted([*sizes, "directory"]))
        for name, size in sizes.items():
            same((facts[name]["type"], int(facts[name]["size"])), ("file", size))
        same(facts["directory"]["type"], "dir")
        chosen = dict(ftp.mlsd(facts=["size", "modify"]))
        same(sorted(chosen["one"]), ["modify", "size"])
        modified = ftp.voidcmd("MDTM one")
        same(modified, "213 " + chosen["one"]["modify"])
        ftp.sendcmd("OPTS MLST type;size;modify;")
    refused("550", ftp.nlst, "missing")
    ftp.quit()


def files():
    ftp = connect()
    same(ftp.pwd(), "/")
    same(ftp.mkd("a"), "/a")
    same(ftp.mkd('a/b "c"'), '/a/b "c"')
    refused("550", ftp.mkd, "a")
    ftp.cwd('a/b "c"')
    same(ftp.pwd(), '/a/b "c"')
    ftp.storbinary("STOR file", io.BytesIO(b"text"))
    ftp.cwd("..")
    same(ftp.pwd(), "/a")
    refused("550", ftp.cwd, "missing")
    refused("550", ftp.rmd, 'b "c"')
    ftp.rename('b "c"/file', "/moved file")
    ftp.rmd('b "c"')
    ftp.cwd("/")
    ftp.rmd("a")
    same(retrieve(ftp, "moved file"), b"text")
    same(ftp.size("moved file"), 4)
    ftp.delete("moved file")
    refused("550", ftp.delete, "moved file")
    refused("550", ftp.size, "moved file")
    refused("550", ftp.rename, "moved file", "x")
    same(ftp.nlst(), [])
    ftp.quit()


def resumed():
    ftp = connect()
    content = binary(100_000, 7)
    ftp.storbinary("STOR file", io.BytesIO(content))
    for _ in ways(ftp):
        for at in (0, 1, 50_000, 99_999, 100_000):
            same(retrieve(ftp, "file", rest=at), content[at:])
            ftp.storbinary("STOR file", io.BytesIO(content[at:]), rest=at)
            same(retrieve(ftp, "file"), content)
        # A restart marker is spent by one transfer.
        same(retrieve(ftp, "file"), content)
        ftp.storbinary("STOR begun", io.BytesIO(content[:10]))
        ftp.storbinary("APPE begun", io.BytesIO(content[10:]))
        same(retrieve(ftp, "begun"), content)
        ftp.delete("begun")
    ftp.quit()


def aborted():
    """ABOR goes out as urgent data, behind which the session is in step again."""
    ftp = connect()
    content = binary(8 << 20, 8)
    ftp.storbinary("STOR file", io.BytesIO(content))
    for _ in ways(ftp):
        data = ftp.transfercmd("RETR file")
        if not data.recv(1000):
            raise AssertionError("no data came")
        # The data connection is not read, so the transfer cannot be over: 426, then 226.
        reply = ftp.abort()
        same(reply[:3], "426")
        data.close()
        same(ftp.voidresp()[:3], "226")
        same(ftp.pwd(), "/")
        # Nothing runs: one reply.
        same(ftp.abort()[:3] in ("225", "226"), True)
        same(ftp.pwd(), "/")
        same(retrieve(ftp, "file"), content)
    ftp.quit()


def bytes_as_latin_1():
    """Names of any bytes: the connection's encoding is latin-1, and 0xFF is doubled by hand."""
    ftp = connect("latin-1")
    names = ["caf\xe9", "\x80\xfe", "cut utf-8 \xe6\x97", "\xff", "iac \xff\xf4", "grüße".encode().decode("latin-1")]
    for name in names:
        sent = name.replace("\xff", "\xff\xff")
        ftp.storbinary(f"STOR {sent}", io.BytesIO(name.encode("latin-1")))
        same(retrieve(ftp, sent), name.encode("latin-1"))
        # A reply's 0xFF is doubled, a list's is not.
        made = ftp.mkd(f"{sent}.d")
        same(made, f"/{sent}.d")
        ftp.cwd(f"{sent}.d")
        same(ftp.pwd(), f"/{sent}.d")
        ftp.cwd("..")
        ftp.rmd(f"{sent}.d")
    same(sorted(ftp.nlst()), sorted(names))
    same(sorted(name for name, facts in ftp.mlsd() if facts["type"] == "file"), sorted(names))
    ftp.quit()


def large():
    """1 GiB up and down, compared as it comes, none of it kept."""
    ftp = connect()
    size, block = 1 << 30, binary(1 << 20, 9)
    sent = (block for _ in range(size // len(block)))

    class Endless:
        def read(self, _):
            return next(sent, b"")

    ftp.storbinary("STOR large", Endless(), blocksize=1 << 20)
    ftp.voidcmd("TYPE I")
    same(ftp.size("large"), size)
    count = 0

    def compare(piece):
        nonlocal count
        at = count % len(block)
        first = block[at:at + len(piece)]
        same(piece, first + block[:len(piece) - len(first)])
        count += len(piece)

    ftp.retrbinary("RETR large", compare, blocksize=1 << 18)
    same(count, size)
    ftp.quit()


globals()[sys.argv[1]]()
