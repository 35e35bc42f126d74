"""A disk whose writes and flushes are recorded: a loop device on a file in a FUSE file system.

Linux has dm-log-writes for that, but few kernels of virtual machines include it. The record is a file of entries:
the offset, length and bytes of a write, or a flush. An entry is complete before the kernel gets the reply to it.
"""

import ctypes
import errno
import os
import pathlib
import struct
import time
from multiprocessing import Process
from typing import Iterator, NamedTuple, Optional

from place import Unavailable, mount, run

# Opcodes of <linux/fuse.h>.
LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS = 1, 2, 3, 4, 14, 15, 16, 17
RELEASE, FSYNC, FLUSH, INIT, OPENDIR, RELEASEDIR, BATCH_FORGET = 18, 20, 25, 26, 27, 29, 42
DONE = frozenset({RELEASE, FLUSH, OPENDIR, RELEASEDIR})
ROOT, FILE, NAME = 1, 2, b"disk"
# FUSE_BIG_WRITES and FUSE_MAX_PAGES.
FLAGS, MOST = 1 << 5 | 1 << 22, 1 << 20
BLOCK, FOREVER = 4096, 1 << 30
# Seconds without a write after which the server has nothing left to sync.
QUIET = 0.4
ENTRY = struct.Struct("<QQ")
# Stands for the length in the entry of a flush.
A_FLUSH = (1 << 64) - 1


class Entry(NamedTuple):
    """A write, or a flush if it has no bytes; and the position of the next entry in the record."""

    offset: int
    data: Optional[bytes]
    end: int


def entries(record: pathlib.Path) -> Iterator[Entry]:
    with open(record, "rb") as file:
        while head := file.read(ENTRY.size):
            offset, length = ENTRY.unpack(head)
            data = None if length == A_FLUSH else file.read(length)
            yield Entry(offset, data, file.tell())


class Disk:
    """A file system with one file, which initially has the content of `image`."""

    def __init__(self, image: pathlib.Path, record: pathlib.Path, delay: float) -> None:
        """`delay`: the seconds that each flush takes."""
        self.content, self.delay = bytearray(image.read_bytes()), delay
        self.record = open(record, "wb", buffering=0)
        self.device = os.open("/dev/fuse", os.O_RDWR)

    def mount(self, path: pathlib.Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0,max_read={MOST}"
        if libc.mount(b"disk", os.fsencode(path), b"fuse", 0, options.encode()):
            raise Unavailable(f"mount of a FUSE file system: {os.strerror(ctypes.get_errno())}")

    def serve(self) -> None:
        """Answers the kernel until the file system is unmounted."""
        while True:
            try:
                request = os.read(self.device, MOST + BLOCK)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT):
                    continue
                return
            length, opcode, unique, node = struct.unpack_from("<IIQQ", request)
            if opcode in (FORGET, BATCH_FORGET):
                continue
            answer = self.answer(opcode, node, request[40:length])
            status, body = (-answer, b"") if isinstance(answer, int) else (0, answer)
            os.write(self.device, struct.pack("<IiQ", 16 + len(body), status, unique) + body)

    def attributes(self, node: int) -> bytes:
        size, mode = (0, 0o040755) if node == ROOT else (len(self.content), 0o100600)
        times = struct.pack("<6Q3I", node, size, size // 512, 0, 0, 0, 0, 0, 0)
        return times + struct.pack("<7I", mode, 1, 0, 0, 0, BLOCK, 0)

    def answer(self, opcode: int, node: int, body: bytes) -> bytes | int:
        """Returns the body of an answer, or an error number."""
        if opcode == INIT:
            return struct.pack("<4I2H2I2HI28x", 7, 31, MOST, FLAGS, 12, 9, MOST, 1, MOST // BLOCK, 0, 0)
        if opcode == LOOKUP and body.rstrip(b"\0") == NAME:
            return struct.pack("<4Q2I", FILE, 0, FOREVER, FOREVER, 0, 0) + self.attributes(FILE)
        if opcode in (GETATTR, SETATTR):
            return struct.pack("<Q2I", FOREVER, 0, 0) + self.attributes(node)
        if opcode == OPEN:
            return bytes(16)
        if opcode == READ:
            offset, size = struct.unpack_from("<QI", body, 8)
            return bytes(self.content[offset : offset + size])
        if opcode == WRITE:
            offset, size = struct.unpack_from("<QI", body, 8)
            data = body[40 : 40 + size]
            self.content[offset : offset + size] = data
            self.record.write(ENTRY.pack(offset, size) + data)
            return struct.pack("<II", size, 0)
        if opcode == FSYNC:
            time.sleep(self.delay)
            self.record.write(ENTRY.pack(0, A_FLUSH))
            return b""
        if opcode == STATFS:
            return bytes(80)
        if opcode in DONE:
            return bytes(16) if opcode == OPENDIR else b""
        return errno.ENOENT if opcode == LOOKUP else errno.ENOSYS


class Recording:
    """A mounted file system on a recorded disk; `with` mounts it."""

    def __init__(self, image: pathlib.Path, top: pathlib.Path, delay: float = 0) -> None:
        self.record, self.root, self._fuse = top / "record", top / "mounted", top / "fuse"
        self.root.mkdir()
        self._fuse.mkdir()
        self._disk = Disk(image, self.record, delay)
        self._disk.mount(self._fuse)
        self._server = Process(target=self._disk.serve, daemon=True)
        self._server.start()
        os.close(self._disk.device)

    def __enter__(self) -> "Recording":
        mount(self._fuse / NAME.decode(), self.root)
        return self

    def __exit__(self, *_) -> None:
        run("umount", str(self.root))
        # The loop device may need a moment longer.
        run("umount", "--lazy", str(self._fuse))
        self._server.join(20)
        if self._server.is_alive():
            raise Unavailable("the recorded disk is still in use")

    def length(self) -> int:
        """Returns the length of the record."""
        return self.record.stat().st_size

    def quiet(self) -> float:
        """Waits until nothing is written any more. Returns when the last entry was recorded."""
        length, changed = self.length(), time.monotonic()
        while time.monotonic() < changed + QUIET:
            time.sleep(0.001)
            if self.length() != length:
                length, changed = self.length(), time.monotonic()
        return changed
