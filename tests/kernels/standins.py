"""Stand-ins for machines that lack something: old kernels, little memory, and file systems with special rules."""

import contextlib
import errno
import os
import re
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
FILTER = os.path.join(HERE, "filtered.py")
TOP = "/sys/fs/cgroup"

# Newer system calls, with the version of Linux that has them.
CALLS = {
    "O_TMPFILE": "3.11", "renameat2": "3.15", "getrandom": "3.17", "memfd_create": "3.17",
    "execveat": "3.19", "membarrier": "4.3", "mlock2": "4.4", "copy_file_range": "4.5",
    "preadv2": "4.6", "pwritev2": "4.6", "statx": "4.11", "rseq": "4.18", "pidfd_send_signal": "5.1",
    "io_uring_setup": "5.1", "open_tree": "5.2", "clone3": "5.3", "pidfd_open": "5.3", "openat2": "5.6",
    "pidfd_getfd": "5.6", "faccessat2": "5.8", "close_range": "5.9", "epoll_pwait2": "5.11",
    "landlock_create_ruleset": "5.13", "landlock_add_rule": "5.13", "landlock_restrict_self": "5.13",
    "futex_waitv": "5.16", "fchmodat2": "6.6",
}
KERNELS = ["3.10", "4.4", "4.19"]

# File systems with special rules: the commands that make one, and mount it at `root` in the directory of the test.
DISKS = {
    "exfat-fuse": "truncate -s 1G disk && mkfs.exfat disk && mount -t exfat-fuse -o loop disk root",
    "ntfs-3g": "truncate -s 1G disk && mkntfs -F -Q disk && mount -t ntfs-3g -o loop,windows_names disk root",
    "bindfs": "mkdir real && bindfs real root",
    "vfat": "truncate -s 1G disk && mkfs.vfat disk && mount -t vfat -o loop,utf8 disk root",
    # For the kernel of tests/kernels/uml.
    "nfs": "mount -t nfs4 127.0.0.1:/ root",
}


class Unmountable(Exception):
    """This machine cannot mount a file system."""


def number(version):
    return [int(part) for part in version.split(".")]


def cases():
    """Returns the missing calls of each case, by its name."""
    found = {}
    alone = [[name] for name in CALLS if not name.startswith("landlock")]
    alone.append([name for name in CALLS if name.startswith("landlock")])
    for code in (errno.ENOSYS, errno.EPERM):
        word = errno.errorcode[code]
        for kernel in KERNELS:
            newer = [name for name in CALLS if number(CALLS[name]) > number(kernel)]
            found[f"{kernel} {word}"] = (code, newer)
        for calls in alone:
            found[f"{calls[0]} {word}"] = (code, calls)
    # O_TMPFILE is no call that a profile could forbid. If clone3 fails with EPERM, glibc starts no thread
    # (docs/install.md).
    for name in ("O_TMPFILE", "clone3"):
        del found[f"{name} EPERM"]
        for case, (code, calls) in found.items():
            if code == errno.EPERM:
                found[case] = (code, [call for call in calls if call != name])
    return found


def python():
    """Returns a Python that has libseccomp's module."""
    for directory in os.get_exec_path():
        path = os.path.join(directory, "python3")
        if os.access(path, os.X_OK):
            command = [path, "-c", "import seccomp"]
            if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0:
                return path
    return None


def without(code, calls, interpreter):
    """Returns the beginning of a command whose program lacks these calls, by a Python that `python` returned."""
    return [interpreter, FILTER, str(code), ",".join(calls)]


class Group:
    """A control group with a limit of memory."""

    def __init__(self, limit, name=None):
        self.is_v1 = os.path.exists(f"{TOP}/memory/memory.limit_in_bytes")
        self.path = os.path.join(TOP, "memory" if self.is_v1 else "", f"ftp-memory-{name or os.getpid()}")
        os.mkdir(self.path)
        names = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"] if self.is_v1 else ["memory.max"]
        for name in names:
            self.write(name, limit)
        if not self.is_v1:
            self.write("memory.swap.max", 0)

    def prefix(self):
        """Returns the beginning of a command whose program is in the group."""
        return ["sh", "-c", f'echo $$ >"{self.path}/cgroup.procs" && exec "$@"', "sh"]

    def write(self, name, value):
        with open(os.path.join(self.path, name), "w", encoding="ascii") as file:
            file.write(str(value))

    def field(self, name, key=None):
        with open(os.path.join(self.path, name), encoding="ascii") as file:
            text = file.read()
        return int(re.search(rf"^{key} (\d+)$", text, re.MULTILINE)[1] if key else text)

    def killed(self):
        return self.field("memory.oom_control" if self.is_v1 else "memory.events", "oom_kill")

    def used(self):
        """Returns the bytes that are not a cache of files."""
        keys = ("total_inactive_file", "total_active_file") if self.is_v1 else ("inactive_file", "active_file")
        used = self.field("memory.usage_in_bytes" if self.is_v1 else "memory.current")
        return used - sum(self.field("memory.stat", key) for key in keys)


@contextlib.contextmanager
def mounted(name, top):
    """Mounts a file system of DISKS at `root` in a directory. Raises Unmountable if that fails."""
    made = subprocess.run(["sh", "-c", DISKS[name]], cwd=top, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise Unmountable(" ".join(made.stderr.strip().splitlines()[:1]))
    try:
        yield
    finally:
        subprocess.run(["umount", os.path.join(top, "root")], check=False)
