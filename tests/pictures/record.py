"""Records a session at a terminal: what commands print, and when.

    record.py PROGRAM

Runs in a network of its own (unshare --net --mount), in which nas.example is this machine, and whose
only cable is pulled in the middle of an upload. Prints tab-separated values: seconds, kind (`$` a
command, `-` a line of output, `#` what happens meanwhile), text.
"""

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
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Recording:
    def __init__(self):
        self.start, self.paused = time.monotonic(), 0.0

    def line(self, kind, text):
        print(f"{time.monotonic() - self.start:.1f}", kind, text, sep="\t", flush=True)

    def run(self, command, meanwhile=lambda: None, keep=lambda line: True):
        """Runs a command at a terminal and prints its lines; of a line that is drawn again and again
        the last state."""
        self.line("$", command)
        child, terminal = pty.fork()
        if child == 0:
            os.environ.update(COLUMNS="100", TERM="xterm", PATH=f"{os.getcwd()}/bin:{os.environ['PATH']}")
            os.execvp("bash", ["bash", "-c", f"stty cols 100; exec {command}"])
        threading.Thread(target=meanwhile, daemon=True).start()
        pending = ""
        while True:
            ready, _, _ = select.select([terminal], [], [], 30)
            try:
                data = os.read(terminal, 65536) if ready else b""
            except OSError:
                data = b""
            if not data:
                break
            pending += data.decode("utf-8", "replace")
            *lines, pending = pending.split("\n")
            for line in lines:
                states = [CONTROL.sub("", state).rstrip() for state in line.split("\r")]
                for state in [state for state in states if state.strip()][-2:]:
                    if keep(state):
                        self.line("-", state)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)


def shell(command):
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main():
    os.chdir(tempfile.mkdtemp(prefix="recording-"))
    shell("ip link set lo up; ip link add cable type dummy; ip address add 192.0.2.7/32 dev lo")
    shell("cp /etc/hosts hosts; echo '192.0.2.7 nas.example' >>hosts; mount --bind hosts /etc/hosts")
    shell(f"mkdir bin home nas; ln -s {PROGRAM} bin/ftp-cli")
    os.environ["HOME"] = f"{os.getcwd()}/home"
    os.environ["FTP_PASSWORD"] = "secret"
    shell("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=ca -keyout ca.key -out ca.pem")
    shell("openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=nas -keyout key.pem -out request")
    shell("echo subjectAltName=DNS:nas.example >names; openssl x509 -req -in request -CA ca.pem -CAkey ca.key -extfile names -out cert.pem")
    os.environ["SSL_CERT_FILE"] = f"{os.getcwd()}/ca.pem"
    shell("head -c 300M /dev/zero >backup.img; touch -d 2026-11-20 backup.img; printf 'old\n' >nas/notes.txt; touch -d 2026-11-19 nas/notes.txt")
    server = subprocess.Popen(
        [PROGRAM, "serve", "--listen", "192.0.2.7:21", "--user", "me", "--write", "--set", "timeouts.stall=2s"]
        + ["--tls-cert", "cert.pem", "--tls-key", "key.pem", "nas"],
        stderr=subprocess.DEVNULL,
    )
    time.sleep(1)
    recording = Recording()

    def pull():
        time.sleep(1.2)
        recording.line("#", "# the network cable is pulled")
        shell("ip link set lo down")

    recording.run("ftp-cli put --stall-timeout 3s backup.img ftpes://me@nas.example/", pull)
    shell("ip link set lo up")
    time.sleep(1)
    recording.line("#", "# the cable is back, and no half of a file is in sight")
    recording.run("ftp-cli ls -l ftpes://me@nas.example/")
    recording.run("ftp-cli put -c -v backup.img ftpes://me@nas.example/", keep=lambda line: not line[:2].isdigit())
    recording.run("ftp-cli ls -l ftpes://me@nas.example/")
    server.terminate()
    blocked(recording)


def blocked(recording):
    """A server whose passive ports a firewall drops."""
    server = subprocess.Popen(
        [PROGRAM, "serve", "--listen", "192.0.2.7:21", "--user", "me", "--passive-ports", "30000-30009", "nas"],
        stderr=subprocess.DEVNULL,
    )
    shell("nft add table inet t; nft 'add chain inet t in { type filter hook input priority 0 ; }'")
    shell("nft add rule inet t in tcp dport 30000-30009 tcp flags syn drop")
    time.sleep(1)
    recording.line("#", "# another server, with a firewall that drops its passive ports")
    state = {"on": False}

    def keep(line):
        if not line.startswith(" "):
            state["on"] = line.startswith(("fail  epsv", "best"))
        return state["on"]

    recording.run("ftp-cli doctor ftp://me@nas.example", keep=keep)
    server.terminate()


main()
