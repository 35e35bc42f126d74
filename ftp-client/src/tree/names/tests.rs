//! Enumerates runs against a model of targets that store names in another form.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[test]
fn all_spellings_that_some_target_takes_for_one_fold_alike() {
    for (one, other) in [
        ("Readme.txt", "README.TXT"),
        ("caf\u{e9}", "cafe\u{301}"),
        ("CAF\u{c9}", "cafe\u{301}"),
        ("v1", "v1."),
        ("v1", "v1. ."),
        (" lead", "lead"),
        ("a ", "A"),
        ("stra\u{df}e", "STRASSE"),
        ("\u{130}x", "ix"),
        ("\u{130}x", "i\u{307}x"),
        ("\u{212a}", "k"),
        ("\u{3bf}\u{3b4}\u{3bf}\u{3c2}", "\u{39f}\u{394}\u{39f}\u{3a3}"),
        ("\u{17f}", "S"),
        ("\u{fb01}n", "FIN"),
        ("\u{1c5}", "\u{1c4}"),
        ("...", "."),
    ] {
        assert_eq!(fold(one.as_bytes()), fold(other.as_bytes()), "{one} {other}");
    }
    for (one, other) in [("a", "b"), ("\u{e9}", "e"), (".a", "a"), ("a b", "ab"), ("1", "\u{b9}")] {
        assert_ne!(fold(one.as_bytes()), fold(other.as_bytes()), "{one} {other}");
    }
    assert_eq!(fold(b"\xe9A. "), fold(b"\xe9a"));
    assert_ne!(fold(b"\xe9"), fold(b"\xc9"));
}

#[test]
fn folding_twice_changes_nothing() {
    for code in (0..0x3_0000).filter_map(char::from_u32) {
        let name = format!("x{code}y");
        let once = fold(name.as_bytes());
        assert_eq!(fold(&once), once, "{code:?}");
        for other in [name.to_lowercase(), name.to_uppercase()] {
            assert_eq!(fold(other.as_bytes()), once, "{code:?}");
        }
        let forms: [String; 2] = [name.nfc().collect(), name.nfd().collect()];
        for other in forms {
            assert_eq!(fold(other.as_bytes()), once, "{code:?}");
        }
    }
}

