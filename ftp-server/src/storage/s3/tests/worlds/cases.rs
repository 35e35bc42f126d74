//! The commands of one node, the faults of their requests, and the acts of the other node.

use super::super::super::http::Treatment;
use super::super::fake::{Odd, Stranger};
use super::model::Step;

/// A command, after the commands `before` it.
#[derive(Debug)]
pub(super) struct Command {
    name: &'static str,
    pub(super) before: &'static [&'static str],
    pub(super) line: &'static str,
    /// The name of the content that it uploads.
    pub(super) sent: Option<&'static str>,
    pub(super) steps: Vec<Step>,
    /// Whether it follows other uploads to the directory, so that the node knows its names.
    pub(super) follows: bool,
    /// The names that the other node changes.
    names: &'static [&'static str],
    /// What the store makes of the condition on the target of a copy.
    pub(super) copies: Treatment,
}

impl Command {
    /// Returns an upload over a file.
    pub(super) fn over(sent: &'static str) -> Self {
        let (name, line, steps, names): (_, _, _, &[&str]) = ("STOR", "STOR f", Vec::new(), &["f"]);
        let (before, copies): (&[_], _) = (&[], Treatment::Checked);
        let (sent, follows) = (Some(sent), false);
        Self { name, before, line, sent, steps, follows, names, copies }
    }
}

/// What the other node does. `sent` is the content of its `STOR`.
#[derive(Debug)]
pub(super) struct Act {
    pub(super) lines: Vec<String>,
    pub(super) sent: Option<&'static str>,
    pub(super) steps: Vec<Step>,
}

/// When the other node acts: while the request is held, after the command, or while the request is
/// held and the client has gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Moment {
    During,
    After,
    Left,
}

pub(super) struct Case<'a> {
    pub(super) command: &'a Command,
    pub(super) operation: &'static str,
    /// The number of requests of the command for this operation that pass before.
    pub(super) passed: u64,
    pub(super) odd: Odd,
    pub(super) moment: Moment,
    pub(super) act: Act,
}

impl Case<'_> {
    /// Returns the row of this case. Known failures name the beginnings of rows.
    pub(super) fn row(&self) -> String {
        let Self { command, operation, passed, odd, moment, act } = self;
        let act = act.lines.join(", ");
        format!("{} | {operation} {passed} | {odd:?} {moment:?} | {act}", command.name)
    }
}

fn put(key: &str, content: &str) -> Step {
    Step::Put(key.to_owned(), content.to_owned())
}

fn moved(from: &str, to: &str) -> [Step; 2] {
    [Step::Copy(from.to_owned(), to.to_owned()), Step::Clear(from.to_owned())]
}

