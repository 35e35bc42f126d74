//! A place for a mutant, and what the sources say there instead.

use std::ops::Range;

use crate::edit::{Edit, Piece};

/// A kind of mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Comparison,
    Logic,
    Negation,
    Arithmetic,
    Number,
    Boolean,
    Condition,
    Statement,
    Body,
    Guard,
    Arm,
    Method,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Comparison => "comparison",
            Self::Logic => "logic",
            Self::Negation => "negation",
            Self::Arithmetic => "arithmetic",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Condition => "condition",
            Self::Statement => "statement",
            Self::Body => "body",
            Self::Guard => "guard",
            Self::Arm => "arm",
            Self::Method => "method",
        }
    }
}

/// A part of the text that replaces a place.
#[derive(Clone, Debug)]
pub enum Part {
    Text(&'static str),
    Owned(String),
    Source(Range<usize>),
    /// Whether the mutant was selected: `true` at run time.
    Selected,
}

/// A place and its mutant.
#[derive(Clone, Debug)]
pub struct Place {
    pub kind: Kind,
    pub range: Range<usize>,
    pub line: usize,
    pub column: usize,
    /// The function, with its type or trait.
    pub function: String,
    /// What the source says, in one line.
    pub before: String,
    /// What the mutant does instead.
    pub after: String,
    pub parts: Vec<Part>,
}

impl Place {
    /// Returns the edit that gives this mutant a number.
    pub fn edit(&self, number: usize) -> Edit {
        let pieces = self.parts.iter().map(|part| match part {
            Part::Text(text) => Piece::Text((*text).to_owned()),
            Part::Owned(text) => Piece::Text(text.clone()),
            Part::Source(range) => Piece::Source(range.clone()),
            Part::Selected => Piece::Text(format!("crate::__mutant::is({number})")),
        });
        Edit { number, range: self.range.clone(), pieces: pieces.collect() }
    }
}
