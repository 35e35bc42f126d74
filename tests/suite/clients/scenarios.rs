//! The steps for every client, as far as it supports them.

use ftp_tests::compare::assert_same;
use ftp_tests::content::{SIZES, binary, text};
use ftp_tests::scale::count;

use super::table::{
    BASIC_FTP, INETUTILS, NCFTP, NCFTPGET, NCFTPLS, NCFTPPUT, NET_FTP, PHP, RCLONE, TCL, TNFTP,
    WGET,
};
use super::{Client, Meeting, Step, Verb, Way};

/// Names that every client sends unchanged.
const NAMES: [&str; 6] = [
    "plain.txt",
    "two  inner spaces",
    "gr\u{fc}\u{df}e \u{65e5}\u{672c}\u{8a9e} \u{1f4c1}",
    "it's",
    "hash#tag",
    ".hidden",
];

impl Client {
    /// All scenarios with each kind of data connection; in a plain run, with the first kind, and with
    /// the others those that move files.
    #[track_caller]
    fn works_with_our_server(&self) {
        for (at, &way) in self.ways.iter().enumerate() {
            let scenarios = [Self::moves, Self::continues, Self::lists, Self::arranges];
            let kinds = if at == 0 { scenarios.len() } else { count(1, scenarios.len()) };
            for scenario in &scenarios[..kinds] {
                let Some(meeting) = Meeting::new(self.find, way) else { return };
                scenario(self, &meeting, way);
            }
        }
    }

    fn can(&self, verb: Verb) -> bool {
        self.does.contains(&verb)
    }

    /// Runs the supported ones of `steps`, and returns the output.
    #[track_caller]
    fn performs(&self, meeting: &Meeting, way: Way, mut steps: Vec<Step>) -> String {
        steps.retain(|step| self.can(step.verb));
        if steps.is_empty() {
            return String::new();
        }
        let said = (self.perform)(meeting, way, &steps);
        String::from_utf8(said).expect("what clients say of these names is UTF-8")
    }

    /// Every size, in types image and ASCII, in both directions.
    fn moves(&self, meeting: &Meeting, way: Way) {
        let Meeting { server, local, .. } = meeting;
        let mut files = Vec::new();
        for (seed, size) in (1..).zip(SIZES) {
            files.push((Verb::Put, Verb::Get, format!("image {size}"), binary(size, seed)));
            files.push((Verb::PutText, Verb::GetText, format!("text {size}"), text(size, seed)));
        }
        let mut steps = Vec::new();
        for (put, get, name, content) in &files {
            local.write(name, content);
            server.root.write(format!("down {name}"), content);
            steps.push(Step::two(*put, name, format!("up {name}")));
            steps.push(Step::two(*get, format!("down {name}"), format!("got {name}")));
        }
        self.performs(meeting, way, steps);
        for (put, get, name, content) in &files {
            if self.can(*put) {
                let stored = server.root.read(format!("up {name}"));
                assert_same(&format!("{put:?} {way:?} {name}"), &stored, content);
            }
            if self.can(*get) {
                let got = local.read(format!("got {name}"));
                assert_same(&format!("{get:?} {way:?} {name}"), &got, content);
            }
        }
    }

    /// Completes partial files.
    fn continues(&self, meeting: &Meeting, way: Way) {
        let Meeting { server, local, .. } = meeting;
        let content = binary(200_000, 9);
        let begun = &content[..Meeting::THERE];
        local.write("whole", &content);
        local.write("got", begun);
        server.root.write("whole", &content);
        server.root.write("put", begun);
        let steps = vec![
            Step::two(Verb::ContinueGet, "whole", "got"),
            Step::two(Verb::ContinuePut, "whole", "put"),
        ];
        self.performs(meeting, way, steps);
        if self.can(Verb::ContinueGet) {
            assert_same(&format!("continued get, {way:?}"), &local.read("got"), &content);
        }
        if self.can(Verb::ContinuePut) {
            assert_same(&format!("continued put, {way:?}"), &server.root.read("put"), &content);
        }
    }

