"""pyftpdlib over one directory, on a free loopback port that is written to a file: serve.py ROOT PORTFILE"""

import os
import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer


class Handler(FTPHandler):
    authorizer = DummyAuthorizer()
    # Names are bytes: what is not UTF-8 goes through unchanged, in replies too.
    unicode_errors = "surrogateescape"

    def push(self, text):
        super(FTPHandler, self).push(text.encode("utf8", "surrogateescape"))


Handler.authorizer.add_user("user", "pass word", sys.argv[1], perm="elradfmwMT")
server = FTPServer(("127.0.0.1", 0), Handler)
with open(sys.argv[2] + ".part", "w") as file:
    print(server.socket.getsockname()[1], file=file)
os.rename(sys.argv[2] + ".part", sys.argv[2])
server.serve_forever()
