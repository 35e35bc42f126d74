"""The walks of the documents in a booted Debian whose directory is the first argument. `short` leaves out the steps that
take longest. Each step judges the journal: a line of the units with priority warning or worse is an error, unless the step
names it, and each line that it names must be there.
"""

import contextlib
import ftplib
import io
import json
import re
import sys
import threading
import time

import disk
import unit
from agree import CASES, agree
from debian import *

SHORT = "short" in sys.argv[2:]

# The steps.

def install():
    with step("install the package"):
        debian.run("apt-get", "install", "-qq", "-y", "/opt/1.deb")
        assert debian.run("systemctl", "is-enabled", "ftp-cli", check=False).stdout == "disabled\n"
        assert debian.show("ActiveState") == "inactive"
    refused = ["^Failed to start", "Failed with result 'exit-code'", "^ftp-cli: no user can log in"]
    with step("as installed, it does not start, and systemd does not try again", *refused) as cursor:
        assert debian.run("systemctl", "start", "ftp-cli", check=False).returncode != 0
        assert (debian.show("ExecMainStatus"), debian.show("NRestarts")) == ("2", "0")
        logged(cursor, "no user can log in")
        debian.run("systemctl", "reset-failed", "ftp-cli")


def first_server():
    # The hook says that its reload fails harmlessly before the first start.
    inactive = "cannot be reloaded because it is inactive"
    with step("first-server.md: configuration, passwords, certificate, check, start, test", inactive) as cursor:
        write("/etc/hosts", "127.0.0.1 localhost ftp.example.org\n")
        authority()
        write("/etc/ftp-cli/server.toml", file_of("first-server.md", "/etc/ftp-cli/server.toml"))
        shell("first-server.md", "HASH=$(", input="secret\n")
        debian.hash = re.search(r'password = "(.*)"', CONFIGURATION.read_text())[1]
        hook = "/etc/letsencrypt/renewal-hooks/deploy/ftp-cli"
        write(hook, file_of("first-server.md", hook), 0o755)
        renew()
        ran = shell("first-server.md", "--check")
        assert ran.stdout.startswith("ok    no problems found\n"), ran.stdout
        (ROOT / "root/scan.pdf").write_bytes(b"a scan" * 1000)
        shell("first-server.md", "ftp-cli put")
        assert (ROOT / "root/fetched.pdf").read_bytes() == b"a scan" * 1000
        assert not (ROOT / "srv/scans/scan.pdf").exists()
        shell("first-server.md", "ctl status")
        said = logged(cursor, "sessions are confined to")
        assert "openat2 and Landlock" in said, said
    with step("certbot's renewal: the hook installs the certificate, and new sessions show it"):
        before = serial(), serial(990)
        renew()
        at_last(lambda: serial() not in before and serial(990) not in before, "the old certificate is still in use")


def confined():
    # The kernel takes the bit from whoever is not in the group.
    debian.run("usermod", "-aG", "games", "ftp-cli")
    with step("confinement: nothing leads out of a root") as cursor:
        directory("/srv/anna")
        configure('[security]\nconfine = "require"\n')
        restart()
        assert "openat2 and Landlock" in logged(cursor, "sessions are confined to")
        (ROOT / "srv/anna/out").symlink_to("/etc")
        (ROOT / "srv/anna/up").symlink_to("../scans")
        session = login()
        for path in ["out/passwd", "up/x", "../../etc/passwd", "/etc/passwd"]:
            for command in (lambda: session.retrbinary(f"RETR {path}", bytes), lambda: session.storbinary(f"STOR {path}", io.BytesIO())):
                with contextlib.suppress(ftplib.error_perm):
                    command()
                    raise AssertionError(f"{path} is not refused")
        session.quit()
        for name in ("out", "up"):
            (ROOT / "srv/anna" / name).unlink()
    with step("a set-group-ID directory passes on its group"):
        debian.run("install", "-d", "-o", "ftp-cli", "-g", "games", "-m", "2775", "/srv/anna/team")
        session = login()
        session.mkd("team/sub")
        session.storbinary("STOR team/sub/file", io.BytesIO())
        session.quit()
        said = debian.run("stat", "-c", "%A %G", "/srv/anna/team/sub", "/srv/anna/team/sub/file").stdout.splitlines()
        assert said[0][6] in "sS" and all(line.endswith(" games") for line in said), said


