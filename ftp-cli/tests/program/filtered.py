"""Runs a program under the system call filter of a unit: filtered.py UNIT PROGRAM [ARGUMENT...]

Needs libseccomp's module for Python, and systemd-analyze, which knows the groups of calls.
"""

import os
import subprocess
import sys

import seccomp


def groups():
    """Returns the members of each group."""
    run = subprocess.run(["systemd-analyze", "syscall-filter"], stdout=subprocess.PIPE, text=True, check=True)
    found, members = {}, []
    for line in run.stdout.splitlines():
        if line.startswith("@"):
            members = found.setdefault(line, [])
        elif line.startswith("    ") and not line.strip().startswith("#"):
            members.append(line.strip())
    return found


def calls(word, known):
    """Returns the calls that a word of SystemCallFilter means."""
    if not word.startswith("@"):
        return {word}
    return set().union(*(calls(member, known) for member in known[word]))


def allowed(unit):
    known = groups()
    # systemd allows these in every list, to start the program at all.
    result = calls("@default", known) | {"execve"}
    with open(unit, encoding="utf-8") as lines:
        for line in lines:
            key, _, value = line.strip().partition("=")
            if key != "SystemCallFilter":
                continue
            listed = set().union(*(calls(word, known) for word in value.lstrip("~").split()))
            result = result - listed if value.startswith("~") else result | listed
    return result


def main():
    unit, *command = sys.argv[1:]
    filter = seccomp.SyscallFilter(seccomp.ERRNO(1))
    for name in sorted(allowed(unit)):
        try:
            filter.add_rule(seccomp.ALLOW, name)
        except (ValueError, RuntimeError, OSError):
            # A call that this architecture or libseccomp does not know.
            pass
    filter.load()
    os.execvp(command[0], command)


main()