/// The commands, each with each of its requests.
pub(super) fn commands() -> Vec<Command> {
    let of = |name, before, line, sent, steps: &[Step], names| Command {
        name,
        before,
        line,
        sent,
        steps: steps.to_vec(),
        follows: name.ends_with(" next"),
        names,
        copies: match name.split_once(": ") {
            Some(("moto", _)) => Treatment::Ignored,
            Some(_) => Treatment::Refused,
            None => Treatment::Checked,
        },
    };
    let tree = [moved("d/", "t/"), moved("d/x", "t/x"), moved("d/y", "t/y")].concat();
    let (append, from) =
        (Step::Append("f".to_owned(), "A".to_owned()), Step::From("f".to_owned(), "A".to_owned()));
    let large = Step::Append("f".to_owned(), "LARGE".to_owned());
    let remove = |key: &str| Step::Remove(key.to_owned());
    let none: &[&str] = &[];
    vec![
        of("STOR new", none, "STOR n", Some("A"), &[put("n", "A")], &["n"]),
        of("STOR new next", none, "STOR n", Some("A"), &[put("n", "A")], &["n"]),
        of("STOR large new next", none, "STOR n", Some("LARGE"), &[put("n", "LARGE")], &["n"]),
        of("STOR over", none, "STOR f", Some("A"), &[put("f", "A")], &["f"]),
        of("STOR large new", none, "STOR n", Some("LARGE"), &[put("n", "LARGE")], &["n"]),
        of("STOR large over", none, "STOR f", Some("LARGE"), &[put("f", "LARGE")], &["f"]),
        of("APPE", none, "APPE f", Some("A"), &[append], &["f"]),
        of("APPE large", none, "APPE f", Some("LARGE"), &[large], &["f"]),
        of("REST STOR", &["REST 3"], "STOR f", Some("A"), &[from], &["f"]),
        of("DELE", none, "DELE f", None, &[remove("f")], &["f"]),
        of("MKD", none, "MKD m", None, &[put("m/", "")], &["m/"]),
        of("RMD", none, "RMD e", None, &[remove("e/")], &["e/", "e/n"]),
        of("RNTO new", &["RNFR f"], "RNTO n", None, &moved("f", "n"), &["f", "n"]),
        of("RNTO over", &["RNFR f"], "RNTO g", None, &moved("f", "g"), &["f", "g"]),
        of("RNTO tree", &["RNFR d"], "RNTO t", None, &tree, &["d/x", "t/x"]),
        of("MFMT", none, "MFMT 20200101000000 f", None, &[], &["f"]),
        of("moto: RNTO new", &["RNFR f"], "RNTO n", None, &moved("f", "n"), &["f", "n"]),
        of("moto: RNTO over", &["RNFR f"], "RNTO g", None, &moved("f", "g"), &["f", "g"]),
        of("moto: MFMT", none, "MFMT 20200101000000 f", None, &[], &["f"]),
        of("refused: RNTO new", &["RNFR f"], "RNTO n", None, &moved("f", "n"), &["f", "n"]),
        of("refused: RNTO over", &["RNFR f"], "RNTO g", None, &moved("f", "g"), &["f", "g"]),
        of("refused: MFMT", none, "MFMT 20200101000000 f", None, &[], &["f"]),
    ]
}

/// Returns the faults that a request for this operation can meet, and when the other node acts.
pub(super) fn odds(operation: &str) -> Vec<(Odd, Moment)> {
    const STRANGERS: [Stranger; 5] =
        [Stranger::NoContent, Stranger::Nothing, Stranger::Json, Stranger::Text, Stranger::Gateway];
    let reads = ["HeadObject", "GetObject", "ListObjectsV2", "ListParts"].contains(&operation);
    let mut all = vec![
        (Odd::LateAnswer, Moment::During),
        (Odd::LateAnswer, Moment::Left),
        (Odd::LateWork, Moment::During),
        (Odd::LateWork, Moment::Left),
        (Odd::Restart, Moment::During),
    ];
    all.extend(STRANGERS.map(|stranger| (Odd::Other(stranger, false), Moment::During)));
    if operation == "CopyObject" {
        all.extend([(Odd::SlowCopy, Moment::During), (Odd::SlowCopy, Moment::Left)]);
    }
    if !reads {
        all.extend(STRANGERS.map(|stranger| (Odd::Other(stranger, true), Moment::During)));
        all.push((Odd::LostAnswer, Moment::During));
        for odd in [Odd::Adrift, Odd::Twice] {
            all.extend([(odd, Moment::During), (odd, Moment::After)]);
        }
    }
    all
}

/// Returns what the other node may do with the names of a command: nothing, store it, remove it,
/// rename it away, and rename another file to it.
pub(super) fn acts(command: &Command) -> Vec<Act> {
    let of = |lines: &[&str], sent, steps: &[Step]| Act {
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        sent,
        steps: steps.to_vec(),
    };
    let mut all = vec![of(&[], None, &[])];
    for key in command.names {
        let remove = [Step::Remove((*key).to_owned())];
        if let Some(name) = key.strip_suffix('/') {
            all.push(of(&[&format!("MKD {name}")], None, &[put(key, "")]));
            all.push(of(&[&format!("RMD {name}")], None, &remove));
            continue;
        }
        let line = |verb: &str| format!("{verb} {key}");
        all.push(of(&[&line("STOR")], Some("B"), &[put(key, "B")]));
        all.push(of(&[&line("DELE")], None, &remove));
        all.push(of(&[&line("RNFR"), "RNTO w"], None, &moved(key, "w")));
        all.push(of(&["RNFR o", &line("RNTO")], None, &moved("o", key)));
    }
    all
}