# Programs in three languages: what a hook reads, and what a login program answers.
PROGRAMS = {
    "sh": ("#!/bin/sh\ncat >/srv/hooks/sh\n",
           "#!/bin/sh\nread -r line\ncase $line in *'\"user\":\"sh\"'*secret*) echo '{\"ok\":true}' ;; *) echo '{\"ok\":false}' ;; esac\n"),
    "python": ("#!/usr/bin/python3\nimport json, sys\njson.dump(json.load(sys.stdin), open('/srv/hooks/python', 'w'))\n",
               "#!/usr/bin/python3\nimport json, sys\nsaid = json.load(sys.stdin)\nprint(json.dumps({'ok': said['password'] == 'secret'}))\n"),
    "node": ("#!/usr/bin/node\nconst fs = require('fs');\nfs.writeFileSync('/srv/hooks/node', JSON.stringify(JSON.parse(fs.readFileSync(0))));\n",
             "#!/usr/bin/node\nconst said = JSON.parse(require('fs').readFileSync(0));\nconsole.log(JSON.stringify({ok: said.password === 'secret'}));\n"),
}


def programs():
    with step("hooks and login programs in sh, Python and Node.js", *(f'login-refused .* user="{name}"' for name in PROGRAMS)):
        directory("/srv/hooks")
        for name, (hook, asked) in PROGRAMS.items():
            write(f"/usr/local/bin/hook-{name}", hook, 0o755)
            write(f"/usr/local/bin/login-{name}", asked, 0o755)
            directory(f"/srv/homes/{name}")
            configure(f'[hooks]\nprogram = "/usr/local/bin/hook-{name}"\nevents = ["stored"]\n'
                      f'[auth]\nprogram = "/usr/local/bin/login-{name}"\n'
                      '[defaults]\nroot = "/srv/homes/%u"\nrights = "full"\n')
            assert check().returncode == 0, check().stdout
            debian.run("systemctl", "reload", "ftp-cli")
            upload(f"{name}.jpg", user=name)
            said = at_last(lambda: (ROOT / "srv/hooks" / name).exists() and (ROOT / "srv/hooks" / name).read_text(), f"no hook in {name}")
            assert json.loads(said)["path"] == f"/{name}.jpg", said
            with contextlib.suppress(ftplib.error_perm):
                login(name, "wrong")
                raise AssertionError("a wrong password is accepted")
    with step("a hook ends although the server is stopped meanwhile"):
        write("/usr/local/bin/slow", "#!/bin/sh\ntouch /srv/hooks/begun\nsleep 3\ntouch /srv/hooks/ended\n", 0o755)
        configure('[hooks]\nstored = ["/usr/local/bin/slow"]\n')
        restart()
        upload("slow.jpg")
        at_last(lambda: (ROOT / "srv/hooks/begun").exists(), "no hook")
        restart()
        assert (ROOT / "srv/hooks/ended").exists()


def reloads():
    refused = ["users.anna.rights: unknown right", "1 error; configuration unchanged", "^Reload failed"]
    with step("a reload of a wrong file changes nothing, one of a right file applies", *refused) as cursor:
        configure()
        restart()
        session, pid = login(), debian.show("MainPID")
        configure("[users.bob]\npassword = \"HASH\"\nroot = \"/srv/bob\"\n", BASE.replace('"full"', '"everything"'))
        assert debian.run("systemctl", "reload", "ftp-cli", check=False).returncode != 0
        assert debian.show("ActiveState") == "active"
        session.voidcmd("NOOP")
        directory("/srv/bob")
        configure("[users.bob]\npassword = \"HASH\"\nroot = \"/srv/bob\"\n")
        debian.run("systemctl", "reload", "ftp-cli")
        logged(cursor, "configuration reloaded; changed: users")
        login("bob").quit()
        session.quit()
        assert debian.show("MainPID") == pid


def rotate():
    with step("logrotate: the transfer log and the log go on in new files"):
        log, events = ROOT / "var/log/ftp-cli/xferlog", ROOT / "var/log/ftp-cli/server.log"
        configure('[log]\ntransfers = "/var/log/ftp-cli/xferlog"\ntarget = "file:/var/log/ftp-cli/server.log"\n')
        restart()
        upload("before.jpg")
        at_last(lambda: "before.jpg" in log.read_text(), "no line for before.jpg")
        debian.run("logrotate", "--force", "/etc/logrotate.d/ftp-cli")
        assert "before.jpg" in log.with_name("xferlog.1").read_text()
        upload("later.jpg")
        for file in (log, events):
            at_last(lambda: "later.jpg" in file.read_text(), f"no line for later.jpg in {file}")
            assert "before.jpg" not in file.read_text()


