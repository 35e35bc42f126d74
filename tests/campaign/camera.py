"""A camera that uploads a picture each minute of its own clock: camera.py HOST PORT CLOCK BEGIN USER CA DAYS

The program runs under faketime, which reads its clock from the file CLOCK, as the server does. Before each picture it
sets that clock to the next minute. BEGIN is the time of the first minute in seconds since 1970, and the password is in
FTP_PASSWORD. After each day the program prints a line of JSON, and waits for a line.
"""

import ftplib
import io
import json
import os
import pathlib
import select
import ssl
import sys
import time

MINUTES = 1_440
# One picture in this number is sent under TLS, in a session of its own.
PROTECTED = 20
# The minute at which the camera loses its power during an upload.
CUT = 780
TIMEOUT = 20


def picture(day: int, minute: int) -> bytes:
    """Returns the content of a picture; the lengths differ."""
    return f"picture {day}/{minute}\n".encode() * (1 + minute % 40)


class Clock:
    """The clock of the server and of this program: seconds after the real time, in a file."""

    def __init__(self, file: pathlib.Path) -> None:
        self._file = file
        # This clock is real. The other one shows the faked time, so their difference includes the offset.
        self._real = time.time() - time.monotonic() - float(file.read_text())

    def set(self, wanted: float) -> None:
        written = self._file.with_suffix(".camera")
        written.write_text(f"{wanted - self._real - time.monotonic():+.3f}")
        written.rename(self._file)


class Camera:
    def __init__(self, host: str, port: str, user: str, authority: str) -> None:
        self.host, self.port, self.user = host, int(port), user
        self.context = ssl.create_default_context(cafile=authority)
        self.hourly = None
        self.failures: list[str] = []

    def session(self, protected: bool) -> ftplib.FTP:
        ftp = ftplib.FTP_TLS(timeout=TIMEOUT, context=self.context) if protected else ftplib.FTP(timeout=TIMEOUT)
        ftp.connect(self.host, self.port)
        ftp.login(self.user, os.environ["FTP_PASSWORD"])
        if protected:
            ftp.prot_p()
        return ftp

    def send(self, day: int, minute: int) -> bool:
        """Uploads a picture in a session of its own."""
        try:
            ftp = self.session(minute % PROTECTED == 0)
            ftp.storbinary(f"STOR {day:02}/{minute:04}.jpg", io.BytesIO(picture(day, minute)))
            ftp.quit()
            return True
        except ftplib.all_errors as error:
            self.failures.append(f"day {day}, minute {minute}: {type(error).__name__}: {error}")
            return False

    def send_hourly(self, day: int, minute: int) -> bool:
        """Uploads a picture in the session that stays open for days, under TLS."""
        try:
            if self.hourly is None:
                self.hourly = self.session(True)
            self.hourly.storbinary(f"STOR {day:02}/hour-{minute // 60:02}.jpg", io.BytesIO(picture(day, minute)))
            return True
        except ftplib.all_errors as error:
            self.failures.append(f"day {day}, hour {minute // 60}: {type(error).__name__}: {error}")
            self.hourly = None
            return False

    def lose_power(self, day: int) -> None:
        """Leaves a half upload on the server. `time.sleep` does not work under faketime."""
        ftp = self.session(False)
        # In type ASCII, the server keeps no bytes.
        ftp.voidcmd("TYPE I")
        with ftp.transfercmd(f"STOR {day:02}/cut.jpg") as data:
            data.sendall(b"half a picture")
            # The server has the bytes before the control connection ends.
            select.select([], [], [], 0.05)
            ftp.close()
        select.select([], [], [], 0.05)


def main() -> None:
    host, port, clock, begin, user, authority, days = sys.argv[1:]
    clock, camera = Clock(pathlib.Path(clock)), Camera(host, port, user, authority)
    for day in range(int(days)):
        sent = 0
        for minute in range(MINUTES):
            clock.set(int(begin) + (day * MINUTES + minute) * 60)
            if minute == 0:
                with camera.session(False) as ftp:
                    ftp.mkd(f"{day:02}")
            sent += camera.send(day, minute)
            if minute % 60 == 0:
                sent += camera.send_hourly(day, minute)
            if minute == CUT:
                camera.lose_power(day)
        print(json.dumps({"day": day, "sent": sent, "failures": camera.failures}), flush=True)
        camera.failures = []
        if sys.stdin.readline() == "restarted\n":
            camera.hourly = None


if __name__ == "__main__":
    main()
