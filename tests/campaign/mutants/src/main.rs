//! `ftp-mutants FROM TO SEED COUNT WITHOUT [MODULE]...`: reads the sources of the crates below FROM, draws
//! COUNT mutants, and writes the changed sources below TO, which is a copy of FROM. All mutants are
//! in one build; the variable `FTP_MUTANT` selects one at run time. WITHOUT lists numbers of
//! mutants that are drawn but not written, separated by commas: those that do not compile. With modules
//! such as `ftp-client/src/file/record`, mutants are drawn only from these.
//!
//! Prints the drawn mutants as JSON, with the byte ranges that each one has in the new sources.

mod attributes;
mod draw;
mod edit;
mod find;
mod forms;
mod json;
mod places;
mod sources;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use edit::{Edit, Written};
use places::Place;

/// The crates whose sources are changed.
const CRATES: [&str; 2] = ["ftp-server", "ftp-client"];

/// The module that is added to each crate. The changed code asks it which mutant was selected.
const SELECTION: &str = include_str!("../selection.rs");

/// The byte ranges of each mutant in its new source. A mutant inside another one can be there twice.
type Ranges = BTreeMap<usize, Vec<Range<usize>>>;

/// A drawn mutant.
struct Mutant {
    number: usize,
    file: PathBuf,
    place: Place,
}

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ftp-mutants: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [from, to, seed, count, without, modules @ ..] = arguments else {
        return Err("usage: ftp-mutants FROM TO SEED COUNT WITHOUT [MODULE]...".into());
    };
    let numbers = without.split(',').filter(|word| !word.is_empty());
    let without: BTreeSet<usize> = numbers.map(str::parse).collect::<Result<_, _>>()?;
    let from = Path::new(from);
    let mut files = BTreeMap::new();
    for name in CRATES {
        for path in sources::of_crate(&from.join(name).join("src/lib.rs"))? {
            let text = fs::read_to_string(&path)?;
            files.insert(path.strip_prefix(from)?.to_owned(), text);
        }
    }
    for module in modules {
        if !files.keys().any(|path| is_in(path, module)) {
            return Err(format!("{module}: no such module").into());
        }
    }
    let mut all = Vec::new();
    for (path, text) in &files {
        if !modules.is_empty() && !modules.iter().any(|module| is_in(path, module)) {
            continue;
        }
        let found = find::places(text).map_err(|error| format!("{}: {error}", path.display()))?;
        all.extend(found.into_iter().map(|place| (path.clone(), place)));
    }
    let (files_read, found) = (files.len(), all.len());
    let drawn = draw::strata(all, count.parse()?, seed.parse()?);
    let mutants: Vec<Mutant> =
        (1..).zip(drawn).map(|(number, (file, place))| Mutant { number, file, place }).collect();
    let written = write(Path::new(to), &files, &mutants, &without)?;
    print!("{}", json::report(files_read, found, &mutants, &written));
    Ok(())
}

/// Whether a file belongs to a module such as `ftp-client/src/file/record`.
fn is_in(file: &Path, module: &str) -> bool {
    file.starts_with(module) || file.with_extension("") == Path::new(module)
}

/// Writes all sources; the ranges of each mutant.
fn write(
    to: &Path,
    files: &BTreeMap<PathBuf, String>,
    mutants: &[Mutant],
    without: &BTreeSet<usize>,
) -> Result<Ranges, Box<dyn Error>> {
    let mut ranges = Ranges::new();
    for (path, text) in files {
        let edits = mutants
            .iter()
            .filter(|mutant| mutant.file == *path && !without.contains(&mutant.number))
            .map(|mutant| mutant.place.edit(mutant.number))
            .collect::<Vec<Edit>>();
        let Written { text, ranges: here } = edit::written(text, edits);
        for (number, range) in here {
            ranges.entry(number).or_default().push(range);
        }
        fs::write(to.join(path), text)?;
    }
    for name in CRATES {
        let lib = to.join(name).join("src/lib.rs");
        let text = fs::read_to_string(&lib)?;
        fs::write(&lib, format!("{text}\nmod __mutant;\n"))?;
        fs::write(to.join(name).join("src/__mutant.rs"), SELECTION)?;
    }
    Ok(ranges)
}