def credentials():
    with step("keys that only root can read, as credentials"):
        for name, file in [("ftp-cli.crt", "fullchain.pem"), ("ftp-cli.key", "privkey.pem")]:
            debian.run("install", "-D", "-m", "600", f"{LINEAGE}/{file}", f"/etc/credstore/{name}")
        debian.run("systemctl", "stop", "ftp-cli")
        place = "/run/credentials/ftp-cli.service/ftp-cli"
        configure(f'[tls]\ncertificate = "{place}.crt"\nkey = "{place}.key"\ncontrol = "required"\n')
        ran = check()
        assert ran.returncode == 0 and "no problems found" in ran.stdout, ran.stdout
        restart()
        serial()


def sockets():
    with step("sockets: no client is refused during three restarts"):
        configure(f'[tls]\ncertificate = "/etc/ftp-cli/tls/fullchain.pem"\nkey = "/etc/ftp-cli/tls/privkey.pem"\n', BASE.replace(":21", "2121"))
        shell("install.md", "enable --now ftp-cli.socket")
        debian.run("systemctl", "enable", "--now", "ftp-cli-implicit.socket")
        with Clients():
            for _ in range(3):
                restart()
        serial(), serial(990)


def signal(name):
    debian.run("systemctl", "kill", f"--signal={name}", "--kill-whom=main", "ftp-cli")


def heals():
    with step("a killed server, and one that hangs, start again", "status=9/KILL|result 'signal'", "Watchdog timeout", "Killing process|result 'watchdog'|status=6/ABRT"):
        drop_in("WatchdogSec=2")
        restart()
        pid = debian.show("MainPID")
        signal("KILL")
        running = lambda: debian.show("ActiveState") == "active" and debian.show("MainPID")
        second = at_last(lambda: running() not in (False, pid, "0") and running(), "no start after SIGKILL")
        # Longer than the timeout: the server feeds the watchdog.
        began = time.monotonic()
        at_last(lambda: time.monotonic() > began + 5, "")
        assert debian.show("MainPID") == second
        signal("STOP")
        at_last(lambda: running() not in (False, second, "0"), "no start after the watchdog")
        drop_in("")
        restart()


def upgrade():
    with step("an upgrade during a transfer: it ends with 226, and nobody is refused"):
        sending, pid = Upload(), debian.show("MainPID")
        text = CONFIGURATION.read_text()
        with Clients():
            installing = threading.Thread(target=debian.run, args=("apt-get", "install", "-qq", "-y", "/opt/2.deb"))
            installing.start()
            at_last(lambda: debian.show("ActiveState") == "deactivating" or not installing.is_alive(), "no restart")
            sending.may_end.set()
            sending.join(LONGEST)
            installing.join(LONGEST)
        assert sending.reply.startswith("226"), sending.reply
        assert (ROOT / "srv/anna/long.bin").stat().st_size == sending.sent
        version = debian.run("dpkg-query", "--show", "--showformat", "${Version}", "ftp-cli").stdout
        assert version.endswith("+next") and debian.show("MainPID") not in ("0", pid), version
        assert CONFIGURATION.read_text() == text


def purge():
    with step("a purge leaves only the served files"):
        debian.run("apt-get", "purge", "-qq", "-y", "ftp-cli")
        for path in ["etc/ftp-cli/server.toml", "var/lib/ftp-cli", "var/log/ftp-cli", "usr/bin/ftp-cli", "usr/lib/systemd/system/ftp-cli.service"]:
            assert not (ROOT / path).exists(), path
        left = debian.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "ftp-cli*").stdout
        assert not left, left
        assert (ROOT / "srv/anna/long.bin").exists()


def main():
    began = time.monotonic()
    debian.boot()
    steps.append((time.monotonic() - began, "boot"))
    print(f"boot: {steps[-1][0]:6.1f} s  boot", flush=True)
    install()
    first_server()
    confined()
    programs()
    reloads()
    rotate()
    credentials()
    with step("the check and the start in the unit agree", is_judged=False):
        agree(CASES[::3] if SHORT else CASES)
    sockets()
    heals()
    upgrade()
    with step("each line of the unit has a reason"):
        unit.check([name for _, name in steps])
    if not SHORT:
        with step("a disk that answers nothing holds up nobody else", is_judged=False):
            disk.check_all()
    purge()
    debian.power_off()
    print(f"boot: {time.monotonic() - began:6.1f} s  in all")


main()
