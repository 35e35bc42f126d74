"""Records a session at a terminal: what commands print, and when.

    record.py PROGRAM

Runs in a network of its own (unshare --net --mount), in which nas is this machine, and whose only cable is pulled
in the middle of an upload. Prints tab-separated values: seconds, kind, text. Kinds: `$` a command, `-` a line of output,
`~` a state of a line that is drawn again and again, `=` how the command ended, `#` what happens meanwhile. Escape
sequences for colours are kept as the program prints them.

Fails if the session does not show what README.md says of it.
"""

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import threading
import time

PROGRAM = os.path.realpath(sys.argv[1])
COLUMNS = 88
SIZE = 300 * 1024 * 1024
# What moves the cursor or clears, but not colours.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-ln-z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Recording:
    def __init__(self):
        self.start = time.monotonic()

    def line(self, kind, text):
        text = text.replace("\x1b", "\\e")
        print(f"{time.monotonic() - self.start:.1f}", kind, text, sep="\t", flush=True)

    def run(self, command, meanwhile=None, keep=lambda line: True):
        """Runs a command at a terminal and prints its lines. Returns its exit code and the lines that stay."""
        self.line("$", command)
        child, terminal = pty.fork()
        if child == 0:
            os.environ.update(TERM="xterm-256color", PATH=f"{os.getcwd()}/bin:{os.environ['PATH']}")
            os.environ.pop("NO_COLOR", None)
            os.execvp("bash", ["bash", "-c", f"stty cols {COLUMNS}; exec {command}"])
        if meanwhile:
            threading.Thread(target=meanwhile, daemon=True).start()
        stayed, pending, shown, last = [], "", "", 0
        while True:
            ready, _, _ = select.select([terminal], [], [], 90)
            try:
                data = os.read(terminal, 65536) if ready else b""
            except OSError:
                data = b""
            if not data:
                break
            pending += data.decode("utf-8", "replace").replace("\r\n", "\n")
            *lines, pending = pending.split("\n")
            for line in lines:
                stays = CONTROL.sub("", line.split("\r")[-1]).rstrip()
                stayed.append(COLOUR.sub("", stays))
                if keep(stayed[-1]):
                    self.line("-", stays)
            states = [state for state in (CONTROL.sub("", state).rstrip() for state in pending.split("\r")) if state]
            if states and states[-1] != shown and time.monotonic() - last > 0.7:
                shown, last = states[-1], time.monotonic()
                self.line("~", shown)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        self.line("=", f"exit {code}")
        return code, stayed


def shell(command):
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def expect(holds, what):
    if not holds:
        sys.exit(f"record.py: not so any more: {what}")


@contextlib.contextmanager
def serve(*options):
    """A server of the directory `nas`, which listens."""
    server = subprocess.Popen(
        [PROGRAM, "serve", "--listen", "192.0.2.7:21", "--user", "me", *options, "nas"], stderr=subprocess.PIPE, text=True
    )
    for line in server.stderr:
        if "listening on" in line:
            break
    threading.Thread(target=server.stderr.read, daemon=True).start()
    try:
        yield
    finally:
        server.terminate()
        server.wait()


def main():
    shell("ip link set lo up; ip link add cable type dummy; ip address add 192.0.2.7/32 dev lo")
    shell("cp /etc/hosts hosts; echo '192.0.2.7 nas' >>hosts; mount --bind hosts /etc/hosts")
    shell(f"mkdir bin home nas; ln -s {PROGRAM} bin/ftp-cli")
    os.environ["HOME"] = f"{os.getcwd()}/home"
    os.environ["FTP_PASSWORD"] = "secret"
    shell("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=ca -keyout ca.key -out ca.pem")
    shell("openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=nas -keyout key.pem -out request")
    shell("echo subjectAltName=DNS:nas >names; openssl x509 -req -in request -CA ca.pem -CAkey ca.key -extfile names -out cert.pem")
    os.environ["SSL_CERT_FILE"] = f"{os.getcwd()}/ca.pem"
    shell(f"head -c {SIZE} /dev/urandom >disk.img; printf 'old\n' >nas/notes.txt; touch -d 2026-11-19 nas/notes.txt")
    recording = Recording()
    # At the rate of a usual network.
    rate = "transfer.rate_per_session=40 MiB/s"
    certificate = ("--tls-cert", "cert.pem", "--tls-key", "key.pem")
    with serve("--write", "--set", rate, "--set", "timeouts.stall=5s", *certificate):
        interrupted(recording)
    with serve("--passive-ports", "30000-30009", *certificate):
        blocked(recording)


def interrupted(recording):
    """The same command twice: the first is interrupted, the second resumes."""
    def pull():
        time.sleep(3.5)
        shell("ip link set lo down")

    command = "ftp-cli put -c disk.img ftpes://me@nas/"
    code, _ = recording.run(command, pull)
    expect(code == 10, "an interrupted upload is no success")
    shell("ip link set lo up")
    recording.line("#", "# the network cable was pulled; now it is back, and no half of a file is in sight:")
    _, listed = recording.run("ftp-cli ls -l ftpes://me@nas/")
    expect(not any("disk.img" in line for line in listed), "a partial file is hidden")
    code, said = recording.run(command)
    sent = [re.search(r"disk\.img: ([0-9.]+) MiB in", line) for line in said]
    sent = [float(found[1]) for found in sent if found]
    expect(code == 0 and len(sent) == 1 and 0 < sent[0] < SIZE / 2**20 - 20, "put -c resumes after put -c")
    _, listed = recording.run("ftp-cli ls -l ftpes://me@nas/")
    expect(any(f" {SIZE} " in line and line.endswith("disk.img") for line in listed), "the file is whole")
    shell("cmp disk.img nas/disk.img")


def blocked(recording):
    """A server whose passive ports a firewall drops."""
    shell("nft add table inet t; nft 'add chain inet t in { type filter hook input priority 0 ; }'")
    shell("nft add rule inet t in tcp dport 30000-30009 tcp flags syn drop")
    recording.line("#", "# another server, whose firewall drops its passive ports (lines with ok left out):")
    state = {"ok": False}

    def keep(line):
        if not line.startswith(" "):
            state["ok"] = line.startswith(("ok ", "skip "))
        return not state["ok"]

    code, found = recording.run("ftp-cli doctor ftpes://me@nas", keep=keep)
    expect(code == 13 and any(line.startswith("fail  epsv") for line in found), "doctor finds the blocked ports")
    best = [line for line in found if line.startswith("best ")]
    expect(len(best) == 1 and "--active" in best[0], "doctor names the line to type")


with tempfile.TemporaryDirectory(prefix="recording-") as place:
    os.chdir(place)
    main()
