//! The table: rows, states, and the required codes of each cell.

use super::Answers;

pub(super) struct Table {
    pub(super) states: Vec<String>,
    pub(super) rows: Vec<Row>,
}

pub(super) struct Row {
    pub(super) line: String,
    class: String,
    pub(super) ids: String,
    pub(super) cells: Vec<String>,
}

impl Table {
    pub(super) fn parse(text: &str) -> Self {
        let mut table = Self { states: Vec::new(), rows: Vec::new() };
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line.starts_with("== ") {
                continue;
            }
            if let Some(states) = line.strip_prefix("states ") {
                let (_, states) = states.split_once("| ").unwrap();
                let states = states.split_whitespace().map(str::to_owned).collect();
                assert!(table.states.is_empty() || table.states == states, "other states");
                table.states = states;
            } else {
                let fields: Vec<_> = line.split(" | ").map(str::trim).collect();
                let [line, class, ids, cells] = fields[..] else { panic!("four fields: {line}") };
                let cells: Vec<_> = cells.split_whitespace().map(str::to_owned).collect();
                assert_eq!(cells.len(), table.states.len(), "{line}");
                let (line, class) = (line.to_owned(), class.to_owned());
                table.rows.push(Row { line, class, ids: ids.to_owned(), cells });
            }
        }
        table
    }

    /// Returns every cell: its row and its state.
    pub(super) fn cells(&self) -> impl Iterator<Item = (usize, usize)> {
        let states = self.states.len();
        (0..self.rows.len()).flat_map(move |row| (0..states).map(move |state| (row, state)))
    }

    pub(super) fn label(&self, row: usize, state: usize) -> String {
        let Row { line, class, ids, .. } = &self.rows[row];
        format!("{} | {line} | {class} | {ids} | ", self.states[state])
    }

    pub(super) fn mismatch(&self, row: usize, state: usize, answer: &str) -> Option<String> {
        let want = &self.rows[row].cells[state];
        (want != answer).then(|| format!("{}wanted {want}, got {answer}", self.label(row, state)))
    }

    pub(super) fn mismatches(&self, answers: &Answers) -> Vec<String> {
        (0..self.rows.len()).flat_map(|row| self.mismatches_in(row, answers)).collect()
    }

    pub(super) fn mismatches_in(
        &self,
        row: usize,
        answers: &Answers,
    ) -> impl Iterator<Item = String> {
        let each = answers.range((row, 0)..(row + 1, 0));
        each.filter_map(|(&(row, state), answer)| self.mismatch(row, state, answer))
    }
}

/// Returns the bytes of a row, or of a line of `devices`.
pub(in crate::server) fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return bytes,
            [b'\\', b'x', high, low, rest @ ..] => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest
            }
            [b'\\', letter, rest @ ..] => {
                bytes.push(match letter {
                    b's' => b' ',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'n' => b'\n',
                    b'0' => 0,
                    b'\\' => b'\\',
                    _ => panic!("no such escape: {text}"),
                });
                rest
            }
            [b'{', digit, ..] if digit.is_ascii_digit() => {
                let end = rest.iter().position(|&byte| byte == b'}').unwrap();
                let count: usize = std::str::from_utf8(&rest[1..end]).unwrap().parse().unwrap();
                bytes.extend(std::iter::repeat_n(b'a', count));
                &rest[end + 1..]
            }
            [byte, rest @ ..] => {
                bytes.push(*byte);
                rest
            }
        };
    }
}

#[test]
fn escapes_in_table_rows_are_decoded() {
    for (text, want) in [
        ("NOOP", &b"NOOP"[..]),
        (r"A\s\r\0\n\xff\\\t", b"A \r\0\n\xff\\\t"),
        ("X {3}{f,e}", b"X aaa{f,e}"),
        ("", b""),
    ] {
        assert_eq!(unescape(text), want, "{text}");
    }
}
