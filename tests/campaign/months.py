"""Months in minutes: a camera moves the server's clock on by a minute with each picture; then the clock passes dates
that break programs.

The faked clock is the one for logs, listings, certificates, accounts and unfinished uploads. Timeouts and bans use the
other one, which stays real: a change to the date must not affect them.
"""

import calendar
import ftplib
import io
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import time

import camera
from findings import Findings, say
from place import CONTROL, HOST, IMPLICIT, Authority, Place, ending_with_us, run
from server import HIDDEN, Figures, Server

DAY = 86_400
# The time of the first picture.
BEGIN = "2027-02-10T00:00:00Z"
# The day of the camera's life on which the certificate is renewed, and the day after which it would have ended.
RENEWED, ENDS = 20, 25
# The first day on which the second account is no longer accepted.
EXPIRED = 10
# The server is restarted after each period of this many days, and after the last day.
RESTART = 7
# Maximum growth of the server's memory in a period, in KiB.
GROWTH = 4_096
# Days whose pictures are kept on the server.
KEPT_DAYS = 2
# The address of a host that tries wrong passwords, how many, and the seconds of its ban. Loopback is never banned.
STRANGER, WRONG_PASSWORDS, BAN = "198.51.100.66", 4, 8.0
# A confined session cannot read the file with the clock.
NO_CONFINEMENT = "security.confine=off"
# Seconds within which the server must notice a change on its disk.
NOTICED = 20.0

# Dates at which programs break: name, time zone of the server, and the time of the change.
EDGES = (
    ("summer time begins", "Europe/Berlin", "2026-03-29T01:00:00Z"),
    ("summer time ends", "Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("a leap day begins", "UTC", "2028-02-29T00:00:00Z"),
    ("a leap day ends", "UTC", "2028-03-01T00:00:00Z"),
    ("a year ends", "Pacific/Kiritimati", "2028-01-01T00:00:00Z"),
    ("32 bits with a sign end", "UTC", "2038-01-19T03:14:08Z"),
    ("a certificate needs four digits for the year", "UTC", "2050-01-01T00:00:00Z"),
    ("a year without a leap day", "UTC", "2100-03-01T00:00:00Z"),
    ("32 bits without a sign end", "UTC", "2106-02-07T06:28:16Z"),
)
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def seconds(stamp: str) -> int:
    """Returns the seconds since 1970 of a time in UTC."""
    return calendar.timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ"))


def stamp(when: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))


