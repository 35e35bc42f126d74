"""Kinds of differences from other servers, and which server is right. The first matching verdict applies."""

import re
from typing import Callable, NamedTuple


class Row(NamedTuple):
    """The line that is sent, as in the matrix, and the state: G, L or PV."""

    line: str
    state: str


class Answers(NamedTuple):
    """The codes with which each server answers a row."""

    row: Row
    codes: dict[str, str]

    @property
    def ours(self) -> str:
        return self.codes["ours"]


class Verdict(NamedTuple):
    """A kind of difference. The reason begins with *ours*, *theirs*, or *choice* if no RFC decides who is right."""

    name: str
    example: str
    reason: str
    is_about: Callable[[Answers], bool]


def line(pattern: str) -> Callable[[Answers], bool]:
    """Returns a test for differences whose entire line matches this pattern."""
    compiled = re.compile(pattern)
    return lambda one: bool(compiled.fullmatch(one.row.line))


def only_125(one: Answers) -> bool:
    return len({codes.replace("125", "150") for codes in one.codes.values()}) == 1


# Commands of an RFC or a draft that we answer with 502, and commands that the other servers lack too.
ABSENT = "LPRT|LPSV|ADAT|MIC|CONF|ENC|SSCN|CPSV|SMNT|RMDA|MFCT|RANG|COMB|XCRC|XMD5|XSHA\\d*|DSIZ|CSID"
EXTENSIONS = "LANG|CLNT|HASH|AVBL|MFMT|MFF"
TRANSFERS = "RETR|STOR|APPE|STOU|LIST|NLST|MLSD"

