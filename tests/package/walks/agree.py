"""`serve --check` and the start in the unit agree: what the check passes starts and serves, what it fails does not."""

import contextlib
import ftplib
import io

from debian import LINEAGE, ROOT, at_last, check, configure, debian, directory, drop_in, write

HOOK = "#!/bin/sh\ntouch /srv/hooks/ran\n"
ASKED = "#!/bin/sh\necho '{\"ok\":true}'\n"
TLS = '[tls]\ncertificate = "{0}.crt"\nkey = "{0}.key"\n'
SPOOL = '[hooks]\nstored = ["/usr/local/bin/ran"]\nspool = "{0}"\n'
OWNED = 'owner = "games"\ngroup = "games"\nfile_mode = "0660"\ndirectory_mode = "0770"\n'
GIVES = "AmbientCapabilities=CAP_CHOWN\nCapabilityBoundingSet=CAP_CHOWN"


def base(root):
    return ('[listen]\naddresses = [":21"]\n[passive]\nports = "30000-30099"\n'
            f'[users.anna]\npassword = "HASH"\nroot = "{root}"\nrights = "full"\n')


# A name; the root; more of the configuration; a drop-in of the unit; whether it works.
CASES = [
    # What the unit forbids, or what looks as if it did.
    ("log.target in /var/log", "/srv/anna", '[log]\ntarget = "file:/var/log/own.log"\n', "", False),
    ("log.transfers in /opt", "/srv/anna", '[log]\ntransfers = "/opt/own/xferlog"\n', "", False),
    ("hooks.spool in /opt", "/srv/anna", SPOOL.format("/opt/own"), "", False),
    ("metrics.listen in /opt", "/srv/anna", '[metrics]\nlisten = "unix:/opt/own/socket"\n', "", False),
    ("confinement required", "/srv/anna", '[security]\nconfine = "require"\n', "", True),
    ("confinement required, RestrictSUIDSGID", "/srv/anna", '[security]\nconfine = "require"\n', "RestrictSUIDSGID=yes", False),
    ("a root in /home", "/home/anna", "", "", False),
    ("a root in /tmp", "/tmp/anna", "", "", False),
    ("a root in /mnt", "/mnt/disk", "", "", False),
    ("a root in /var/www", "/var/www", "", "", False),
    ("a root that leads to /home", "/srv/link", "", "", False),
    ("a hook in /home", "/srv/anna", '[hooks]\nstored = ["/home/ran"]\n', "", False),
    ("a login program in /home", "/srv/anna", '[auth]\nprogram = "/home/asked"\n[defaults]\nroot = "/srv/homes/%u"\nrights = "full"\n', "", False),
    ("a root to make in /var/www", "/var/www/new", "create_home = true\n", "", False),
    ("a certificate in /home", "/srv/anna", TLS.format("/home/ftp-cli"), "", False),
    ("a certificate as credentials", "/srv/anna", TLS.format("/run/credentials/ftp-cli.service/ftp-cli"), "", True),
    ("an owner without CAP_CHOWN", "/srv/anna", OWNED, "", False),
    ("a control socket in /opt", "/srv/anna", '[control]\nsocket = "/opt/own/control"\n', "", True),
    # Usual ones.
    ("a root in /srv", "/srv/anna", "", "", True),
    ("its own certificate", "/srv/anna", "[tls]\nself_signed = true\n", "", True),
    ("a log in /var/log/ftp-cli", "/srv/anna", '[log]\ntarget = "file:/var/log/ftp-cli/server.log"\ntransfers = "/var/log/ftp-cli/xferlog"\n', "", True),
    ("a hook in /usr/local", "/srv/anna", '[hooks]\nstored = ["/usr/local/bin/ran"]\n', "", True),
    ("a login program in /usr/local", "/srv/anna", '[auth]\nprogram = "/usr/local/bin/asked"\n[defaults]\nroot = "/srv/homes/%u"\nrights = "full"\n', "", True),
    ("metrics", "/srv/anna", '[metrics]\nlisten = "unix:/run/ftp-cli/metrics.sock"\n', "", True),
    ("an owner with the lines of the unit's comment", "/srv/anna", OWNED, f"{GIVES}\nSupplementaryGroups=games", True),
    ("a root in /home, with a drop-in", "/home/anna", "", "ProtectHome=no\nReadWritePaths=/home/anna", True),
    ("a root in /mnt, with a drop-in", "/mnt/disk", "", "ReadWritePaths=-/mnt/disk", True),
]


def prepare():
    for path in ["/srv/anna", "/srv/hooks", "/opt/own", "/home/anna", "/tmp/anna", "/mnt/disk", "/var/www", "/srv/homes/asked", "/srv/homes"]:
        directory(path)
    (ROOT / "srv/link").symlink_to("/home/anna")
    debian.run("install", "-o", "ftp-cli", "-m", "640", "/dev/null", "/var/log/own.log")
    for path in ["/usr/local/bin", "/home"]:
        write(f"{path}/ran", HOOK, 0o755)
        write(f"{path}/asked", ASKED, 0o755)
    for name, file in [("crt", "fullchain.pem"), ("key", "privkey.pem")]:
        debian.run("install", "-m", "644", f"{LINEAGE}/{file}", f"/home/ftp-cli.{name}")
        debian.run("install", "-D", "-m", "600", f"{LINEAGE}/{file}", f"/etc/credstore/ftp-cli.{name}")


def works(more):
    """Returns whether the server starts, and a user can log in, store a file and make a directory."""
    if debian.run("systemctl", "restart", "ftp-cli", check=False).returncode:
        return False
    debian.run("rm", "-f", "/srv/hooks/ran")
    user = "asked" if "[auth]" in more else "anna"
    try:
        with contextlib.closing(ftplib.FTP("127.0.0.1", timeout=20)) as session:
            session.login(user, "secret")
            session.storbinary("STOR file", io.BytesIO(b"content"))
            session.mkd("directory")
            session.rmd("directory")
            session.delete("file")
    except ftplib.all_errors:
        return False
    if "[hooks]" not in more:
        return True
    with contextlib.suppress(AssertionError):
        return at_last(lambda: (ROOT / "srv/hooks/ran").exists(), "", seconds=3)
    return False


def agree(cases):
    """Checks and starts each of the cases, and fails for those where the two differ."""
    prepare()
    wrong = []
    for name, root, more, unit, want in cases:
        drop_in(unit)
        configure(base=base(root) + more)
        checked = check()
        found = works(more)
        if found != want or (checked.returncode == 0) != want:
            wrong.append(f"{name}: check {checked.returncode}, works: {found}, wanted: {want}\n{checked.stdout}{checked.stderr}")
        debian.run("systemctl", "stop", "ftp-cli")
        debian.run("systemctl", "reset-failed", "ftp-cli", check=False)
    drop_in("")
    (ROOT / "srv/link").unlink()
    assert not wrong, "\n".join(wrong)
