"""Twisted's FTP server over one directory: serve.py HOST PORT ROOT"""

import sys

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.protocols.ftp import BaseFTPRealm, FTPFactory
from twisted.python.filepath import FilePath

host, port, root = sys.argv[1:]


class Realm(BaseFTPRealm):
    def getHomeDirectory(self, avatar):
        return FilePath(root)


users = InMemoryUsernamePasswordDatabaseDontUse()
users.addUser("user", "pass word")
reactor.listenTCP(int(port), FTPFactory(Portal(Realm("/proc/none"), [users])), interface=host)
reactor.run()
