"""pyftpdlib over one directory: serve.py HOST PORT ROOT"""

import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

host, port, root = sys.argv[1:]


class Handler(FTPHandler):
    authorizer = DummyAuthorizer()
    # Names are bytes: what is not UTF-8 goes through unchanged, in replies too.
    unicode_errors = "surrogateescape"

    def push(self, text):
        super(FTPHandler, self).push(text.encode("utf8", "surrogateescape"))


Handler.authorizer.add_user("user", "pass word", root, perm="elradfmwMT")
FTPServer((host, int(port)), Handler).serve_forever()