def digits(when: float) -> str:
    """Returns a time as MDTM and MFMT write it."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(when))


def log_in(address: str, user: str, password: str) -> str:
    """Logs in from an address, and returns the last reply."""
    try:
        with ftplib.FTP(timeout=20, source_address=(address, 0)) as session:
            session.connect(HOST, CONTROL)
            return session.login(user, password)
    except (ftplib.Error, EOFError) as error:
        return str(error)


def serial_of() -> int:
    """Returns the serial number of the certificate that the server shows. It may not be valid in reality."""
    context = ssl._create_unverified_context()
    with socket.create_connection((HOST, IMPLICIT), timeout=20) as connection:
        with context.wrap_socket(connection) as secure:
            certificate = secure.getpeercert(binary_form=True)
    command = ["openssl", "x509", "-inform", "DER", "-noout", "-serial"]
    said = subprocess.run(command, input=certificate, capture_output=True, check=True).stdout
    return int(said.decode().strip().partition("=")[2], 16)


class Months:
    """A run: the life of a camera, the end of a certificate, and the dates."""

    def __init__(self, program: str, place: Place, days: int) -> None:
        self.program, self.place, self.days = program, place, days
        self.findings = Findings("months")
        self.authority = Authority(place.path / "months.pem", "2010-01-01 00:00:00", 60_000)
        self._issued = 0

    def run(self) -> Findings:
        self.live()
        self.ban()
        self.end_of_certificate()
        for edge in EDGES:
            self.edge(*edge)
        return self.findings

    def server(self, users: dict[str, str], when: str, *settings: str, zone: str = "UTC") -> Server:
        server = Server(self.program, self.place, users, 0, settings, {"TZ": zone})
        self.set_clock(server, seconds(when))
        return server

    def install(self, server: Server, begin: str, days: int) -> int:
        """Installs a new certificate, and returns its serial number."""
        self._issued += 1
        files = self.place.path / "issued.pem", self.place.path / "issued.key"
        self.authority.issue(self._issued, *files, begin.rstrip("Z").replace("T", " "), days)
        server.install(*files)
        return self._issued

    @staticmethod
    def set_clock(server: Server, when: float) -> None:
        server.set_clock(when - time.time())

    def environment(self, server: Server, user: str, **more: str) -> dict[str, str]:
        """Returns the environment of a client that has the server's clock."""
        return dict(os.environ, **server.faketime(), FTP_PASSWORD=server.passwords[user], **more)

    # The life of a camera.

    def live(self) -> None:
        users = {"cam": "resume", "guest": "resume"}
        settings = ("tls.watch=1 s", NO_CONFINEMENT)
        begin = seconds(BEGIN)
        server = self.server(users, stamp(begin - 60), *settings)
        server.configure("Service ready", f'expires = "{stamp(begin + (EXPIRED - 1) * DAY)[:10]}"\n')
        self.install(server, "2027-02-01T00:00:00Z", 9 + ENDS)
        server.start()
        command = [*ending_with_us("KILL"), sys.executable, "-B", camera.__file__, HOST, str(CONTROL),
            str(server.clock), str(begin), "cam", str(self.authority.file), str(self.days)]  # fmt: skip
        life = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=self.environment(server, "cam"))  # fmt: skip
        last = 0
        for day in range(self.days):
            line = life.stdout.readline()
            if not line:
                break
            self.check_day(server, json.loads(line))
            last = self.check_log(server, day, last)
            self.look_at_guest(server, day)
            if day == RENEWED:
                serial = self.install(server, stamp(begin + day * DAY), 90)
                self.wait_for(lambda: serial_of() == serial, "the new certificate is not shown")
            self.forget(day - KEPT_DAYS)
            # The hourly session is open both times.
            is_restart = day % RESTART == RESTART - 1 or day == self.days - 1
            if day % RESTART == 0:
                before = server.figures()
            if is_restart:
                self.restart(server, day, before)
            life.stdin.write("restarted\n" if is_restart else "next\n")
            life.stdin.flush()
        if life.wait(30) != 0:
            self.findings.add(f"the camera ended: exit {life.returncode}")
        self.end(server)
        counts = self.findings.counts
        say(f"months: {self.days} days, {counts['picture']} pictures, {counts['restart']} restarts")

    def check_day(self, server: Server, told: dict) -> None:
        """Compares the files of a day with what the camera sent."""
        day, minutes = told["day"], camera.MINUTES
        for failure in told["failures"]:
            self.findings.add(failure)
        self.findings.count(*["picture"] * told["sent"])
        directory = self.place.root / f"{day:02}"
        wanted = {f"{minute:04}.jpg": camera.picture(day, minute) for minute in range(minutes)}
        wanted |= {f"hour-{hour:02}.jpg": camera.picture(day, hour * 60) for hour in range(minutes // 60)}
        found = {path.name: path for path in directory.iterdir() if not path.name.startswith(HIDDEN)}
        odd = [name for name in wanted.keys() | found.keys()
            if name not in found or found[name].read_bytes() != wanted.get(name)]  # fmt: skip
        if odd:
            self.findings.add(f"day {day}: {len(odd)} files differ: {sorted(odd)[:5]}")
        # The record has the times of the server's clock, which is faked.
        cut = seconds(BEGIN) + day * DAY + camera.CUT * 60
        whens = [record.when - cut for record in server.records() if record.bytes.parent == directory]
        if len(whens) != 1 or not 0 <= whens[0] <= 60:
            self.findings.add(f"day {day}: a record of the upload that was cut, seconds after its time: {whens}")

    def check_log(self, server: Server, day: int, last: int) -> int:
        """Rotates the log, and checks the lines of a day. `last` is the latest time before; returns the latest time."""
        rotated = server.log.with_name(f"server.log.{day}")
        server.log.rename(rotated)
        if server.reload() == "nothing":
            self.findings.add(f"day {day}: the log was not reopened")
        lines = rotated.read_text().splitlines()
        stored = sum(" verb=STOR " in line and " reply=226" in line for line in lines)
        wanted = camera.MINUTES + camera.MINUTES // 60
        if stored != wanted:
            self.findings.add(f"day {day}: the log has {stored} uploads of {wanted}")
        for line in lines:
            now = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z ", line)
            # Two threads can log around a step of the clock, which is a minute.
            if not now or seconds(f"{now[1]}Z") < last - 60:
                self.findings.add(f"day {day}: the time of a log line: {line[:120]!r} after {stamp(last)}")
                break
            last = max(last, seconds(f"{now[1]}Z"))
        rotated.unlink()
        return last

    def look_at_guest(self, server: Server, day: int) -> None:
        """Checks that the second account is accepted until its last day."""
        # The camera has set the clock to the end of its day.
        wanted, said = "230" if day < EXPIRED else "530", log_in(HOST, "guest", server.passwords["guest"])
        if not said.startswith(wanted):
            self.findings.add(f"day {day}: guest: {said}; must be {wanted}")

    def restart(self, server: Server, day: int, before: Figures) -> None:
        """Ends the server and starts it, as an upgrade does. `before` is what it held on the first day."""
        def is_at_rest(now: Figures) -> bool:
            return (now.descriptors <= before.descriptors and now.threads <= before.threads
                and now.kib <= before.kib + GROWTH)  # fmt: skip

        # The last session may still be ending.
        if not self.comes(lambda: is_at_rest(server.figures())):
            after = server.figures()
            self.findings.add(f"day {day}: the server holds {after}; before, {before}; {after.open - before.open}")
        self.end(server)
        server.start()
        self.findings.count("restart")
        now = seconds(BEGIN) + (day + 1) * DAY
        stale = lambda: [record for record in server.records() if record.until < now and record.bytes.exists()]
        self.wait_for(lambda: not stale(), "unfinished uploads of earlier days remain after the start")
        if not server.bytes_left():
            self.findings.add(f"day {day}: the start removed the unfinished upload of the same day")

    def end(self, server: Server) -> None:
        status = server.stop()
        if status != 0:
            self.findings.add(f"the server ended with {status}")

    def forget(self, day: int) -> None:
        """Removes the pictures of a day, as a NAS does. Unfinished uploads stay."""
        directory = self.place.root / f"{day:02}"
        if directory.exists():
            for path in directory.iterdir():
                if not path.name.startswith(HIDDEN):
                    path.unlink()

    def wait_for(self, is_so, otherwise: str) -> None:
        if not self.comes(is_so):
            self.findings.add(otherwise)

    def comes(self, is_so) -> bool:
        """Waits until this is so. Returns whether it was so in time."""
        end = time.monotonic() + NOTICED
        while not is_so():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    # A ban.

    def ban(self) -> None:
        """Checks that a ban neither ends nor becomes longer because the date changes."""
        run("ip", "address", "add", f"{STRANGER}/32", "dev", "lo")
        lasting = f"limits.ban_for={BAN:.0f} s"
        server = self.server({"cam": "resume"}, BEGIN, NO_CONFINEMENT, "limits.ban_after=3", lasting)
        self.install(server, BEGIN, 30)
        server.start()
        begun = time.monotonic()
        for _ in range(WRONG_PASSWORDS):
            log_in(STRANGER, "cam", "wrong")
        for ahead in (0, 2 * 3_600, 40 * DAY, -40 * DAY):
            self.set_clock(server, seconds(BEGIN) + ahead)
            said = log_in(STRANGER, "cam", server.passwords["cam"])
            if time.monotonic() < begun + BAN and not said.startswith("421"):
                self.findings.add(f"a ban ended when the clock was moved by {ahead} s: {said}")
        said = log_in(HOST, "cam", server.passwords["cam"])
        if not said.startswith("230"):
            self.findings.add(f"another host is banned too: {said}")
        is_over = lambda: log_in(STRANGER, "cam", server.passwords["cam"]).startswith("230")
        self.wait_for(is_over, "a ban does not end after the clock was set back")
        self.end(server)
        say("months: a ban")

    # The end of a certificate.

    def end_of_certificate(self) -> None:
        begin = "2027-05-01T00:00:00Z"
        server = self.server({"cam": "resume"}, begin, "tls.watch=1 s", NO_CONFINEMENT)
        self.install(server, begin, 30)
        server.start()
        self.expect_get(server, 0, "before the end of the certificate")
        session = ftplib.FTP(timeout=20)
        session.connect(HOST, CONTROL)
        session.login("cam", server.passwords["cam"])
        self.set_clock(server, seconds(begin) + 31 * DAY)
        self.expect_get(server, 5, "after the end of the certificate", "expired")
        # What needs no certificate goes on.
        session.storbinary("STOR after-the-end", io.BytesIO(b"content"))
        session.quit()
        said = self.check(server)
        if "expired" not in said:
            self.findings.add(f"serve --check does not report the end of the certificate: {said}")
        serial = self.install(server, stamp(seconds(begin) + 31 * DAY), 30)
        self.wait_for(lambda: serial_of() == serial, "the new certificate is not shown")
        self.expect_get(server, 0, "after the renewal")
        self.end(server)
        say("months: end of a certificate")

    def ours(self, server: Server, *words: str) -> subprocess.CompletedProcess:
        """Runs our client with the server's clock."""
        command = [self.program, *words]
        local = self.place.local
        environment = self.environment(server, "cam", SSL_CERT_FILE=str(self.authority.file), HOME=str(local))
        return subprocess.run(command, env=environment, cwd=local, capture_output=True, text=True, timeout=60)

    def expect_get(self, server: Server, code: int, when: str, word: str = "") -> None:
        (self.place.root / "page").write_bytes(b"content")
        said = self.ours(server, "get", f"ftpes://cam@localhost:{CONTROL}/page", "-")
        is_right = said.returncode == code and word in said.stderr and (code or said.stdout == "content")
        if not is_right:
            output = f"{said.stdout!r} {said.stderr.strip()!r}"
            self.findings.add(f"get {when}: exit {said.returncode}, must be {code}: {output}")

    def check(self, server: Server) -> str:
        said = self.ours(server, "serve", "--check", "--config", str(self.place.path / "server.toml"))
        return said.stdout + said.stderr

    # Dates.

    def edge(self, name: str, zone: str, when: str) -> None:
        """Uses the server from half a minute before a date until after it."""
        change = seconds(when)
        server = self.server({"cam": "resume"}, when, NO_CONFINEMENT, zone=zone)
        self.set_clock(server, change - 30)
        self.install(server, "2020-01-01T00:00:00Z", 50_000)
        server.start()
        session = ftplib.FTP(timeout=20)
        session.connect(HOST, CONTROL)
        session.login("cam", server.passwords["cam"])
        begin = server.log.stat().st_size if server.log.exists() else 0
        for offset in (-30, -1, 0, 1, 30, -1):
            # The last step is a clock that is set back, as after a leap second.
            self.set_clock(server, change + offset)
            for problem in self.problems(server, session, change + offset):
                self.findings.add(f"{name}, {offset:+d} s: {problem}")
        session.quit()
        self.expect_get(server, 0, f"when {name}")
        is_near = lambda now: stamp(change - 31) <= re.sub(r"\.\d+", "", now) <= stamp(change + 90)
        lines = server.log.read_bytes()[begin:].decode().splitlines()
        odd = [line for line in lines if not is_near(line.split(" ", 1)[0])]
        if odd or not lines:
            self.findings.add(f"{name}: the time of {len(odd)} log lines of {len(lines)}, such as {odd[:1]}")
        self.end(server)
        self.findings.count("date")
        say(f"months: {name} ({when}, {zone})")

    def problems(self, server: Server, session: ftplib.FTP, now: int) -> list[str]:
        """Stores a file, gives it the time `now`, and compares what the server then says of it."""
        found, there, here = [], self.place.root / "dates", self.place.local / "dates"
        there.mkdir(exist_ok=True)
        here.mkdir(exist_ok=True)
        session.storbinary("STOR dates/file", io.BytesIO(b"content"))
        said = [session.sendcmd(f"MFMT {digits(now)} dates/file"), session.sendcmd("MDTM dates/file")]
        if digits(now) not in said[0] or said[1] != f"213 {digits(now)}":
            found.append(f"MFMT and MDTM: {said}")
        facts = dict(session.mlsd("dates"))["file"]
        if facts.get("modify") != digits(now):
            found.append(f"MLSD: {facts}")
        lines: list[str] = []
        session.dir("dates", lines.append)
        # A file of the last half year is shown with the time of day, not with the year.
        today = time.gmtime(now)
        shown = f"{MONTHS[today.tm_mon - 1]} {today.tm_mday:02} {today.tm_hour:02}:{today.tm_min:02} file"
        if not (lines and lines[0].endswith(shown)):
            found.append(f"LIST: {lines}; must end with {shown!r}")
        url = f"ftp://cam@localhost:{CONTROL}/dates/"
        said = self.ours(server, "get", "--preserve", "-o", str(here / "file"), f"{url}file")
        kept = int((here / "file").stat().st_mtime) if (here / "file").exists() else None
        if said.returncode or kept != now:
            found.append(f"get --preserve: exit {said.returncode}, time {kept}: {said.stderr.strip()!r}")
        said = self.ours(server, "mirror", "--dry-run", url, str(here))
        if said.returncode or "file" in said.stdout:
            found.append(f"mirror finds a difference: exit {said.returncode}: {(said.stdout + said.stderr).strip()!r}")
        return found