    /// Uploads, downloads, lists and deletes every name.
    fn lists(&self, meeting: &Meeting, way: Way) {
        let Meeting { server, local, .. } = meeting;
        server.root.mkdir("directory");
        let mut steps = Vec::new();
        for (size, name) in (1_001..).zip(NAMES) {
            let source = local.write(format!("source {size}"), &binary(size, 1));
            let path = format!("directory/{name}");
            if !self.can(Verb::Put) {
                std::fs::copy(source, server.root.join(&path)).expect("a copy");
            }
            steps.push(Step::two(Verb::Put, format!("source {size}"), &path));
            steps.push(Step::two(Verb::Get, path, format!("got {size}")));
        }
        self.performs(meeting, way, steps);
        for (size, name) in (1_001..).zip(NAMES) {
            let want = binary(size, 1);
            assert_same(name, &server.root.read(format!("directory/{name}")), &want);
            if self.can(Verb::Get) {
                assert_same(name, &local.read(format!("got {size}")), &want);
            }
        }
        let long = self.performs(meeting, way, vec![Step::one(Verb::List, "directory")]);
        let names = self.performs(meeting, way, vec![Step::one(Verb::Names, "directory")]);
        for (size, name) in (1_001..).zip(NAMES) {
            let is_entry = |line: &str| {
                let mut words = line.strip_suffix(name).unwrap_or_default().split_whitespace();
                words.any(|word| word == size.to_string())
            };
            let is_name = |line: &str| [name, &format!("directory/{name}")].contains(&line);
            // Some clients hide names that begin with a dot.
            let is_hidden = name.starts_with('.');
            if self.can(Verb::List) && !is_hidden {
                assert!(long.lines().any(is_entry), "{way:?}: {name:?} in {long}");
            }
            if self.can(Verb::Names) && !is_hidden {
                assert!(names.lines().any(is_name), "{way:?}: {name:?} in {names}");
            }
        }
        let delete = |name: &str| Step::one(Verb::Delete, format!("directory/{name}"));
        self.performs(meeting, way, NAMES.map(delete).into());
        if self.can(Verb::Delete) {
            assert_eq!(server.root.tree(), [("directory".into(), None)]);
        }
    }

    /// Creates, moves and removes directories and files.
    fn arranges(&self, meeting: &Meeting, way: Way) {
        if [Verb::Put, Verb::MakeDirectory, Verb::Rename].iter().any(|&verb| !self.can(verb)) {
            return;
        }
        let Meeting { server, local, .. } = meeting;
        local.write("source", b"content");
        let steps = vec![
            Step::one(Verb::MakeDirectory, "a b"),
            Step::one(Verb::MakeDirectory, "a b/\u{e7} d"),
            Step::two(Verb::Put, "source", "a b/\u{e7} d/file"),
            Step::two(Verb::Rename, "a b/\u{e7} d/file", "moved here"),
            Step::one(Verb::RemoveDirectory, "a b/\u{e7} d"),
        ];
        self.performs(meeting, way, steps);
        let want = [("a b".into(), None), ("moved here".into(), Some(b"content".to_vec()))];
        assert_eq!(server.root.tree(), want, "{way:?}");
        let steps =
            vec![Step::one(Verb::RemoveDirectory, "a b"), Step::one(Verb::Delete, "moved here")];
        self.performs(meeting, way, steps);
        server.assert_only(&[]);
    }
}

#[test]
fn tnftp() {
    TNFTP.works_with_our_server();
}

#[test]
fn inetutils_ftp() {
    INETUTILS.works_with_our_server();
}

#[test]
fn ncftp() {
    NCFTP.works_with_our_server();
}

#[test]
fn ncftpput() {
    NCFTPPUT.works_with_our_server();
}

#[test]
fn ncftpget() {
    NCFTPGET.works_with_our_server();
}

#[test]
fn ncftpls() {
    NCFTPLS.works_with_our_server();
}

#[test]
fn wget() {
    WGET.works_with_our_server();
}

#[test]
fn rclone() {
    RCLONE.works_with_our_server();
}

#[test]
fn perl_net_ftp() {
    NET_FTP.works_with_our_server();
}

#[test]
fn php() {
    PHP.works_with_our_server();
}

#[test]
fn node_basic_ftp() {
    BASIC_FTP.works_with_our_server();
}

#[test]
fn tcl() {
    TCL.works_with_our_server();
}
