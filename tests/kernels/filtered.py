"""Runs a program without some system calls: filtered.py ERRNO CALL,CALL,... PROGRAM [ARGUMENT...]

Needs libseccomp's module for Python. O_TMPFILE stands for the flag of openat.
"""

import errno
import os
import sys

import seccomp

# Calls that Debian 12's libseccomp does not know. The numbers are the same on all processors.
NUMBERS = {"fchmodat2": 452, "futex_waitv": 449}
O_TMPFILE = 0o20200000


def main():
    code, calls, *command = sys.argv[1:]
    filter = seccomp.SyscallFilter(seccomp.ALLOW)
    for name in calls.split(","):
        if name == "O_TMPFILE":
            # Kernels without the flag open the directory for writing, which fails.
            flag = seccomp.Arg(2, seccomp.MASKED_EQ, O_TMPFILE, O_TMPFILE)
            filter.add_rule(seccomp.ERRNO(errno.EISDIR), "openat", flag)
            continue
        filter.add_rule(seccomp.ERRNO(int(code)), NUMBERS.get(name, name))
    filter.load()
    os.execvp(command[0], command)


main()
