"""The cost of processes and their descendants: processor time, memory, system calls."""

import contextlib
import os
import pathlib
import signal
import subprocess
import tempfile
import time

TICK = 1 / os.sysconf("SC_CLK_TCK")
# The kernel stack of each thread, in KiB.
KERNEL_STACK = 16


def tree(top):
    """Returns a process and all its descendants."""
    found, below = [top], {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            below.setdefault(parent, []).append(int(path.parent.name))
    for process in found:
        found.extend(below.get(process, []))
    return found


def processor(top):
    """Returns the seconds of processor time so far, including those of children that have ended."""
    ticks = 0
    for process in tree(top):
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks * TICK


def settle(top, processes):
    """Waits until there are no more processes than before the sessions began, for at most 3 s."""
    end = time.monotonic() + 3
    while len(tree(top)) > processes and time.monotonic() < end:
        time.sleep(0.01)


def _fields(path, *names):
    """Returns the sum of lines such as `Pss: 12 kB`."""
    with contextlib.suppress(OSError):
        lines = pathlib.Path(path).read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.split(":")[0] in names)
    return 0


def memory(top):
    """Returns the memory in KiB: the share of pages (PSS), the page tables, and a kernel stack for each thread."""
    total = 0
    for process in tree(top):
        total += _fields(f"/proc/{process}/smaps_rollup", "Pss")
        total += _fields(f"/proc/{process}/status", "VmPTE")
        total += _fields(f"/proc/{process}/status", "Threads") * KERNEL_STACK
    return total


def _is_traced(process):
    """Returns whether strace is attached to all threads of a process."""
    tasks = pathlib.Path(f"/proc/{process}/task").glob("*/status")
    with contextlib.suppress(OSError):
        return all("TracerPid:\t0\n" not in task.read_text() for task in tasks)
    return False


def _calls(summary):
    """Returns the calls in the last line of `strace -c`: percent, seconds, usecs/call, calls, errors, total."""
    lines = pathlib.Path(summary).read_text().splitlines()
    return int(lines[-1].split()[3]) if lines else 0


# How strace counts. How often threads wait for a lock depends on what else the machine does. And asking for the time
# is a call only while the machine's clock cannot be read without one.
_COUNTING = ["strace", "-f", "-c", "-qq", "-e", "trace=!futex,clock_gettime"]


def calls_of_server(top, work):
    """Counts the system calls that a server and its children make while a function runs."""
    processes = tree(top)
    with tempfile.NamedTemporaryFile() as summary:
        command = [*_COUNTING, "-o", summary.name]
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
    """Counts the system calls that a program and its children make, from exec to the end."""
    with tempfile.NamedTemporaryFile() as summary:
        run([*_COUNTING, "-o", summary.name, *command])
        return _calls(summary.name)
