"""Shows the reason for each line of the unit: without a line, a program in the unit can do something else than with it, or
a step of the walks needs it.
"""

import json
import re

from debian import ROOT, at_last, debian, write

# What a program finds in the unit, as JSON in a file. Each entry has a name and what the system says.
PROBE = r'''
import ctypes, json, mmap, os, resource, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
found = {}

def call(name, number, *words):
    """A system call in a process of its own, since a filter can kill."""
    read, written = os.pipe()
    child = os.fork()
    if child == 0:
        result = libc.syscall(number, *words)
        os.write(written, str(0 if result >= 0 else ctypes.get_errno()).encode())
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    os.close(written)
    found[name] = os.read(read, 10).decode() if status == 0 else f"status {status}"

status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines())
for name in ["Uid", "Gid", "Groups", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp_filters"]:
    found[name] = status[name]
found["umask"] = os.umask(0)
os.umask(found["umask"])
found["files"] = resource.getrlimit(resource.RLIMIT_NOFILE)
found["variables"] = sorted(name for name in os.environ if name.endswith("_DIRECTORY"))
for name in ["STATE_DIRECTORY", "LOGS_DIRECTORY", "RUNTIME_DIRECTORY"]:
    path = os.environ.get(name)
    found[name] = path and oct(os.stat(path).st_mode)
path = os.environ.get("CREDENTIALS_DIRECTORY")
found["credentials"] = path and sorted(os.listdir(path))
for path in ["/", "/etc", "/srv", "/tmp", "/var/tmp", "/home", "/root", "/dev", "/proc/sys", "/sys", "/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/usr/lib/modules", "/proc/kmsg"]:
    try:
        found[path] = os.statvfs(path).f_flag, oct(os.stat(path).st_mode), os.stat(path).st_uid
    except OSError as error:
        found[path] = error.errno
found["/tmp of its own"] = os.path.exists("/tmp/of-the-system")
found["devices"] = sorted(os.listdir("/dev"))
found["processes"] = os.path.exists("/proc/1")
found["uts"] = os.readlink("/proc/self/ns/uts") == sys.argv[2]
for family in [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK]:
    try:
        socket.socket(family, socket.SOCK_DGRAM).close()
        found[f"family {family}"] = True
    except OSError as error:
        found[f"family {family}"] = error.errno
open("/dev/shm/" + sys.argv[1], "w").close()
call("openat2", 437, -100, b"/", ctypes.c_char_p(bytes(24)), 24)
call("landlock", 444, 0, 0, 1)
call("chown", 92, b"/dev/shm/" + sys.argv[1].encode(), os.getuid(), os.getgid())
call("setuid", 105, os.getuid())
call("setpriority", 141, 0, 0, 5)
call("ptrace", 101, 0, 0, 0, 0)
call("personality", 135, 8)
call("unshare", 272, 0x10000000)

def old_call():
    """getpid as 32-bit programs ask for it."""
    code = mmap.mmap(-1, 4096, prot=7)
    code.write(bytes.fromhex("b814000000cd80c3"))
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()

child = os.fork()
if child == 0:
    os._exit(0 if old_call() > 0 else 1)
found["32 bits"] = os.waitpid(child, 0)[1]
json.dump(found, open(f"/run/probes/{sys.argv[1]}", "w"))
'''

# Lines whose reason a step of the walks shows, or which only describe the unit.
WALKED = {
    "Description": "", "Documentation": "", "WantedBy": "first-server.md", "After": "boot", "Wants": "boot",
    "Type": "first-server.md", "ExecStart": "first-server.md", "ExecReload": "a reload", "WatchdogSec": "a killed server",
    "Restart": "a killed server", "RestartSec": "a killed server", "RestartPreventExitStatus": "as installed",
    "TimeoutStopSec": "an upgrade", "KillMode": "a hook ends",
}


def probes(text):
    """Returns the unit's text for the probe with each line left out, by the line; None: the whole."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    kept = [line for line in lines if line.startswith("[") or line.partition("=")[0] not in WALKED]
    tested = [line for line in kept if not line.startswith("[")]
    service = kept.index("[Service]")
    return {left_out: [line for line in kept[service:] if line not in (left_out, "[Install]")] for left_out in [None, *tested]}


def reasons():
    """Returns for each line of the unit what differs without it."""
    text = (ROOT / "usr/lib/systemd/system/ftp-cli.service").read_text()
    write("/opt/probe.py", PROBE)
    (ROOT / "usr/lib/modules/x").mkdir(parents=True, exist_ok=True)
    uts = debian.run("readlink", "/proc/1/ns/uts").stdout.strip()
    debian.run("sh", "-c", "install -d -m 1777 /run/probes; touch /tmp/of-the-system")
    all_probes = probes(text)
    # Each removes what the user has in /dev/shm when it ends, so the one without that line runs last.
    order = sorted(enumerate(all_probes.items()), key=lambda one: one[1][0] == "RemoveIPC=yes")
    for number, (_, lines) in order:
        more = ["Type=oneshot", f"ExecStart=/usr/bin/python3 -B /opt/probe.py {number} {uts}", "ReadWritePaths=/run/probes"]
        write(f"/etc/systemd/system/ftp-probe-{number}.service", "\n".join([*lines, *more, ""]))
    # While another service of the user runs, nothing is removed.
    debian.run("systemctl", "stop", "ftp-cli.socket", "ftp-cli-implicit.socket", "ftp-cli")
    debian.run("systemctl", "daemon-reload")
    found = {}
    for number, (left_out, _) in order:
        debian.run("systemctl", "start", f"ftp-probe-{number}", check=False)
        said = debian.run("cat", f"/run/probes/{number}", check=False).stdout
        found[left_out] = json.loads(said) if said else {"end": debian.show("ExecMainStatus", f"ftp-probe-{number}")}
        # systemd removes it a moment later.
        gone = f"for _ in $(seq 20); do [ -e /dev/shm/{number} ] || exit 0; sleep 0.1; done; exit 1"
        found[left_out]["shared memory"] = debian.run("sh", "-c", gone, check=False).returncode
    debian.run("systemctl", "start", "ftp-cli.socket", "ftp-cli-implicit.socket", "ftp-cli")
    whole = found.pop(None)
    return whole, {line: [name for name in {**whole, **one} if whole.get(name) != one.get(name)] for line, one in found.items()}


def check(steps):
    """Fails if a line has no reason."""
    text = (ROOT / "usr/lib/systemd/system/ftp-cli.service").read_text()
    for name, step in WALKED.items():
        assert re.search(rf"(?m)^{name}=", text), f"{name} is not in the unit"
        assert any(one.startswith(step) for one in steps), f"no step for {name}: {step}"
    whole, without = reasons()
    print(*(f"boot:             {line}: {', '.join(names) or 'NOTHING'}" for line, names in without.items()), sep="\n")
    idle = [line for line, names in without.items() if not names]
    assert not idle, f"without these lines, nothing differs: {idle}"
    needed = {"openat2": ("0",), "landlock": ("0",), "chown": ("0",), "setuid": ("1",), "unshare": ("1",)}
    wrong = {name: whole[name] for name, want in needed.items() if whole[name] not in want}
    assert not wrong, wrong
