"""Python's FTP_TLS against one server:

ftplib.py HOST PORT USER PASSWORD CA_FILE VERSION implicit|explicit active|passive SESSIONS

Standard input has a line for each step: verb, local name, remote name, with TAB between.
"""

import ftplib
import os
import ssl
import sys

host, port, user, password, ca_file, version, kind, way, sessions = sys.argv[1:]


class Client(ftplib.FTP_TLS):
    if kind == "implicit":

        def connect(self, host, port):
            real = ftplib.socket.create_connection

            def secure(*arguments, **options):
                return self.context.wrap_socket(real(*arguments, **options), server_hostname=host)

            ftplib.socket.create_connection = secure
            try:
                return super().connect(host, port)
            finally:
                ftplib.socket.create_connection = real

        def login(self, user, password):
            return ftplib.FTP.login(self, user, password)

    if sessions == "resume":

        def ntransfercmd(self, command, rest=None):
            connection, size = ftplib.FTP.ntransfercmd(self, command, rest)
            connection = self.context.wrap_socket(
                connection, server_hostname=self.host, session=self.sock.session)
            return connection, size


context = ssl.create_default_context(cafile=ca_file)
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version.replace(".", "_"))
context.set_alpn_protocols(["ftp"])
ftp = Client(context=context, timeout=20)
ftp.set_debuglevel(1)
ftp.connect(host, int(port))
ftp.login(user, password)
ftp.prot_p()
ftp.set_pasv(way == "passive")
assert ftp.sock.version() == version, ftp.sock.version()


def perform(verb, local, remote):
    if verb == "Put":
        with open(local, "rb") as file:
            return ftp.storbinary(f"STOR {remote}", file)
    if verb == "Get":
        with open(local, "wb") as file:
            return ftp.retrbinary(f"RETR {remote}", file.write)
    if verb == "List":
        return ftp.retrlines("LIST")
    if verb == "Append":
        with open(local, "rb") as file:
            return ftp.storbinary(f"APPE {remote}", file)
    if verb == "ContinuePut":
        ftp.voidcmd("TYPE I")
        there = ftp.size(remote)
        with open(local, "rb") as file:
            file.seek(there)
            return ftp.storbinary(f"STOR {remote}", file, rest=there)
    if verb == "ContinueGet":
        there = os.path.getsize(local)
        with open(local, "ab") as file:
            return ftp.retrbinary(f"RETR {remote}", file.write, rest=there)
    raise AssertionError(verb)


for line in sys.stdin:
    try:
        reply = perform(*line.rstrip("\n").split("\t"))
    except OSError:
        # What the server has to say of it is an error of its own.
        ftp.voidresp()
        raise
    assert reply.startswith("226"), reply
ftp.quit()
