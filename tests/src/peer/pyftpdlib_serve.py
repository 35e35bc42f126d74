"""pyftpdlib over one directory: serve.py HOST PORT ROOT [by-default | PEM implicit|explicit VERSION]"""

import sys

from pyftpdlib import handlers
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.servers import FTPServer

host, port, root, *tls = sys.argv[1:]


class Bytes:
    """Names are bytes: what is not UTF-8 goes through unchanged, in replies too."""

    authorizer = DummyAuthorizer()
    unicode_errors = "surrogateescape"

    def push(self, text):
        super(handlers.FTPHandler, self).push(text.encode("utf8", "surrogateescape"))


if tls == ["by-default"]:

    class Handler(handlers.FTPHandler):
        authorizer = DummyAuthorizer()

elif not tls:

    class Handler(Bytes, handlers.FTPHandler):
        pass

else:
    from OpenSSL import SSL

    pem, kind, version = tls

    class Handler(Bytes, handlers.TLS_FTPHandler):
        certfile = keyfile = pem

        @classmethod
        def get_ssl_context(cls):
            context = super().get_ssl_context()
            versions = {"TLSv1.2": SSL.TLS1_2_VERSION, "TLSv1.3": SSL.TLS1_3_VERSION}
            if version in versions:
                context.set_min_proto_version(versions[version])
                context.set_max_proto_version(versions[version])
            return context

    if kind == "implicit":

        class Handler(Handler):
            # The handshake comes first, then the greeting.
            def handle(self):
                self.secure_connection(self.ssl_context)

            def handle_ssl_established(self):
                self._prot = True
                super().handle()


Handler.authorizer.add_user("user", "pass word", root, perm="elradfmwMT")
FTPServer((host, int(port)), Handler).serve_forever()
