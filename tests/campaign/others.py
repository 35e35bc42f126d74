"""Actions of the watch with other clients and our server."""

from typing import TYPE_CHECKING

import cuts
from clients import Command, Connection, Curl, Ftplib, Lftp, Order
from model import describe
from outcomes import is_second_try, judge_peer
from place import HOST
from proxy import Plan, Proxy
from trees import held, put

if TYPE_CHECKING:
    from watch import Eyes

NAMES = ("a", "b.bin", "with space", ".dot")
VERBS = ("get", "put", "rename", "delete", "resume", "rmdir")


class Others:
    """The actions of other clients with one server."""

    def act_as(self: "Eyes", client) -> None:
        """Lets another client carry out one action with our server."""
        self.draw()
        verb, name = self.random.choice(VERBS), self.random.choice(NAMES)
        if verb == "resume":
            return self.resume_as_others(name)
        if verb == "rmdir":
            return self.remove_as_others(client if isinstance(client, (Curl, Lftp, Ftplib)) else Curl())
        old, new = self.random.choice([None, self.content()]), self.content()
        if verb in ("get", "rename", "delete"):
            old = self.content()
        put(self.up / name, old)
        to = self.random.choice([other for other in NAMES if other != name])
        put(self.up / to, None)
        put(self.local / "up", new)
        put(self.local / "down", None)
        local = self.seen(self.local / ("up" if verb == "put" else "down"))
        self.subject = (self.up / name, b"RETR" if verb == "get" else b"STOR")
        order = Order(verb, f"/up/{name}", to=f"/up/{to}", local=local)
        plan = self.plan(b"STOR" if verb == "put" else b"RETR")
        user, password = self.server.user, self.server.password
        ran = self.run(
            plan, False,
            lambda proxy: client.command(Connection(HOST, user, password, port=proxy.port), order),
        )  # fmt: skip
        left = self.settle()
        found, moved = held(self.up / name), held(self.up / to)
        files = (old, new), (found, moved), held(self.local / "down")
        what = f"{client.name} {verb} '{name}' with {self.kind.name}, {self.where()}, {ran.struck}, exit {ran.code}"
        others = list(filter(None, self.left_by_others))
        problem = judge_peer(client.name, verb, ran.code, ran.struck, *files, others)
        disk = self.world.disk("client")
        if verb == "get" and disk and not disk.is_free and disk.name in self.world.effects():
            # Not every client looks at the result of `close`.
            problem = None
        if problem and client.name == "lftp" and is_second_try(ran, found):
            self.watch.findings.excuse("second try of lftp", f"{what}: {problem}{ran.shown()}")
            problem = None
        problem = left or (self.unlike_confirmed(ran, name) if verb == "put" else None) or problem
        if ran.code and not ran.struck and not ran.ended.paused and not ran.is_odd:
            problem = problem or "failed without a reason"
        self.watch.findings.count(f"{client.name} {verb}", client.name, "done" if ran.code == 0 else "failed")
        self.report(what, ran, [problem] if problem else [])
        self.fill()
        self.forget_others()

    def remove_as_others(self: "Eyes", client) -> None:
        """Tests that a directory with a file is not removed."""
        put(self.up / "d/f", b"content")
        order = Order("rmdir", "/up/d")
        user, password = self.server.user, self.server.password
        ran = self.run(Plan(), False, lambda proxy: client.command(Connection(HOST, user, password, port=proxy.port), order))
        lost = held(self.up / "d/f") != b"content"
        problem = "the file in it is gone" if lost else "done, although it is not empty" if ran.code == 0 else None
        self.watch.findings.count(f"{client.name} rmdir", client.name)
        self.report(f"{client.name} rmdir with {self.kind.name}, {self.where()}", ran._replace(is_odd=True), [problem] if problem else [])
        self.fill()

    def resume_as_others(self: "Eyes", name: str) -> None:
        """Cuts an upload over a file, lets other programs act, and resumes by own count, by SIZE or by a listing."""
        title, make = self.random.choice(sorted(self.watch.resumers.items()))
        content, old = self.random.randbytes(120_000), self.random.choice([None, self.random.randbytes(15_000), self.content()])
        # ncftpput sends a file under its own name.
        up, target = self.local / "f", self.up / "f"
        put(target, old)
        put(up, content)
        plan = Plan("lost control", self.random.choice([1, 30_000, 119_999]), 0, b"STOR")
        first, again, before = None, None, None

        def order(proxy: Proxy, is_again: bool) -> Command:
            made = make(cuts.Run(proxy.port, self.server.password, self.seen(up), "up/f"), is_again)
            return Command(*made) if made else None

        first = self.run(plan, False, lambda proxy: order(proxy, False))
        left = self.settle()
        before = held(target)
        self.change(target)
        changed, confirmed = held(target), before == content
        second = first if confirmed else self.run(Plan(), False, lambda proxy: order(proxy, True) or order(proxy, False), self.port)
        left = left or self.settle()
        how, problem = cuts.resumed(second.ended, held(target), content, changed, second.dialogue, False)
        problem = left or (problem if not confirmed and (title != "rclone" or held(target)) else None)
        # rclone removes incomplete uploads.
        if not confirmed and before != old and old is not None and title != "rclone":
            problem = f"after the cut: {describe(before)}, must be {describe(old)}"
        self.watch.findings.count(f"{title}: {how}")
        # A client may refuse to resume.
        second = second._replace(is_odd=True)
        self.report(f"{title}, {self.where()}, cut after {plan.at} bytes", second, [problem] if problem else [])
        put(up, None)
        self.fill()
        self.forget_others()
