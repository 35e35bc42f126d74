//! The fenced blocks of a document, and how a test runs each.
//!
//! The words after the three backticks say how; the first one also sets the colours that a reader
//! sees:
//!
//! | words | what the block is |
//! | --- | --- |
//! | `sh` | commands, run by bash in the order of the document |
//! | `sh serve` | on each line a command that must start a server, which must listen and end with 0 |
//! | `LANGUAGE PATH` | a file: the block is written to PATH, which begins with `/` or `~` |
//! | `toml part` | some keys of a configuration, which `serve --check` must accept |
//! | `json` | JSON lines of the program |
//! | `rust`, `rust,no_run` | a program; `ftp_tests` compiles and runs it as a doctest |
//! | `text` | the output of a program, or a diagram: nothing is checked |

/// How a test runs a block.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Run,
    Serve,
    File(String),
    Part,
    Json,
}

impl Kind {
    /// The word after the backticks, and the path that belongs to it.
    pub(super) fn plan(&self) -> (&'static str, &str) {
        match self {
            Self::Run => ("run", ""),
            Self::Serve => ("serve", ""),
            Self::File(path) => ("file", path),
            Self::Part => ("part", ""),
            Self::Json => ("json", ""),
        }
    }

    /// Returns `None` for a block that is not run here.
    fn of(words: &str) -> Result<Option<Self>, String> {
        let (language, rest) = words.split_once(' ').unwrap_or((words, ""));
        Ok(Some(match (language, rest) {
            ("sh", "") => Self::Run,
            ("sh", "serve") => Self::Serve,
            ("toml", "part") => Self::Part,
            ("json", "") => Self::Json,
            ("text" | "rust" | "rust,no_run", "") => return Ok(None),
            (_, path) if path.starts_with(['/', '~']) => {
                Self::File(path.replacen('~', "/home/you", 1))
            }
            _ => return Err(format!("no test knows what a block of {words:?} is")),
        }))
    }
}

/// A block, and the line of the document on which it begins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Block {
    pub(super) line: usize,
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// Returns the blocks of a document that are run, or the line of an invalid one.
pub(super) fn blocks(document: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut lines = document.lines().zip(1..);
    while let Some((fence, line)) = lines.next() {
        let indent = fence.len() - fence.trim_start().len();
        let Some(words) = fence.trim_start().strip_prefix("```") else { continue };
        let text: String = lines
            .by_ref()
            .map(|(text, _)| text)
            .take_while(|text| text.trim() != "```")
            .map(|text| format!("{}\n", text.get(indent..).unwrap_or_default()))
            .collect();
        if let Some(kind) = Kind::of(words).map_err(|why| format!("line {line}: {why}"))? {
            blocks.push(Block { line, kind, text });
        }
    }
    Ok(blocks)
}

#[test]
fn code_blocks_are_classified_by_their_info_string() {
    let document = "```sh\na\n```\ntext\n```sh serve\nb\n```\n```toml /etc/x\nc\n\n```\n\
                    - ```ini ~/y\n  d\n  ```\n```text\ne\n```\n";
    let document = document.replace("- ```", "  ```");
    let found: Vec<_> = blocks(&document)
        .unwrap()
        .into_iter()
        .map(|block| (block.line, block.kind, block.text))
        .collect();
    let file = |path: &str| Kind::File(path.to_owned());
    assert_eq!(
        found,
        [
            (1, Kind::Run, "a\n".to_owned()),
            (5, Kind::Serve, "b\n".to_owned()),
            (8, file("/etc/x"), "c\n\n".to_owned()),
            (12, file("/home/you/y"), "d\n".to_owned()),
        ]
    );
    assert!(blocks("```ini\n```\n").unwrap_err().starts_with("line 1: "));
}
