"""What processes cost, with all below them: time of the processor, memory, system calls."""

import contextlib
import os
import pathlib
import signal
import subprocess
import tempfile
import time

TICK = 1 / os.sysconf("SC_CLK_TCK")
# What the kernel keeps for each thread, in KiB.
KERNEL_STACK = 16


def tree(top):
    """A process and all below it."""
    found, below = [top], {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            below.setdefault(parent, []).append(int(path.parent.name))
    for process in found:
        found.extend(below.get(process, []))
    return found


def processor(top):
    """Seconds of the processor so far, with those of children that have ended."""
    ticks = 0
    for process in tree(top):
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks * TICK


def settle(top, processes):
    """Waits until no more processes are left than there were before sessions began."""
    end = time.monotonic() + 3
    while len(tree(top)) > processes and time.monotonic() < end:
        time.sleep(0.01)


def _fields(path, *names):
    """The sum of lines such as `Pss: 12 kB`."""
    with contextlib.suppress(OSError):
        lines = pathlib.Path(path).read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.split(":")[0] in names)
    return 0


def memory(top):
    """KiB: the share of pages (PSS), and what the kernel keeps: page tables, a stack for each thread."""
    total = 0
    for process in tree(top):
        total += _fields(f"/proc/{process}/smaps_rollup", "Pss")
        total += _fields(f"/proc/{process}/status", "VmPTE")
        total += _fields(f"/proc/{process}/status", "Threads") * KERNEL_STACK
    return total


def _is_traced(process):
    """Whether strace has all threads of a process."""
    tasks = pathlib.Path(f"/proc/{process}/task").glob("*/status")
    with contextlib.suppress(OSError):
        return all("TracerPid:\t0\n" not in task.read_text() for task in tasks)
    return False


def _calls(summary):
    """The number in the last line of `strace -c`: percent, seconds, usecs/call, calls, errors, total."""
    lines = pathlib.Path(summary).read_text().splitlines()
    return int(lines[-1].split()[3]) if lines else 0


def calls_of_server(top, work):
    """How many system calls a server and its children make while a function runs."""
    processes = tree(top)
    with tempfile.NamedTemporaryFile() as summary:
        command = ["strace", "-f", "-c", "-qq", "-o", summary.name]
        for process in processes:
            command += ["-p", str(process)]
        strace = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            while not all(map(_is_traced, processes)):
                if strace.poll() is not None:
                    raise OSError(f"strace: {strace.stderr.read().strip()}")
                time.sleep(0.01)
            work()
            settle(top, len(processes))
        finally:
            if strace.poll() is None:
                strace.send_signal(signal.SIGINT)
            strace.communicate()
        return _calls(summary.name)


def calls_of_program(command, run):
    """How many system calls a program makes from its exec to its end, its children included."""
    with tempfile.NamedTemporaryFile() as summary:
        run(["strace", "-f", "-c", "-qq", "-o", summary.name, *command])
        return _calls(summary.name)
