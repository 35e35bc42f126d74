//! Tests plans for mirrors of two trees that are written as text.

use std::collections::HashSet;

use super::*;
use crate::digest::Digest;
use crate::file::TemporaryName;
use crate::listing::Budget;
use crate::tree::LinkChoice;
use crate::tree::entry::Stamp;
use crate::tree::manifest::{ManifestRecord, Sum};
use crate::tree::names::Relation;

mod clocks;
mod deploy;
mod large;
mod times;

/// A tree as text: `d/` is a directory, `f=5@100` a file of size 5 and time 100, `l>` a link, `?x`
/// an object of unknown type.
struct Tree {
    paths: Vec<&'static str>,
    doubt: Option<(&'static str, &'static str)>,
    /// Whether that doubt is a line that is not understood.
    lacks: bool,
    refused: Option<&'static str>,
    is_local: bool,
    is_empty: bool,
    asked: Vec<String>,
    links: Vec<&'static str>,
    proof: Proof,
    hides: bool,
    /// The directory whose listing is not proven complete.
    cut: Option<&'static str>,
    clock: Option<Clock>,
    /// By how many seconds it changes a time that is set.
    time_error: Option<u64>,
    /// Files whose content is not that of their size.
    changed: Vec<&'static str>,
    /// What is told of two names of equal fold.
    relation: Relation,
    /// What exists, but is not listed.
    hidden: Vec<&'static str>,
    /// Whether it tells about names that it does not list.
    tells: bool,
    /// How many times each question asks for.
    together: Vec<usize>,
    /// Names that only LIST shows.
    by_list: Vec<&'static str>,
}

fn entry_of(text: &str) -> TreeEntry {
    let (name, size, stamp, kind) = match text.split_once('=') {
        Some((name, facts)) => {
            let (size, time) = facts.split_once('@').unwrap();
            let time = time.parse().ok().map(Stamp::at);
            (name, size.parse().ok(), time, ObjectKind::File)
        }
        None if text.ends_with('/') => {
            (text.trim_end_matches('/'), None, None, ObjectKind::Directory)
        }
        None if text.ends_with('>') => (text.trim_end_matches('>'), None, None, ObjectKind::Link),
        None if text.starts_with('%') => (&text[1..], None, None, ObjectKind::Own),
        None => (text.trim_start_matches('?'), None, None, ObjectKind::Unknown),
    };
    let name = name.as_bytes().to_vec();
    let changed = None;
    let unique = None;
    TreeEntry { name, kind, size, stamp, changed, unique, mode: None, target: None }
}