#[test]
fn only_one_answer_for_and_one_against_prove_two_names() {
    use Answer::{Absent, There, Unknown};
    for (listed, unlisted, want) in [
        (There, Absent, Relation::Two),
        (There, There, Relation::One),
        (There, Unknown, Relation::Unclear),
        (Absent, There, Relation::Unclear),
        (Absent, Absent, Relation::Unclear),
        (Absent, Unknown, Relation::Unclear),
        (Unknown, There, Relation::Unclear),
        (Unknown, Absent, Relation::Unclear),
        (Unknown, Unknown, Relation::Unclear),
    ] {
        assert_eq!(relation(listed, unlisted), want, "{listed:?} {unlisted:?}");
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Kind {
    no_case: bool,
    form: Option<bool>,
    drops_ends: bool,
    cuts: bool,
    /// Lists new names only from the second listing on after they were written.
    is_late: bool,
    hides_dots: bool,
    /// Does not list the last name.
    cuts_lists: bool,
    /// Does not say whether a name is there.
    is_mute: bool,
}

impl Kind {
    /// Returns the name under which the target finds an object.
    fn key(self, name: &str) -> String {
        let stored = self.stored(name);
        if self.no_case { stored.to_lowercase() } else { stored }
    }

    /// Returns the name that the target lists for an object of this name.
    fn stored(self, name: &str) -> String {
        let mut name = match self.form {
            Some(true) => name.nfc().collect(),
            Some(false) => name.nfd().collect(),
            None => name.to_owned(),
        };
        if self.drops_ends {
            name = name.trim_end_matches(['.', ' ']).to_owned();
        }
        if self.cuts {
            name = name.chars().take(8).collect();
        }
        name
    }

    fn is_faithful(self) -> bool {
        !self.no_case && self.form.is_none() && !self.drops_ends && !self.cuts
    }
}

/// One directory of a target: listed name and content, by key.
#[derive(Clone, Debug)]
struct Model {
    kind: Kind,
    objects: BTreeMap<String, (String, String)>,
    /// Keys written since the last listing.
    fresh: BTreeSet<String>,
}

impl Model {
    fn list(&mut self) -> HashSet<Vec<u8>> {
        let kind = self.kind;
        let fresh = std::mem::take(&mut self.fresh);
        let is_listed = |key: &str, name: &str| {
            !(kind.is_late && fresh.contains(key) || kind.hides_dots && name.starts_with('.'))
        };
        let mut names: Vec<&String> = self
            .objects
            .iter()
            .filter(|(key, (name, _))| is_listed(key, name))
            .map(|(_, (name, _))| name)
            .collect();
        if kind.cuts_lists {
            names.pop();
        }
        names.into_iter().map(|name| name.clone().into_bytes()).collect()
    }

    fn ask(&self, name: &str) -> Answer {
        match self.objects.contains_key(&self.kind.key(name)) {
            _ if self.kind.is_mute => Answer::Unknown,
            true => Answer::There,
            false => Answer::Absent,
        }
    }

    /// Stores a file. An existing object keeps its name.
    fn store(&mut self, name: &str, content: &str) {
        let key = self.kind.key(name);
        let stored = self.kind.stored(name);
        let is_new = !self.objects.contains_key(&key);
        self.objects.entry(key.clone()).or_insert((stored, String::new())).1 = content.to_owned();
        if is_new {
            self.fresh.insert(key);
        }
    }

    fn delete(&mut self, name: &str) -> Option<String> {
        self.objects.remove(&self.kind.key(name)).map(|(_, content)| content)
    }
}

#[derive(Debug, Default)]
struct Run {
    is_right: bool,
    /// Names of extras that it deleted, with their content.
    deleted: Vec<(String, String)>,
    /// Sources that a move may remove.
    removed: Vec<String>,
}

/// Copies files of the names `sources` into the model's directory, each with its name as content,
/// and deletes extras: look, write, list again, delete.
fn run(model: &mut Model, sources: &[&str]) -> Run {
    let text = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
    let listed = model.list();
    let mut is_right = true;
    let (mut written, mut new) = (Vec::new(), Vec::new());
    // Objects of the target that are not extras although no source has their name.
    let mut kept: HashSet<Vec<u8>> = HashSet::new();
    for source in sources {
        let name = source.as_bytes();
        if !listed.contains(name) {
            let own = fold(name);
            let known = listed.iter().chain(&new).filter(|other| fold(other) == own);
            let known: Vec<Vec<u8>> = known.cloned().collect();
            let ask = |other: &Vec<u8>| relation(model.ask(&text(other)), model.ask(source));
            let answers: Vec<Relation> = known.iter().map(ask).collect();
            match (known.as_slice(), answers.as_slice()) {
                ([other], [Relation::One]) => {
                    // The object can be the copy of one source only.
                    let is_taken = !kept.insert(other.clone());
                    if is_taken || sources.iter().any(|source| source.as_bytes() == other) {
                        is_right = false;
                        continue;
                    }
                }
                (_, answers) if answers.iter().all(|answer| *answer == Relation::Two) => {
                    new.push(name.to_vec());
                }
                _ => {
                    is_right = false;
                    kept.extend(known);
                    new.push(name.to_vec());
                }
            }
        }
        model.store(source, source);
        written.push((*source).to_owned());
    }
    let extras = listed.iter().filter(|name| {
        !kept.contains(*name) && !sources.iter().any(|source| source.as_bytes() == *name)
    });
    let extras: Vec<Vec<u8>> = extras.cloned().collect();
    let folds: HashSet<Vec<u8>> = extras.iter().map(|name| fold(name)).collect();
    let lacked = lacking(
        model,
        (!new.is_empty()).then_some(()),
        |_| Ok::<_, ()>(()),
        |model, ()| {
            let names = model.list().into_iter().map(|name| (name, None)).collect();
            let shown = ShownNames { names, hides_dots: model.kind.hides_dots };
            Ok((!new.iter().all(|name| shown.confirms(name, &folds))).then_some(()))
        },
    );
    let is_confirmed = lacked.unwrap().is_empty();
    let mut done = Run { is_right: is_right && is_confirmed, ..Run::default() };
    if is_confirmed {
        for extra in extras {
            let extra = text(&extra);
            if let Some(content) = model.delete(&extra) {
                done.deleted.push((extra, content));
            }
        }
        done.removed = written;
    }
    done
}

const NAMES: [&str; 12] = [
    "a",
    "A",
    "\u{e9}",
    "e\u{301}",
    "\u{c9}",
    "v1",
    "v1.",
    ".a",
    ".A",
    "abcdefgh",
    "abcdefghi",
    "abcdefghj",
];

/// Returns all sequences of at most `depth` different names.
fn sequences(depth: usize) -> Vec<Vec<&'static str>> {
    let mut all = vec![Vec::new()];
    let mut last = all.clone();
    for _ in 0..depth {
        let longer = last.iter().flat_map(|names| {
            let next = NAMES.iter().filter(|name| !names.contains(*name));
            next.map(|name| [&names[..], &[*name]].concat())
        });
        last = longer.collect();
        all.extend(last.clone());
    }
    all
}

fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for store in 0..6 {
        for bits in [0, 1, 2, 4, 8, 3_u8] {
            kinds.push(Kind {
                no_case: store == 1,
                form: [None, None, Some(true), Some(false), None, None][store],
                drops_ends: store == 4,
                cuts: store == 5,
                is_late: bits & 1 != 0,
                hides_dots: bits & 2 != 0,
                cuts_lists: bits & 4 != 0,
                is_mute: bits & 8 != 0,
            });
        }
    }
    // Windows, and a disk of exFAT on macOS.
    kinds.push(Kind { no_case: true, drops_ends: true, ..Kind::default() });
    kinds.push(Kind { no_case: true, form: Some(false), ..Kind::default() });
    kinds
}

