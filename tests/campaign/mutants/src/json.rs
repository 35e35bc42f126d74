//! The drawn mutants as JSON.

use std::fmt::Write as _;

use crate::{Mutant, Ranges};

/// Returns one object: `files` read, `found` places, and the drawn `mutants`.
pub fn report(files: usize, found: usize, mutants: &[Mutant], written: &Ranges) -> String {
    let mut out = format!("{{\"files\": {files}, \"found\": {found}, \"mutants\": [");
    for (at, mutant) in mutants.iter().enumerate() {
        let place = &mutant.place;
        let ranges = written.get(&mutant.number).map(Vec::as_slice).unwrap_or_default();
        let ranges: Vec<String> =
            ranges.iter().map(|range| format!("[{}, {}]", range.start, range.end)).collect();
        let separator = if at == 0 { "\n" } else { ",\n" };
        write!(
            out,
            "{separator}{{\"number\": {}, \"kind\": {}, \"file\": {}, \"line\": {}, \"column\": {}, \
             \"function\": {}, \"before\": {}, \"after\": {}, \"ranges\": [{}]}}",
            mutant.number,
            quoted(place.kind.name()),
            quoted(&mutant.file.to_string_lossy()),
            place.line,
            place.column,
            quoted(&place.function),
            quoted(&place.before),
            quoted(&place.after),
            ranges.join(", "),
        )
        .expect("a string takes everything");
    }
    out.push_str("\n]}\n");
    out
}

fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control.is_control() => {
                write!(out, "\\u{:04x}", u32::from(control)).expect("a string takes everything");
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