fn tree(paths: &[&'static str], is_local: bool) -> Tree {
    let paths = paths.to_vec();
    let doubt = None;
    let lacks = false;
    let refused = None;
    let is_empty = true;
    let asked = Vec::new();
    let links = Vec::new();
    let proof = Proof::Directory;
    let hides = false;
    let cut = None;
    let clock = Some(Clock::OURS);
    let time_error = None;
    Tree {
        paths,
        doubt,
        lacks,
        refused,
        is_local,
        is_empty,
        asked,
        links,
        proof,
        hides,
        cut,
        clock,
        time_error,
        changed: Vec::new(),
        relation: Relation::Two,
        hidden: Vec::new(),
        tells: true,
        together: Vec::new(),
        by_list: Vec::new(),
    }
}

impl Scan for Tree {
    fn list(&mut self, path: &[u8], _limits: Budget) -> Result<Contents, TreeFault> {
        let path = std::str::from_utf8(path).unwrap();
        if self.refused == Some(path) {
            return Err(TreeFault::item(ErrorKind::Refused, format!("{path}: 550 no")));
        }
        if self.cut == Some(path) {
            return Err(TreeFault::item(ErrorKind::Integrity, format!("{path}: cut")));
        }
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let below = self.paths.iter().filter_map(|item| item.strip_prefix(&prefix));
        let here = below.filter(|item| {
            let name = item.strip_suffix('/').unwrap_or(item);
            !item.is_empty() && (!name.contains('/') || name.starts_with(".."))
        });
        let items = here.map(entry_of);
        let doubt = self
            .doubt
            .filter(|(at, _)| *at == path)
            .map(|(_, why)| TreeFault::item(ErrorKind::Protocol, why));
        let lacks = doubt.is_some() && self.lacks;
        Ok(Contents { items: items.collect(), doubt, lacks, hides: self.hides })
    }

    fn modified(&mut self, path: &[u8]) -> Result<Option<i64>, TreeFault> {
        self.asked.push(String::from_utf8(path.to_vec()).unwrap());
        Ok(None)
    }

    fn ask_times(&mut self, paths: Vec<Vec<u8>>) -> Result<(), TreeFault> {
        self.together.push(paths.len());
        Ok(())
    }

    fn is_empty(&mut self, _path: &[u8]) -> Result<bool, TreeFault> {
        Ok(self.is_empty)
    }

    fn names_by_list(&mut self, _: &[u8], _: Budget) -> Result<HashSet<Vec<u8>>, TreeFault> {
        Ok(self.by_list.iter().map(|name| name.as_bytes().to_vec()).collect())
    }

    fn seek(&mut self, path: &[u8]) -> Result<Told, TreeFault> {
        self.asked.push(format!("seek {}", String::from_utf8_lossy(path)));
        let entries = self.hidden.iter().map(|text| entry_of(text));
        let found = entries.into_iter().find(|entry| entry.name == path);
        Ok(match found {
            _ if !self.tells => Told::Nothing,
            found => found.map_or(Told::Missing, Told::There),
        })
    }

    fn is_directory(&mut self, path: &[u8]) -> Result<bool, TreeFault> {
        Ok(self
            .hidden
            .iter()
            .any(|text| text.strip_suffix('/').is_some_and(|it| it.as_bytes() == path)))
    }

    fn relation(&mut self, _listed: &[u8], _unlisted: &[u8]) -> Result<Relation, TreeFault> {
        Ok(self.relation)
    }

    fn links(
        &mut self,
        path: &[u8],
        _count: Option<Option<u64>>,
        _limits: Budget,
    ) -> Result<Links, TreeFault> {
        if self.is_local {
            return Ok(Links::marked());
        }
        self.asked.push(format!("links {}", String::from_utf8_lossy(path)));
        let listed = self.list(path, Budget::default())?.items.into_iter().map(|item| item.name);
        let is_link = |name: &[u8]| self.links.iter().any(|link| link.as_bytes() == name);
        let names = listed.filter(|name| is_link(name)).collect();
        Ok(Links { names, proof: self.proof, ..Links::marked() })
    }

    fn is_local(&self) -> bool {
        self.is_local
    }

    fn clock(&mut self, path: &[u8]) -> Result<Option<Clock>, TreeFault> {
        self.asked.push(format!("clock {}", String::from_utf8_lossy(path)));
        Ok(self.clock)
    }

    fn time_error(&mut self, path: &[u8]) -> Result<Option<u64>, TreeFault> {
        self.asked.push(format!("times {}", String::from_utf8_lossy(path)));
        Ok(self.time_error)
    }

    fn denies(&mut self, path: &[u8]) -> Result<bool, TreeFault> {
        Ok(self.tells && !self.hidden.iter().any(|text| entry_of(text).name == path))
    }

    fn sum(&mut self, path: &[u8]) -> Result<Sum, TreeFault> {
        Ok(self.sum_of(path))
    }

    fn has_digest(&mut self, path: &[u8], digest: &Digest) -> Result<bool, TreeFault> {
        self.asked.push(format!("digest {}", String::from_utf8_lossy(path)));
        Ok(self.sum_of(path).digest[..] == digest.bytes)
    }

    fn has_content(&mut self, path: &[u8], record: &ManifestRecord) -> Result<bool, TreeFault> {
        self.asked.push(format!("content {}", String::from_utf8_lossy(path)));
        Ok(self.sum_of(path).digest == record.digest)
    }
}

/// Plans with these options and rule, and a limit on the number of objects.
fn make_by(
    source: &mut dyn Scan,
    target: &mut Tree,
    is_new: bool,
    (options, rule, objects): (&SyncOptions<'_>, Rule, usize),
) -> Result<Plan, TreeFault> {
    Plan::make(source, target, is_new, &PlanOptions { options, rule, objects, top: None }, None)
}

fn make(source: &mut Tree, target: &mut Tree) -> Plan {
    let options = SyncOptions::new().deletes(true);
    make_by(source, target, false, (&options, Rule::SameTime, 5_000)).unwrap()
}

/// Returns a plan in words: the objects to create, copy and remove, and the number of impossible
/// steps.
fn summary(plan: &Plan) -> String {
    let text = |path: &[u8]| String::from_utf8(path.to_vec()).unwrap();
    let made = plan.directories.iter().filter(|place| place.is_new);
    let made = made.map(|place| format!("+{}/", text(&place.path)));
    let copies = plan.copies.iter().map(|copy| text(&plan.path_of(copy)));
    let gone = |removal: &Removal| format!("-{}", text(&removal.path));
    let removals = plan.removed().map(gone);
    let mut words: Vec<String> = made.chain(copies).chain(removals).collect();
    words.extend((!plan.failures.is_empty()).then(|| format!("!{}", plan.failures.len())));
    words.join(" ")
}

#[test]
fn a_listed_time_that_has_moved_by_minutes_is_a_change() {
    let listed = |earliest, latest| {
        let stamp = Some(Stamp::between(earliest, latest));
        TreeEntry { stamp, ..entry_of("x=5@0") }
    };
    let seen = Removal::of(0, b"x".to_vec(), Removed::Entry, &listed(1_000, 90_000)).seen;
    for (now, want) in [
        (listed(1_000, 90_000), false),
        (listed(2_000, 2_000), false),
        (listed(500, 95_000), false),
        (listed(3_400, 92_400), true),
    ] {
        assert_eq!(seen.differs(&now), want, "{now:?}");
    }
}

#[test]
fn a_plan_contains_only_the_differences() {
    for (source, target, want) in [
        (&["a=1@5", "d/", "d/b=2@6"][..], &[][..], "+d/ a d/b"),
        (&["a=1@5", "d/", "d/b=2@6"], &["a=1@5", "d/", "d/b=2@6"], ""),
        (&["a=1@5", "b=1@5", "c=1@5"], &["a=2@5", "b=1@6", "c=1@5"], "a b"),
        (&["a=1@x"], &["a=1@5"], "a"),
        // Objects that the source lacks are removed, the content of a directory before the
        // directory.
        (&["a=1@5"], &["a=1@5", "b=1@5", "d/", "d/e/", "d/e/f=1@1"], "-b -d/e/f -d/e -d"),
        // A link is removed as a link; an object of unknown type stays.
        (&["a=1@5"], &["a=1@5", "l>"], "-l"),
        (&["a=1@5"], &["a=1@5", "b=1@1", "?x"], "-b !1"),
        // No object replaces one of another kind; the existing object stays, and so do all extras.
        (&["a=1@5"], &["a/", "b=1@1"], "!1"),
        (&["d/", "d/x=1@1"], &["d=1@1", "b=1@1"], "!1"),
        (&["a=1@5"], &["a>"], "!1"),
        // An object that the source skips still counts as existing there.
        (&["l>", "a=1@5"], &["l=1@1", "a=1@5"], ""),
        // Names that lead out of the tree: nothing is removed.
        (&["../x=1@1", "a=1@5"], &["b=1@1"], "a !1"),
        (&["..=1@1"], &["b=1@1"], "!1"),
        (&["d/", "d/../../x=1@1"], &["d/", "d/b=1@1", "c=1@1"], "!1"),
        (&["?x"], &["b=1@1"], "!1"),
    ] {
        let mut source = tree(source, false);
        let mut target = tree(target, true);
        let plan = make(&mut source, &mut target);
        let shown = format!("{:?} {:?}", source.paths, target.paths);
        assert_eq!(summary(&plan), want, "{shown}");
    }
}

#[test]
fn what_the_source_has_in_another_spelling_is_no_extra_although_it_is_left_out_cl_52() {
    let data = &["Data/", "Data/x=1@5", "a=1@5"][..];
    let all = |options: SyncOptions<'static>| options;
    let by_case =
        |options: SyncOptions<'static>| options.choice(|path: &[u8], _| !path.starts_with(b"Data"));
    let small = |options: SyncOptions<'static>| options.sizes(None, Some(5));
    let young = |options: SyncOptions<'static>| options.times(Some(7), None);
    type Wish = fn(SyncOptions<'static>) -> SyncOptions<'static>;
    for (source, wish, target, extras) in [
        (data, by_case as Wish, &["data/", "data/u=1@5", "a=1@5"][..], "-data/u -data"),
        (&["l>", "a=1@5"], all, &["L/", "L/u=1@5", "a=1@5"], "-L/u -L"),
        (&["l>", "a=1@5"], all, &["L=1@5", "a=1@5"], "-L"),
        (&["%p", "a=1@5"], all, &["P=1@5", "a=1@5"], "-P"),
        (&["B=9@5", "a=1@5"], small, &["b=3@5", "a=1@5"], "-b"),
        (&["B=9@5", "a=1@9"], young, &["b=9@8", "a=1@9"], "-b"),
        (
            &[".ftp-cli-1f-0.tmp=1@5", "a=1@5"],
            all,
            &[".FTP-CLI-1F-0.TMP=1@5", "a=1@5"],
            "-.FTP-CLI-1F-0.TMP",
        ),
    ] {
        for (relation, is_upload) in [
            (Relation::Two, true),
            (Relation::Two, false),
            (Relation::One, true),
            (Relation::One, false),
            (Relation::Unclear, true),
            (Relation::Unclear, false),
        ] {
            let mut from = tree(source, is_upload);
            let mut to = Tree { relation, ..tree(target, !is_upload) };
            let options = wish(SyncOptions::new().deletes(true));
            let rule = (&options, Rule::SameTime, 5_000);
            let plan = make_by(&mut from, &mut to, false, rule).unwrap();
            let want = if relation == Relation::Two { extras } else { "" };
            assert_eq!(summary(&plan), want, "{source:?} {target:?} {relation:?} {is_upload}");
        }
    }
    // A name that only LIST shows.
    let mut source = Tree { by_list: vec!["B"], ..tree(&["a=1@5"], false) };
    let mut target = Tree { relation: Relation::One, ..tree(&["a=1@5", "b=1@5", "c=1@5"], true) };
    assert_eq!(summary(&make(&mut source, &mut target)), "-c");
}

#[test]
fn files_of_the_run_itself_are_neither_copied_nor_replaced_nor_removed_cl_52() {
    for (source, target, is_upload, want, left_out) in [
        (&["%p", "a=1@5"][..], &[][..], true, "a", 1),
        (&["%p", "a=1@5"], &["a=1@5", "p=1@5"], true, "", 1),
        (&["a=1@5"], &["a=1@5", "%log", "b=1@5"], false, "-b", 1),
        (&["a=1@5", "log=9@9"], &["a=1@5", "%log"], false, "", 1),
        (&["a=1@5", "log/", "log/x=1@1"], &["a=1@5", "%log"], false, "", 1),
        // What contains one stays, too.
        (&["a=1@5"], &["a=1@5", "d/", "d/%log", "d/x=1@1"], false, "-d/x", 1),
    ] {
        let mut source = tree(source, is_upload);
        let plan = make(&mut source, &mut tree(target, !is_upload));
        let shown = format!("{:?} {target:?} {:?}", source.paths, plan.left_out);
        assert_eq!(summary(&plan), want, "{shown}");
        assert_eq!(plan.left_out.len(), left_out, "{shown}");
        assert!(plan.left_out.iter().all(|text| text.contains(OF_JOB)), "{shown}");
    }
}

#[test]
fn hidden_files_of_client_and_server_are_no_files_of_a_source_cl_52() {
    let time = now() - 60;
    let text = |name: &str, time: i64| -> &'static str { format!("{name}=5@{time}").leak() };
    let record = ".ftp-upload-record-0123456789ab-f.part";
    for (name, is_named) in [
        (".ftp-upload-0123456789abcdef-f.part", true),
        (record, true),
        (".ftp-client-0123456789abcdef", true),
        (".ftp-cli-part-a.part", true),
        (".0123456789abcdef.ftp-cli-upload", false),
    ] {
        for is_upload in [true, false] {
            let plan = |time: i64| {
                let mut target = tree(&["a=1@5"], !is_upload);
                make(&mut tree(&[text(name, time), "a=1@5"], is_upload), &mut target)
            };
            let fresh = plan(time);
            assert_eq!((summary(&fresh).as_str(), fresh.left_out.len()), ("", is_named.into()));
            // A user must hear of what nobody will use.
            let old = plan(time - 91 * 86_400);
            assert_eq!(summary(&old), "");
            assert!(old.left_out.concat().contains("90 days"), "{:?}", old.left_out);
        }
    }
    // Names that only begin alike, and directories, are those of users.
    let paths = [".ftp-upload-notes=5@5", ".ftp-cli-notes/", ".ftp-cli-1f-0.tmp/"];
    let plan = make(&mut tree(&paths, true), &mut tree(&[], false));
    assert_eq!(summary(&plan), "+.ftp-cli-1f-0.tmp/ +.ftp-cli-notes/ .ftp-upload-notes");
}

#[test]
fn an_object_that_is_listed_with_two_types_fails_and_nothing_is_deleted_cl_52() {
    let plan = make(&mut tree(&["?a", "b=1@5"], true), &mut tree(&["c=1@5"], false));
    assert_eq!(summary(&plan), "b !1");
}

#[test]
fn a_directory_in_which_something_fails_is_marked() {
    let mut source = tree(&["d/", "d/x=1@1", "e/", "e/y=1@1"], false);
    let plan = make(&mut source, &mut tree(&["d/", "d/x/", "e/"], true));
    let marked: Vec<_> = plan.directories.iter().map(|place| place.has_failed).collect();
    assert_eq!(marked, [false, true, false]);
}

#[test]
fn a_link_that_cannot_be_followed_fails_with_the_code_of_its_side() {
    let options = SyncOptions::new().links(LinkChoice::Follow);
    for (is_local, want) in [(true, ErrorKind::Local), (false, ErrorKind::Refused)] {
        let (mut source, mut target) = (tree(&["l>"], is_local), tree(&[], !is_local));
        let wish = (&options, Rule::SameTime, 5_000);
        let plan = make_by(&mut source, &mut target, false, wish).unwrap();
        let kinds: Vec<_> = plan.failures.iter().map(TreeFault::kind).collect();
        assert_eq!(kinds, [want]);
    }
}

#[test]
fn times_are_asked_for_together() {
    let here = ["a=1@x", "b=1@x", "c=1@5"];
    let mut source = tree(&here, false);
    make(&mut source, &mut tree(&["a=1@5", "b=1@5", "c=1@5"], true));
    assert_eq!(source.together, [2]);
    // Neither a directory nor what the user leaves out is asked for.
    let mut source = tree(&["a=1@x", "b=1@x", "d/", "n=1@x"], false);
    let options = SyncOptions::new().times(Some(7), None).choice(|path: &[u8], _| path != b"n");
    let wish = (&options, Rule::SameTime, 5_000);
    make_by(&mut source, &mut tree(&["d/"], true), false, wish).unwrap();
    assert_eq!(source.together, [2]);
    // A single one is asked for where it is needed.
    let mut source = tree(&here[1..], false);
    make(&mut source, &mut tree(&["b=1@5", "c=1@5"], true));
    assert!(source.together.is_empty() && source.asked == ["b"]);
}

#[test]
fn nothing_is_removed_based_on_an_uncertain_listing() {
    let all = || tree(&["a=1@5", "d/", "d/b=1@5"], true);
    let mut source = tree(&["a=1@5", "d/"], false);
    source.doubt = Some(("d", "a line that is not understood"));
    assert_eq!(summary(&make(&mut source, &mut all())), "!1");
    let mut source = tree(&["a=1@5", "d/"], false);
    source.refused = Some("d");
    assert_eq!(summary(&make(&mut source, &mut all())), "!1");
    // An empty listing may be that of a missing directory.
    let mut source = tree(&["a=1@5", "d/"], false);
    source.is_empty = false;
    assert_eq!(summary(&make(&mut source, &mut all())), "!1");
    let mut source = tree(&["a=1@5", "d/"], false);
    assert_eq!(summary(&make(&mut source, &mut all())), "-d/b");
    // Objects that are uncertain in the target's listing stay, and so do all directories above
    // them.
    let mut source = tree(&["a=1@5"], true);
    let mut target = all();
    (target.is_local, target.doubt) = (false, Some(("d", "what is this")));
    assert_eq!(summary(&make(&mut source, &mut target)), "!1");
    let mut source = tree(&["a=1@5"], true);
    let mut target = all();
    (target.is_local, target.refused) = (false, Some("d"));
    assert_eq!(summary(&make(&mut source, &mut target)), "!1");
}

#[test]
fn a_line_that_is_not_understood_is_a_failure_and_not_only_a_doubt_ls_41() {
    for (lacks, deletes, want) in
        [(false, false, "a"), (true, false, "a !1"), (false, true, "a !1"), (true, true, "a !1")]
    {
        let doubt = Some(("", "cannot parse a line"));
        let mut source = Tree { doubt, lacks, ..tree(&["a=1@5"], false) };
        let mut target = tree(&["b=1@5"], true);
        let options = SyncOptions::new().deletes(deletes);
        let wish = (&options, Rule::SameTime, 5_000);
        let plan = make_by(&mut source, &mut target, false, wish).unwrap();
        assert_eq!(summary(&plan), want, "{lacks} {deletes}");
        let kinds = plan.failures.iter().map(TreeFault::kind);
        assert!(!lacks || kinds.eq([ErrorKind::Protocol]), "{:?}", plan.failures);
    }
}

#[test]
fn the_temporary_names_of_no_run_are_copied_cl_52() {
    for temporary in [Some(TemporaryName::standard()), None] {
        let options = SyncOptions::new().temporary(temporary);
        let wish = (&options, Rule::SameTime, 5_000);
        let mut source = tree(&[".in.a=5@9", ".in.a.0123456789abcdef=5@9", "a=5@9"], true);
        let plan = make_by(&mut source, &mut tree(&[], false), false, wish).unwrap();
        assert_eq!(summary(&plan), ".in.a a");
    }
}

#[test]
fn a_link_listed_as_a_directory_is_not_followed_hc_08() {
    let mut target = tree(&["l/", "l/precious=1@1", "b=1@1"], false);
    target.links.push("l");
    let plan = make(&mut tree(&[], true), &mut target);
    assert_eq!(summary(&plan), "-b -l");
    assert!(plan.removals.iter().all(|removal| removal.what == Removed::Entry));
}

#[test]
fn nothing_is_removed_inside_a_directory_that_may_be_a_link_hc_08() {
    let all = ["l/", "l/precious=1@1", "l/d/", "l/d/precious=1@1", "r/", "r/old=1@1"];
    for (links, proof, want) in [
        (&[][..], Proof::Directory, "-l/precious -l/d/precious -r/old"),
        (&["l"], Proof::Directory, "-r/old !2"),
        // The only evidence is a directory of the same name at the source.
        (&[], Proof::None, "-l/precious -l/d/precious -r/old"),
        // More directories are listed than can exist: any of them may be a link.
        (&[], Proof::TooMany, "!3"),
    ] {
        let mut source = tree(&["l/", "l/d/", "r/"], true);
        let mut target = tree(&all, false);
        (target.links, target.proof) = (links.to_vec(), proof);
        let plan = make(&mut source, &mut target);
        assert_eq!(summary(&plan), want, "{links:?} {proof:?}");
        // Each directory once, whatever is removed below it.
        let asked = target.asked.iter().filter(|asked| asked.starts_with("links"));
        assert!(asked.is_sorted_by(|one, next| one < next), "{:?}", target.asked);
    }
}

#[test]
fn only_what_is_below_a_link_may_contain_itself() {
    // `m` is listed like the top directory, after a link to a directory.
    let mut source = tree(&["l>", "l/x=1@1", "m/", "m/l>", "m/l/x=1@1", "m/m/"], false);
    source.hidden = vec!["l/", "m/l/"];
    let options = SyncOptions::new().links(LinkChoice::Follow);
    let wish = (&options, Rule::SameTime, 5_000);
    let plan = make_by(&mut source, &mut tree(&[], true), true, wish).unwrap();
    assert_eq!(summary(&plan), "+/ +l/ +m/ +m/l/ +m/m/ l/x m/l/x");
}

#[test]
fn only_a_possibly_unchanged_file_needs_a_query() {
    let mut source = tree(&["a=1@x", "b=2@x", "c=1@x"], false);
    let mut target = tree(&["a=1@5", "b=1@5"], true);
    let plan = make(&mut source, &mut target);
    assert_eq!(summary(&plan), "a b c");
    assert_eq!(source.asked, ["a"]);
    assert_eq!(plan.copies[0].why, Difference::Doubt);
}

/// A server that lists a directory inside itself, without end.
struct Endless {
    width: usize,
    unique: Option<&'static [u8]>,
}

impl Scan for Endless {
    fn list(&mut self, _path: &[u8], _limits: Budget) -> Result<Contents, TreeFault> {
        let item = |number: usize| TreeEntry {
            name: format!("d{number}").into_bytes(),
            kind: ObjectKind::Directory,
            size: None,
            stamp: None,
            changed: None,
            unique: self.unique.map(<[u8]>::to_vec),
            mode: None,
            target: None,
        };
        let items = (0..self.width).map(item).collect();
        Ok(Contents { items, ..Contents::default() })
    }

    fn modified(&mut self, _path: &[u8]) -> Result<Option<i64>, TreeFault> {
        Ok(None)
    }

    fn is_local(&self) -> bool {
        false
    }
}

#[test]
fn an_endless_tree_is_cut_off_hc_14() {
    let mut target = tree(&[], true);
    let options = SyncOptions::new().deletes(true);
    let mut plan = |width, unique| {
        let mut source = Endless { width, unique };
        make_by(&mut source, &mut target, true, (&options, Rule::SameTime, 5_000))
    };
    let deep = plan(1, None).unwrap();
    assert_eq!((deep.directories.len(), deep.failures.len()), (DEPTH + 1, 1));
    let known = plan(3, Some(b"same")).unwrap();
    assert_eq!((known.directories.len(), known.failures.len()), (4, 9));
    assert_eq!(plan(100, None).unwrap_err().kind(), ErrorKind::Integrity);
}

#[test]
fn files_that_the_source_may_hide_are_not_removed() {
    const THERE: [&str; 4] = ["a=1@5", ".b=1@5", "c=1@5", ".ftp-cli-part-x=1@5"];
    for (hides, is_local, want) in [
        (false, true, "-.b -.ftp-cli-part-x -c"),
        (true, true, "-.ftp-cli-part-x -c"),
        (true, false, "-.ftp-cli-part-x -c"),
    ] {
        let mut source = Tree { hides, ..tree(&["a=1@5"], !is_local) };
        let plan = make(&mut source, &mut tree(&THERE, is_local));
        assert_eq!(summary(&plan), want, "{hides} {is_local}");
    }
}

#[test]
fn a_target_with_a_truncated_listing_is_left_unchanged() {
    let paths = ["d/", "d/a=1@5"];
    let mut source = tree(&paths, true);
    let mut target = Tree { cut: Some("d"), ..tree(&["d/", "d/b=1@5"], false) };
    assert_eq!(summary(&make(&mut source, &mut target)), "!1");
    let mut target = Tree { cut: Some(""), ..tree(&["x=1@5"], false) };
    let options = SyncOptions::new().deletes(true);
    let wish = (&options, Rule::SameTime, 5_000);
    let failure = make_by(&mut source, &mut target, false, wish).unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Integrity);
}
