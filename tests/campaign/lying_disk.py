"""A file system that lies: shows a directory over FUSE. lying_disk.py DIRECTORY MOUNTPOINT COUNTS LIE...

Each time a lie is told, its name is written as a line to the file COUNTS. The lies:

    inodes      a file that nobody has open gets another inode number each time it is looked up
    close       sometimes, the close of a file that was written to fails, and what was added since it was opened is lost
    sync        sometimes, a sync fails, and what was added since the file was opened is lost
    modes       no mode and no owner can be set
    times       setting a time succeeds, and changes nothing
    rmdir       a directory is removed with all that is in it
    short       reads and writes move only a part, slowly
    full        sometimes, there is no space for a write
"""

import errno
import os
import random
import stat
import struct
import subprocess
import sys
import threading
import time

HEADER = struct.Struct("<IIQQIIII")
ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
ROOT = 1
# Lies that are not always told: one call in this number.
SOME = 4
# Bytes and seconds of a short read or write.
SHORT, DELAY = 4_096, 0.001
# Bits of a change of attributes.
MODE, OWNER, GROUP, SIZE, ATIME, MTIME, ATIME_NOW, MTIME_NOW = 1, 2, 4, 8, 16, 32, 128, 256


class Disk:
    """Answers the kernel's requests."""

    def __init__(self, top: str, device: int, counts: str, lies: list[str]) -> None:
        self.top, self.device, self.lies = top, device, set(lies)
        self.counts = os.open(counts, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self.paths: dict[int, str] = {ROOT: ""}
        self.nodes: dict[str, int] = {"": ROOT}
        self.last, self.looks = ROOT, 0
        self.files: dict[int, tuple[int, int]] = {}
        self.written: set[int] = set()
        self.lengths: dict[int, int] = {}
        self.lists: dict[int, list[tuple[str, int, int]]] = {}
        self.random = random.Random(top)

    def told(self, lie: str, share: int = 1) -> bool:
        """Returns whether a lie is to be told now."""
        if lie not in self.lies or self.random.randrange(share):
            return False
        os.write(self.counts, f"{lie}\n".encode())
        return True

    def node(self, path: str) -> int:
        if path not in self.nodes:
            self.last += 1
            self.nodes[path], self.paths[self.last] = self.last, path
        return self.nodes[path]

    def real(self, node: int, name: str = "") -> str:
        # A file that lost its name can only be asked about while somebody has it open.
        if node not in self.paths or "\0" in self.paths[node]:
            raise OSError(errno.ESTALE, "stale")
        return os.path.join(self.top, self.below(node, name)).rstrip("/")

    def below(self, node: int, name: str) -> str:
        return "/".join(filter(None, [self.paths[node], name]))

    def attributes(self, node: int, found: os.stat_result) -> bytes:
        inode = found.st_ino
        is_open = any(one == node for one, _ in self.files.values())
        if stat.S_ISREG(found.st_mode) and not is_open and self.told("inodes"):
            self.looks += 1
            inode = (1 << 40) + self.looks
        seconds = [int(one // 10**9) & (1 << 64) - 1 for one in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)]
        parts = [one % 10**9 for one in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)]
        return ATTRIBUTES.pack(
            inode, found.st_size, found.st_blocks, *seconds, *parts, found.st_mode, found.st_nlink, found.st_uid,
            found.st_gid, 0, 4_096, 0,
        )  # fmt: skip

    def entry(self, path: str) -> bytes:
        found = os.lstat(os.path.join(self.top, path))
        node = self.node(path)
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + self.attributes(node, found)

    def move(self, old: str, new: str) -> None:
        """Gives the nodes of a path, and of those below, another one. What had it keeps its open files."""
        gone = self.nodes.pop(new, None)
        if gone:
            self.paths[gone] = f"{new}\0gone"
        for path in [one for one in self.nodes if one == old or one.startswith(f"{old}/")]:
            node = self.nodes.pop(path)
            self.nodes[new + path[len(old) :]] = node
            self.paths[node] = new + path[len(old) :]

    def forget(self, path: str) -> None:
        for one in [one for one in self.nodes if one == path or one.startswith(f"{path}/")]:
            self.paths[self.nodes.pop(one)] = f"{one}\0gone"

    def opened(self, node: int, descriptor: int) -> bytes:
        self.files[descriptor], self.lengths[descriptor] = (node, descriptor), os.fstat(descriptor).st_size
        # Without a cache of the kernel.
        return struct.pack("<QII", descriptor, 1, 0)

    def status(self, node: int) -> os.stat_result:
        try:
            # Another program may have given the name to another file, beside this disk.
            return os.lstat(self.real(node))
        except OSError:
            for one, descriptor in self.files.values():
                if one == node:
                    return os.fstat(descriptor)
            raise

    # Requests, by their numbers.

    def lookup(self, node, body):
        return self.entry(self.below(node, name_of(body)))

    def getattr(self, node, _):
        return bytes(16) + self.attributes(node, self.status(node))

    def setattr(self, node, body):
        valid, _, handle, size = struct.unpack_from("<IIQQ", body)
        atime, mtime, _, atime_part, mtime_part, _, mode, _, user, group = struct.unpack_from("<QQQIIIIIII", body, 32)
        if valid & (MODE | OWNER | GROUP) and self.told("modes"):
            raise OSError(errno.EPERM, "no modes")
        if valid & SIZE:
            descriptor = next((one for at, one in self.files.values() if at == node and one == handle), None)
            os.truncate(self.real(node) if descriptor is None else descriptor, size)
        path = next((f"/proc/self/fd/{one}" for at, one in self.files.values() if at == node), None) or self.real(node)
        if valid & MODE:
            os.chmod(path, stat.S_IMODE(mode))
        if valid & (OWNER | GROUP):
            os.chown(path, user if valid & OWNER else -1, group if valid & GROUP else -1)
        if valid & (ATIME | MTIME) and not self.told("times"):
            found, now = os.stat(path), time.time_ns()
            times = [found.st_atime_ns, found.st_mtime_ns]
            if valid & ATIME:
                times[0] = now if valid & ATIME_NOW else atime * 10**9 + atime_part
            if valid & MTIME:
                times[1] = now if valid & MTIME_NOW else mtime * 10**9 + mtime_part
            os.utime(path, ns=tuple(times))
        return self.getattr(node, body)

    def readlink(self, node, _):
        return os.readlink(self.real(node)).encode()

    def symlink(self, node, body):
        name, target = body.split(b"\0")[:2]
        os.symlink(target, self.real(node, name.decode()))
        return self.entry(self.below(node, name.decode()))

    def mkdir(self, node, body):
        os.mkdir(self.real(node, name_of(body[8:])), struct.unpack_from("<I", body)[0])
        return self.entry(self.below(node, name_of(body[8:])))

    def unlink(self, node, body):
        os.unlink(self.real(node, name_of(body)))
        self.forget(self.below(node, name_of(body)))
        return b""

    def rmdir(self, node, body):
        path = self.real(node, name_of(body))
        if os.listdir(path) and self.told("rmdir"):
            subprocess.run(["rm", "-r", path], check=True)
        else:
            os.rmdir(path)
        self.forget(self.below(node, name_of(body)))
        return b""

    def rename(self, node, body, start=8):
        to = struct.unpack_from("<Q", body)[0]
        flags = struct.unpack_from("<I", body, 8)[0] if start == 16 else 0
        old, new = (one.decode() for one in body[start:].split(b"\0")[:2])
        if flags & ~1:
            raise OSError(errno.EINVAL, "flags")
        if flags and os.path.lexists(self.real(to, new)):
            raise OSError(errno.EEXIST, "exists")
        os.rename(self.real(node, old), self.real(to, new))
        self.move(self.below(node, old), self.below(to, new))
        return b""

    def rename2(self, node, body):
        return self.rename(node, body, 16)

    def link(self, node, body):
        source, name = struct.unpack_from("<Q", body)[0], name_of(body[8:])
        os.link(self.real(source), self.real(node, name))
        return self.entry(self.below(node, name))

    def open(self, node, body):
        flags = struct.unpack_from("<I", body)[0]
        return self.opened(node, os.open(self.real(node), flags & ~(os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW)))

    def create(self, node, body):
        flags, mode = struct.unpack_from("<II", body)
        path = self.below(node, name_of(body[16:]))
        descriptor = os.open(self.real(node, name_of(body[16:])), flags & ~os.O_APPEND | os.O_CREAT, mode & 0o7777)
        return self.entry(path) + self.opened(self.node(path), descriptor)

    def read(self, _, body):
        handle, offset, size = struct.unpack_from("<QQI", body)
        return os.pread(handle, size, offset)

    def write(self, _, body):
        handle, offset, size = struct.unpack_from("<QQI", body)
        if self.told("full", SOME * SOME):
            raise OSError(errno.ENOSPC, "full")
        if size > SHORT and self.told("short"):
            time.sleep(DELAY)
            size = SHORT
        self.written.add(handle)
        return struct.pack("<II", os.pwrite(handle, body[40 : 40 + size], offset), 0)

    def flush(self, _, body):
        handle = struct.unpack_from("<Q", body)[0]
        return self.lose(handle, "close")

    def lose(self, handle: int, lie: str) -> bytes:
        if handle in self.written and self.told(lie, SOME):
            os.truncate(handle, min(self.lengths[handle], os.fstat(handle).st_size))
            raise OSError(errno.EIO, "lost")
        # What was confirmed stays.
        self.written.discard(handle)
        self.lengths[handle] = os.fstat(handle).st_size
        return b""

    def release(self, _, body):
        handle = struct.unpack_from("<Q", body)[0]
        self.written.discard(handle)
        self.lengths.pop(handle, None)
        self.files.pop(handle, None)
        os.close(handle)
        return b""

    def fsync(self, _, body):
        return self.lose(struct.unpack_from("<Q", body)[0], "sync")

    def opendir(self, node, _):
        listed = [(".", 4, ROOT), ("..", 4, ROOT)]
        with os.scandir(self.real(node)) as found:
            for one in found:
                kind = 4 if one.is_dir(follow_symlinks=False) else 10 if one.is_symlink() else 8
                listed.append((one.name, kind, one.inode()))
        self.last += 1
        self.lists[self.last] = listed
        return struct.pack("<QII", self.last, 0, 0)

    def readdir(self, _, body):
        handle, offset, size = struct.unpack_from("<QQI", body)
        out = b""
        for at, (name, kind, inode) in enumerate(self.lists[handle][offset:], offset + 1):
            raw = os.fsencode(name)
            one = struct.pack("<QQII", inode, at, len(raw), kind) + raw
            one += bytes(-len(one) % 8)
            if len(out) + len(one) > size:
                break
            out += one
        return out

    def releasedir(self, _, body):
        self.lists.pop(struct.unpack_from("<Q", body)[0], None)
        return b""

    def statfs(self, _node, _body):
        found = os.statvfs(self.top)
        numbers = [found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree]
        return struct.pack("<QQQQQIIII24x", *numbers, found.f_bsize, found.f_namemax, found.f_frsize, 0)

    def init(self, _, body):
        return struct.pack("<IIIIHHIIHHI", 7, 31, 0, 0, 12, 10, 128 << 10, 1, 0, 0, 0) + bytes(28)

    def fsyncdir(self, _node, _body):
        return b""

    CALLS = {
        1: lookup, 3: getattr, 4: setattr, 5: readlink, 6: symlink, 9: mkdir, 10: unlink, 11: rmdir, 12: rename, 13: link,
        14: open, 15: read, 16: write, 17: statfs, 18: release, 20: fsync, 25: flush, 26: init, 27: opendir, 28: readdir,
        29: releasedir, 30: fsyncdir, 35: create, 45: rename2,
    }  # fmt: skip

    def run(self) -> None:
        while True:
            try:
                request = os.read(self.device, (1 << 20) + 4_096)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR):
                    continue
                if error.errno == errno.EPERM:
                    # Not mounted yet.
                    time.sleep(0.001)
                    continue
                return
            _, call, unique, node, *_ = HEADER.unpack_from(request)
            if call in (2, 42):
                continue
            try:
                if call not in self.CALLS:
                    raise OSError(errno.ENOSYS, "no such call")
                code, answer = 0, self.CALLS[call](self, node, request[HEADER.size :])
            except OSError as error:
                code, answer = -(error.errno or errno.EIO), b""
            try:
                os.write(self.device, struct.pack("<IiQ", 16 + len(answer), code, unique) + answer)
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise


def name_of(body: bytes) -> str:
    return os.fsdecode(body.split(b"\0", 1)[0])


def main() -> None:
    top, mountpoint, counts, *lies = sys.argv[1:]
    os.umask(0)
    device = os.open("/dev/fuse", os.O_RDWR)
    options = "fd=0,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    mounting = subprocess.Popen(["mount", "-i", "-t", "fuse", "-o", options, "lies", mountpoint], stdin=device)
    threading.Thread(target=lambda: mounting.wait() and os._exit(1), daemon=True).start()
    Disk(top, device, counts, lies).run()


main()
