"""Carries out one order with Python's ftplib: ftplib_client.py HOST PORT SOURCE USER CA MODE VERB PATH TO LOCAL RATE

The password is in FTP_PASSWORD. Exit status: 0 if the server confirmed everything, otherwise 1.
"""

import ftplib
import os
import ssl
import sys
import time

TIMEOUT, BLOCK = 12, 16384


class Slow:
    """A file that is read or written at this number of bytes per second (0: as fast as possible)."""

    def __init__(self, file, rate: int) -> None:
        self.file, self.rate = file, rate

    def wait(self, data: bytes) -> bytes:
        if self.rate:
            time.sleep(len(data) / self.rate)
        return data

    def read(self, size: int) -> bytes:
        return self.wait(self.file.read(size))

    def write(self, data: bytes) -> None:
        self.file.write(self.wait(data))


def connected(host, port, source, user, authority, mode):
    if authority:
        context = ssl.create_default_context(cafile=authority)
        ftp = ftplib.FTP_TLS(timeout=TIMEOUT, source_address=(source, 0), context=context, encoding="utf-8")
    else:
        ftp = ftplib.FTP(timeout=TIMEOUT, source_address=(source, 0), encoding="utf-8")
    ftp.connect(host, int(port))
    ftp.login(user, os.environ["FTP_PASSWORD"])
    if authority:
        ftp.prot_p()
    ftp.set_pasv(mode == "passive")
    return ftp


def carry_out(ftp, verb, path, to, local, rate):
    if verb in ("get", "resume"):
        with open(local, "wb" if verb == "get" else "ab") as file:
            rest = file.tell() if verb == "resume" else None
            ftp.retrbinary(f"RETR {path}", Slow(file, rate).write, BLOCK, rest)
    elif verb in ("put", "append", "continue"):
        with open(local, "rb") as file:
            rest = None
            if verb == "continue":
                ftp.voidcmd("TYPE I")
                rest = ftp.size(path)
                file.seek(rest)
            command = "APPE" if verb == "append" else "STOR"
            ftp.storbinary(f"{command} {path}", Slow(file, rate), BLOCK, rest=rest)
    elif verb == "list":
        for name, _ in ftp.mlsd(path):
            print(name)
    elif verb == "rename":
        ftp.rename(path, to)
    else:
        {"delete": ftp.delete, "mkdir": ftp.mkd, "rmdir": ftp.rmd}[verb](path)


def main():
    host, port, source, user, authority, mode, verb, path, to, local, rate = sys.argv[1:]
    try:
        ftp = connected(host, port, source, user, authority, mode)
        carry_out(ftp, verb, path, to, local, int(rate))
    except (*ftplib.all_errors, ValueError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
    try:
        ftp.quit()
    except ftplib.all_errors:
        # The transfer is already confirmed. A message would count as a name of a listing.
        pass


main()