ALL = [
    Verdict(
        "control characters", r"STOR a\r\0\nDELE b",
        "*ours*: a line with CR or NUL, or with a tab after the verb, is refused as a whole (RFC 959 §5.3.2, RFC 2640 §3.1)",
        line(r".*\\[rn0t].*"),
    ),
    Verdict(
        "Telnet commands", r"\xff\xfc\x01NOOP",
        "*ours*: the control connection follows Telnet, so Telnet commands are not part of the line (RFC 959 §4.1.3, RFC 854)",
        line(r".*\\xff.*"),
    ),
    Verdict(
        "spaces around words, and empty lines", r"TYPE \s\sI\s",
        "*choice*: RFC 959 §5.3 has exactly one space; we skip further spaces before an argument, but not before a command",
        line(r"|\\s[A-Z]+|[A-Z]+ ?\\s.+"),
    ),
    Verdict(
        "long lines", "NOOP {8187}",
        "*choice*: no RFC has a limit; our limit is 8 KiB, and we refuse a longer line as a whole",
        line(r"NOOP \{\d+\}|CWD /\{4096\}"),
    ),
    Verdict(
        "commands that need a login", "TYPE I",
        "*ours*: 530, before we check the argument; 200 and 504 reveal more to clients without a login (RFC 959 §5.4)",
        lambda one: one.row.state == "G" and one.ours.split("+")[0] == "530",
    ),
    Verdict(
        "commands that need no login", "SYST",
        "*ours*: RFC 959 §5.4 lists no 530 for these commands; RFC 7151 §3 and RFC 2640 §4.1 allow HOST and LANG before a login",
        lambda one: one.row.state == "G",
    ),
    Verdict(
        "commands that no server has", "MIC x",
        "*choice*: 502 for a known command that we do not implement, 500 for other words (RFC 959 §4.2)",
        line(rf"({ABSENT})\b.*"),
    ),
    Verdict(
        "TLS commands without a certificate", "PBSZ 0",
        "*ours*: without a certificate we do not implement AUTH, and without AUTH, PBSZ and PROT are out of sequence (RFC 2228 §3)",
        line(r"(AUTH|PBSZ|PROT|CCC)\b.*"),
    ),
    Verdict(
        "HOST after a login", "HOST ftp.example.org",
        "*ours*: 503 (RFC 7151 §3)",
        line(r"HOST\b.*"),
    ),
    Verdict(
        "extensions that only some servers have", "HASH file",
        "*choice*: FEAT lists the extensions, and clients use the listed ones (RFC 2389 §3.2)",
        lambda one: line(rf"({EXTENSIONS})\b.*")(one) or (one.codes.get("vsftpd") == "500" and "ML" in one.row.line),
    ),
    Verdict(
        "no data connection was prepared", "RETR /file",
        "*ours*: 425 at once, before we look for the file (RFC 959 §5.4); 150 without a connection makes the client wait",
        lambda one: one.row.state == "L" and one.ours.split("+")[-1] == "425",
    ),
    Verdict(
        "missing arguments", "STOR",
        "*ours*: 501 (RFC 959 §4.2, §5.3.1); 503 for RNTO without RNFR, because we check the sequence before the argument",
        lambda one: line(r"[A-Z]+(\\s)?( // (RNTO new|RETR /file))?")(one) and one.ours[:3] in ("501", "503"),
    ),
    Verdict(
        "arguments of commands that have none", "PWD x",
        "*ours*: 501 (RFC 959 §5.3.1); we execute QUIT and NOOP with an argument too, because they are harmless",
        line(r"(CDUP|XCUP|PWD|XPWD|SYST|PASV|FEAT|ABOR) x|QUIT now|NOOP x"),
    ),
    Verdict(
        "TYPE, STRU and MODE", "TYPE A C",
        "*ours*: 504 for a parameter that RFC 959 defines and we lack, 501 for other words (RFC 959 §4.2); a server that "
        "accepts `A C` stores other bytes than the client intends",
        line(r"(TYPE|STRU|MODE)( [^/]*)?"),
    ),
    Verdict(
        "PORT and EPRT with a forbidden address", "PORT 192,0,2,1,200,1",
        "*ours*: 504 for another host or a port below 1024 (RFC 2577 §3)",
        lambda one: line(r"(PORT|EPRT) .*")(one) and one.ours == "504",
    ),
    Verdict(
        "PORT and EPRT, syntax and protocol", "PORT 127,0,0,1,+200,1",
        "*ours*: six numbers, nothing else (RFC 959 §5.3.2); 522 for another protocol (RFC 2428 §2); we connect when the "
        "transfer begins, not at PORT",
        line(r"(PORT|EPRT) .*"),
    ),
    Verdict(
        "EPSV ALL", "EPSV ALL // PASV",
        "*ours*: PASV must be refused afterwards (RFC 2428 §4), with 503",
        line(r"EPSV ALL // PASV"),
    ),
    Verdict(
        "EPSV with an argument", "EPSV 2",
        "*ours*: 522 for another protocol (RFC 2428 §3), 501 for other words; no RFC has 220 for ALL",
        line(r"EPSV .*"),
    ),
    Verdict(
        "REST", "REST 9223372036854775808",
        "*ours*: 350 in both types, 501 for other words (RFC 3659 §5.3); a REST beyond the end fails with 554 at RETR",
        line(r"REST .*"),
    ),
    Verdict(
        "ALLO", "ALLO 10",
        "*choice*: 200 and 202 are both in RFC 959 §5.4; 452 and 552 are not, but they report missing space before the "
        "client sends the file",
        line(r"ALLO .*"),
    ),
    Verdict(
        "OPTS", "OPTS UTF8 ON",
        "*ours*: 200 or 501 (RFC 2389 §4); UTF-8 cannot be turned off, and MLST facts that we lack are left out (RFC 3659 §7.9)",
        line(r"OPTS .*"),
    ),
    Verdict(
        "125 or 150", "RETR file",
        "*choice*: RFC 959 §5.4 has both",
        only_125,
    ),
    Verdict(
        "files out of reach of clients", "STOR /.ftp-upload-x",
        "*choice*: names of unfinished uploads are hidden, and a symbolic link that leaves the root is never followed; "
        "DELE removes the link itself",
        line(r".*(ftp-upload|/out\b).*"),
    ),
    Verdict(
        "LIST and NLST of a missing name", "NLST missing",
        "*theirs* if 450, which RFC 959 §5.4 lists; we keep 550, since the same command will fail again (§4.2.1). An empty "
        "listing with 226 hides the client's mistake",
        lambda one: line(r"(LIST|NLST) .*")(one) and one.ours == "550",
    ),
    Verdict(
        "LIST and NLST with options or patterns", "NLST /f*",
        "*choice*: RFC 959 has neither; we ignore options, because clients send them, and expand patterns",
        line(r"(LIST|NLST) .*"),
    ),
    Verdict(
        "STOR, APPE and STOU that are refused", "STOR /missing/new",
        "*theirs* if 553 for a missing directory, since RFC 959 §5.4 lists no 550; we keep 550, and 553 for a name that can "
        "never be a file",
        lambda one: line(r"(STOR|APPE|STOU)\b.*")(one) and one.ours in ("550", "553"),
    ),
    Verdict(
        "transfers that are carried out", "APPE /file",
        "*ours*: a file that the user may read or write is transferred (RFC 959 §4.1.3)",
        lambda one: line(rf"({TRANSFERS})\b.*")(one) and one.ours.startswith("150"),
    ),
    Verdict(
        "SIZE and MDTM", "SIZE file",
        "*ours*: SIZE counts the bytes of the current type (RFC 3659 §4); 550 for other objects; MDTM sets no times (§3)",
        line(r"(SIZE|MDTM) .*"),
    ),
    Verdict(
        "STAT with a path", "STAT /full",
        "*ours*: 212 for a directory, 213 for a file (RFC 959 §4.2); for a missing name, the code of LIST",
        line(r"STAT .*"),
    ),
    Verdict(
        "ABOR without a transfer", "ABOR",
        "*ours*: 226 if ABOR closes an open data connection (RFC 959 §4.1.3); without one, RFC 959 §5.4 has 225 and 226",
        line(r"ABOR(\\s)?"),
    ),
    Verdict(
        "HELP for an unknown command", "HELP XYZZY",
        "*ours*: 502, which RFC 959 §5.4 lists; 214 would promise help",
        line(r"HELP .*"),
    ),
    Verdict(
        "directories", "CWD ~",
        "*choice*: `~` is a name like any other; the root can be neither renamed nor removed; 553 for a forbidden name",
        line(r"(CWD|XCWD|CDUP|MKD|XMKD|RMD|XRMD|RNFR|DELE)\b.*"),
    ),
    Verdict(
        "commands in sequence", "RETR missing // RETR /file",
        "*ours*: a failed transfer command also uses up the prepared connection (RFC 959 §3.2); most other "
        "commands cancel a pending REST or RNFR (RFC 3659 §5.3)",
        line(r".* // .*"),
    ),
]
