"""A pyftpdlib server in a world that is not tame: world_server.py HOST PORT ROOT SWITCHES

SWITCHES is a JSON object:

    fold    how names are one: "case", "normal" (NFC and NFD), "dots" (dots and blanks at the end), or "cut" (8 characters)
    lacks   commands that the server does not have
    fails   replies to the first uses of commands, {"RNTO": ["450 Not now"]}; each is used once in the life of the server
    loses   commands whose first use is executed, but the connection ends in place of the reply
    sealed  names of directories that cannot be listed
    late    seconds after which a second success follows each 226; null: just before the reply to the next command
    zone    hours between UTC and the times in replies to LIST; other times are in UTC
    grain   seconds to which all times are rounded down, as on FAT
    untimed true: MFMT reports success, and sets no time
"""

import json
import os
import pathlib
import sys
import time
import unicodedata

from pyftpdlib import filesystems, handlers
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.servers import FTPServer

host, port, root, switches = sys.argv[1:]
SWITCHES = json.loads(switches)
FOLDS = {
    "": lambda name: name,
    "case": str.casefold,
    "normal": lambda name: unicodedata.normalize("NFC", name),
    "dots": lambda name: name.rstrip(". "),
    "cut": lambda name: name[:8],
}
AGAIN = "250 Done, and said again.\r\n"
fold = FOLDS[SWITCHES.get("fold", "")]
if "zone" in SWITCHES:
    # POSIX counts west of Greenwich as positive.
    minutes = round(abs(SWITCHES["zone"]) * 60)
    os.environ["TZ"] = f"<here>{'-' if SWITCHES['zone'] > 0 else ''}{minutes // 60}:{minutes % 60:02}"
    time.tzset()


def rounded(found):
    grain = SWITCHES.get("grain")
    return os.stat_result((*found[:8], found[8] // grain * grain, found[9])) if grain else found


class Folding(filesystems.AbstractedFS):
    """A file system that takes two spellings for one name."""

    def ftp2fs(self, path):
        found = pathlib.Path(self.root)
        for name in self.ftpnorm(path).strip("/").split("/"):
            if not name:
                continue
            there = os.listdir(found) if found.is_dir() else []
            # A new name is stored as given where the file system only compares in another way.
            new = fold(name) if SWITCHES.get("fold") in ("dots", "cut") else name
            found /= next((one for one in there if fold(one) == fold(name)), new)
        return str(found)

    def listdir(self, path):
        if os.path.basename(path) in SWITCHES.get("sealed", ()):
            raise PermissionError(13, "Permission denied")
        return super().listdir(path)

    def format_list(self, basedir, listing, ignore_err=True):
        # The first line decides for all.
        self.cmd_channel.use_gmt_times = "zone" not in SWITCHES
        yield from super().format_list(basedir, listing, ignore_err)

    def format_mlsx(self, *rest, **more):
        self.cmd_channel.use_gmt_times = True
        yield from super().format_mlsx(*rest, **more)

    def stat(self, path):
        return rounded(super().stat(path))

    def lstat(self, path):
        return rounded(super().lstat(path))

    def getmtime(self, path):
        return self.stat(path).st_mtime

    def utime(self, path, timeval):
        if not SWITCHES.get("untimed"):
            super().utime(path, timeval)


class Handler(handlers.FTPHandler):
    authorizer = DummyAuthorizer()
    abstracted_fs = Folding
    proto_cmds = {
        verb: about for verb, about in handlers.FTPHandler.proto_cmds.items() if verb not in SWITCHES.get("lacks", ())
    }

    is_lost, is_said_again = False, False

    def pre_process_command(self, line, cmd, arg):
        if self.is_said_again:
            self.is_said_again = False
            self.push(AGAIN)
        self.use_gmt_times = True
        replies = SWITCHES.get("fails", {}).get(cmd)
        if replies:
            return self.respond(replies.pop(0))
        if cmd in SWITCHES.get("loses", ()):
            SWITCHES["loses"].remove(cmd)
            self.is_lost = True
        return super().pre_process_command(line, cmd, arg)

    def respond(self, resp, logfun=handlers.logger.debug):
        if self.is_lost:
            return self.close()
        super().respond(resp, logfun)
        if "late" in SWITCHES and resp.startswith("226"):
            if SWITCHES["late"] is None:
                self.is_said_again = True
            else:
                self.ioloop.call_later(SWITCHES["late"], self.push, AGAIN)


Handler.authorizer.add_user("user", "pass word", root, perm="elradfmwMT")
FTPServer((host, int(port)), Handler).serve_forever()
