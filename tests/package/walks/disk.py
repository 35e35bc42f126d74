"""A disk that answers nothing, as a network mount whose server is away: at each place that the settings name, in each
phase of the server's life. The others are served, the watchdog is fed, and a stop ends in time.
"""

import contextlib
import ftplib
import io
import os
import subprocess
import time

from debian import ROOT, at_last, configure, debian, directory, drop_in, restart, write

HASH = '\npassword = "HASH"\n'
DEAD = f'[users.dead]{HASH}root = "/srv/dead/root"\nrights = "full"\n'
# What of the settings is on the disk.
PLACES = {
    "a root": DEAD,
    "a mounted directory": f'[users.dead]{HASH}root = "/srv/anna"\nmounts = {{ "/m" = "/srv/dead/root" }}\nrights = "full"\n',
    "the transfer log": '[log]\ntransfers = "/srv/dead/xferlog"\n',
    "the log": '[log]\ntarget = "file:/srv/dead/log"\n',
    "the spool": '[hooks]\nstored = ["/usr/local/bin/ran"]\nspool = "/srv/dead/spool"\n',
    "a hook": '[hooks]\nstored = ["/srv/dead/ran"]\n',
    "a login program": '[auth]\nprogram = "/srv/dead/ran"\n[defaults]\nroot = "/srv/homes/%u"\n',
    "a certificate": '[tls]\ncertificate = "/srv/dead/crt"\nkey = "/srv/dead/key"\n',
    "the configuration": "",
}
# Without these, a server does not start.
NEEDED = ["the transfer log", "the log", "the spool", "a certificate", "the configuration"]
GRACE = 5


@contextlib.contextmanager
def dead():
    """Mounts a FUSE disk that nobody serves."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    enter = ["nsenter", "--target", debian.first, "--mount", "--pid", "--root", "--"]
    subprocess.run([*enter, "mount", "-i", "-t", "fuse", "-o", options, "dead", "/srv/dead"], pass_fds=[device], check=True)
    try:
        yield
    finally:
        # Without a server, each call fails at once.
        os.close(device)
        subprocess.run([*enter, "umount", "--lazy", "--internal-only", "--no-canonicalize", "/srv/dead"], check=True)


def serves():
    """Another user logs in and stores a file."""
    with contextlib.closing(ftplib.FTP("127.0.0.1", timeout=10)) as session:
        session.login("anna", "secret")
        session.storbinary("STOR other.jpg", io.BytesIO(b"picture"))


def fed(began, pid):
    """Waits for longer than the watchdog's time, and looks whether the server is still the same."""
    at_last(lambda: time.monotonic() > began + 5, "")
    assert debian.show("MainPID") == pid, f"the watchdog ended the server\n{debian.late()}"


def stop():
    """Stops the server, within its time for transfers and a little more."""
    began = time.monotonic()
    debian.run("systemctl", "stop", "ftp-cli")
    took, result = time.monotonic() - began, debian.show("Result")
    assert result == "success" and took < GRACE + 5, f"the stop took {took:.1f} s: {result}\n{debian.late()}"


def prepare():
    debian.run("systemctl", "disable", "--now", "ftp-cli.socket", "ftp-cli-implicit.socket")
    directory("/srv/dead")
    for path in ["/srv/dead/root", "/srv/dead/spool", "/srv/homes"]:
        directory(path, 0o700)
    for path in ["/usr/local/bin/ran", "/srv/dead/ran"]:
        write(path, "#!/bin/sh\ncat >/dev/null\n", 0o755)
    for name, file in [("crt", "fullchain.pem"), ("key", "privkey.pem")]:
        debian.run("install", "-o", "ftp-cli", "-m", "600", f"/etc/ftp-cli/tls/{file}", f"/srv/dead/{name}")
    drop_in(f"WatchdogSec=2\nTimeoutStartSec=30\nExecStart=\nExecStart=ftp-cli serve --config /etc/ftp-cli/server.toml --set control.socket=/run/ftp-cli/control.sock --set timeouts.shutdown_grace={GRACE}s")


def hang(place, more):
    """One place: the disk dies while the server runs, and it is reloaded, used and stopped; then it starts with it."""
    said = []

    def phase(name, act):
        try:
            act()
        except Exception as error:
            said.append(f"{place}, {name}: {type(error).__name__}: {error}")

    configure(more)
    toml = ROOT / "etc/ftp-cli/server.toml"
    if place == "the configuration":
        (ROOT / "srv/dead/server.toml").write_bytes(toml.read_bytes())
        os.chmod(ROOT / "srv/dead/server.toml", 0o644)
        toml.unlink()
        toml.symlink_to("/srv/dead/server.toml")
    restart()
    pid = debian.show("MainPID")
    with dead():
        began = time.monotonic()
        phase("running", serves)

        def use():
            with contextlib.suppress(*ftplib.all_errors):
                other = ftplib.FTP("127.0.0.1", timeout=1)
                other.login("dead", "secret")
                other.cwd("/m")
            serves()

        phase("login", use)
        # Nobody waits for the end of this reload.
        debian.run("systemctl", "kill", "--signal=HUP", "--kill-whom=main", "ftp-cli")
        phase("reload", serves)
        phase("reload", lambda: fed(began, pid))
        phase("reload", lambda: debian.run("timeout", "3", "ftp-cli", "ctl", "status"))
        phase("stop", stop)
        debian.run("systemctl", "kill", "--signal=KILL", "ftp-cli", check=False)
        debian.run("systemctl", "reset-failed", "ftp-cli", check=False)
        if place not in NEEDED:
            def start():
                debian.run("timeout", "25", "systemctl", "start", "ftp-cli")
                serves()
            phase("start", start)
            # Open: once a hook on the disk was to run, systemd must kill the server after its time to stop.
            if place != "a hook":
                phase("stop after the start", stop)
    debian.run("systemctl", "kill", "--signal=KILL", "ftp-cli", check=False)
    debian.run("systemctl", "reset-failed", "ftp-cli", check=False)
    if toml.is_symlink():
        toml.unlink()
    return said


def check_all(places=PLACES):
    prepare()
    said = [line for place, more in places.items() for line in hang(place, more)]
    drop_in("")
    assert not said, "\n".join(said)
