//! Writes a source text with edits, which can be inside one another.

use std::ops::Range;

/// A piece of the text that replaces a range.
#[derive(Clone, Debug)]
pub enum Piece {
    Text(String),
    /// What the source has there, with the edits inside.
    Source(Range<usize>),
}

/// What replaces a range of the source.
#[derive(Clone, Debug)]
pub struct Edit {
    pub number: usize,
    pub range: Range<usize>,
    pub pieces: Vec<Piece>,
}

/// A text, and where each edit is in it. An edit inside a piece that occurs twice is there twice.
#[derive(Debug, Default)]
pub struct Written {
    pub text: String,
    pub ranges: Vec<(usize, Range<usize>)>,
}

/// Returns the source with all edits.
pub fn written(source: &str, mut edits: Vec<Edit>) -> Written {
    edits.sort_by_key(|edit| (edit.range.start, usize::MAX - edit.range.end));
    let mut out = Written::default();
    write(source, 0..source.len(), &edits.iter().collect::<Vec<_>>(), &mut out);
    out
}

/// Writes a range of the source. The edits are in order, an outer one before those inside.
fn write(source: &str, range: Range<usize>, edits: &[&Edit], out: &mut Written) {
    let (mut at, mut rest) = (range.start, edits);
    while let Some((edit, after)) = rest.split_first() {
        let inside = after.partition_point(|next| next.range.start < edit.range.end);
        let (inner, outside) = after.split_at(inside);
        out.text.push_str(&source[at..edit.range.start]);
        let begin = out.text.len();
        for piece in &edit.pieces {
            match piece {
                Piece::Text(text) => out.text.push_str(text),
                Piece::Source(part) => {
                    let inner: Vec<&Edit> = inner
                        .iter()
                        .filter(|next| part.start <= next.range.start && next.range.end <= part.end)
                        .copied()
                        .collect();
                    write(source, part.clone(), &inner, out);
                }
            }
        }
        out.ranges.push((edit.number, begin..out.text.len()));
        (at, rest) = (edit.range.end, outside);
    }
    out.text.push_str(&source[at..range.end]);
}

#[cfg(test)]
mod tests {
    use super::{Edit, Piece, written};

    #[test]
    fn edits_inside_one_another_are_all_written() {
        let source = "if a < b { c; }";
        let text = |text: &str| Piece::Text(text.to_owned());
        let edits = vec![
            Edit {
                number: 1,
                range: 3..8,
                pieces: vec![text("(x || ("), Piece::Source(3..8), text("))")],
            },
            Edit {
                number: 2,
                range: 3..8,
                pieces: vec![Piece::Source(3..4), text(" <= "), Piece::Source(7..8)],
            },
            Edit { number: 3, range: 10..10, pieces: vec![text(" y;")] },
            Edit { number: 4, range: 11..13, pieces: vec![text("z;")] },
        ];
        let out = written(source, edits);
        assert_eq!(out.text, "if (x || (a <= b)) { y; z; }");
        for (number, range) in out.ranges {
            let part = &out.text[range];
            let expected = ["(x || (a <= b))", "a <= b", " y;", "z;"][number - 1];
            assert_eq!(part, expected);
        }
    }
}