#[test]
fn no_target_loses_a_source_or_what_is_not_an_extra() {
    // What the target has before does not depend on an order.
    let mut befores = sequences(2);
    befores.retain(|names| names.is_sorted());
    let (few, _) = befores.split_at(NAMES.len() + 1);
    let (short, long) = (sequences(2), sequences(3));
    let each = |kind: Kind, befores: &[Vec<&'static str>], sources: &[Vec<&'static str>]| {
        let mut runs = 0;
        for (before, sources) in
            befores.iter().flat_map(|one| sources.iter().map(move |other| (one, other)))
        {
            let mut model = Model { kind, objects: BTreeMap::new(), fresh: BTreeSet::new() };
            before.iter().for_each(|name| model.store(name, "old"));
            model.fresh.clear();
            // The second night finds what the first one left.
            for night in 0..2 {
                let done = run(&mut model, sources);
                check(&model, before, sources, night, &done);
                runs += 1;
            }
        }
        runs
    };
    let all = |kind: Kind| {
        let is_told = !(kind.is_late || kind.hides_dots || kind.cuts_lists || kind.is_mute);
        let more = || each(kind, few, &long) + each(kind, &befores, &short);
        each(kind, few, &short) + if is_told { more() } else { 0 }
    };
    let runs: usize = std::thread::scope(|scope| {
        let threads: Vec<_> =
            kinds().into_iter().map(|kind| scope.spawn(move || all(kind))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(runs, 2 * (38 * 13 * 145 + 8 * (13 * 1_465 + 79 * 145)));
}

fn check(model: &Model, before: &[&str], sources: &[&str], night: u8, done: &Run) {
    let kind = model.kind;
    let shown = || format!("{before:?} {sources:?} {night} {done:?} {model:?}");
    let content = |name: &str| model.objects.get(&kind.key(name));
    for (extra, content) in &done.deleted {
        assert_eq!(content, "old", "{}", shown());
        assert!(!sources.contains(&extra.as_str()), "{}", shown());
    }
    for source in &done.removed {
        assert!(content(source).is_some_and(|(_, it)| it == source), "{}", shown());
    }
    if done.is_right {
        for source in sources {
            assert!(content(source).is_some_and(|(_, it)| it == source), "{}", shown());
        }
    }
    // Two hidden names of equal fold look like one in the next night: both answer, and no listing
    // shows them.
    let is_dotted = |name: &&&str| name.starts_with('.');
    let is_blind = kind.hides_dots && sources.iter().filter(is_dotted).count() > 1;
    if kind.is_faithful() && !kind.is_mute && !kind.cuts_lists && !is_blind {
        assert!(done.is_right, "{}", shown());
        let is_left = |name: &&str| {
            let is_hidden = kind.hides_dots && name.starts_with('.');
            !sources.contains(name) && !is_hidden && content(name).is_some()
        };
        assert!(!NAMES.iter().any(is_left), "{}", shown());
    }
}

#[test]
fn twenty_thousand_names_that_fold_alike_cost_no_more_than_their_number() {
    // 15 letters, each in either case.
    let names: Vec<Vec<u8>> = (0..20_000_u32)
        .map(|number| {
            let letter = |at: u32| if number >> at & 1 == 0 { b'a' } else { b'A' };
            (0..15_u32).map(letter).collect()
        })
        .collect();
    let mut alike = WrittenAlike::default();
    for name in &names {
        alike.expect(b"d", name);
    }
    let mut asked = 0;
    for name in &names {
        asked += alike.written(b"d", name).count();
        alike.note(b"d", name);
    }
    assert!(asked <= names.len() * SOME_TWINS, "{asked}");
    assert_eq!(alike.written(b"other", &names[0]).count(), 0);
}
