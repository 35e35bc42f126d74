//! All things that are scarce, one row each. `docs/dev/hostile.md` has the same table.

use std::time::Duration;

use crate::limits;

/// One scarce thing, and the rule of its shares.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Scarce {
    pub(super) thing: &'static str,
    /// How many there are.
    number: &'static str,
    /// How long a client waits for one.
    pub(crate) patience: Patience,
    /// How long a client can keep one while others wait for it.
    kept: &'static str,
    /// Whether an eighth, and at least one of two or more, remains for networks that hold none.
    pub(super) has_reserve: bool,
}

/// The time for which a claim waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Patience {
    /// No time: the claim is refused at once.
    None,
    For(Duration),
    /// As long as the client may take to log in.
    Login,
}

pub(crate) const SEATS: Scarce = Scarce {
    thing: "connections",
    number: "`limits.sessions`",
    patience: Patience::None,
    kept: "until the session ends",
    has_reserve: true,
};

pub(crate) const PENDING: Scarce = Scarce {
    thing: "connections without a login",
    number: "half of all",
    patience: Patience::None,
    kept: "until others need the place",
    has_reserve: false,
};

pub(crate) const HASHES: Scarce = Scarce {
    thing: "password hashes",
    number: "one per processor, at most 4; a sixteenth of the memory",
    patience: Patience::Login,
    kept: "seconds",
    has_reserve: false,
};

pub(crate) const PROGRAMS: Scarce = Scarce {
    thing: "programs that check logins",
    number: "`auth.workers`",
    patience: Patience::Login,
    kept: "`auth.timeout`",
    has_reserve: false,
};

pub(crate) const DIGESTS: Scarce = Scarce {
    thing: "digests in progress",
    number: "2",
    patience: Patience::For(limits::DIGEST_WAIT),
    kept: "0.25 s",
    has_reserve: true,
};

pub(crate) const SEARCHES: Scarce = Scarce {
    thing: "long searches in progress",
    number: "2",
    patience: Patience::For(limits::PREPARE),
    kept: "0.25 s",
    has_reserve: true,
};

pub(crate) const ENCODERS: Scarce = Scarce {
    thing: "transfers that compress",
    number: "256; a sixteenth of the memory",
    patience: Patience::None,
    kept: "until the transfer ends",
    has_reserve: true,
};

pub(crate) const TURNS: Scarce = Scarce {
    thing: "turns to compress or decompress",
    number: "half of the processors",
    patience: Patience::For(limits::PREPARE),
    kept: "milliseconds",
    has_reserve: false,
};

pub(crate) const PORTS: Scarce = Scarce {
    thing: "passive ports",
    number: "`passive.ports`",
    patience: Patience::For(limits::PORT_WAIT),
    kept: "until the client connects, 1 s",
    has_reserve: true,
};

#[cfg_attr(not(feature = "s3"), allow(dead_code, reason = "only parts for stores grow"))]
pub(crate) const PARTS: Scarce = Scarce {
    thing: "memory for parts",
    number: "`memory` of a store",
    patience: Patience::For(limits::PART_WAIT),
    kept: "until the part is stored, or 60 s without 512 KiB",
    has_reserve: true,
};

pub(crate) const PROCESSOR: Scarce = Scarce {
    thing: "processor time of commands",
    number: "half of the processors",
    patience: Patience::For(limits::PROCESSOR_WAIT),
    kept: "paid afterwards, 1 s on credit",
    has_reserve: false,
};

/// All rows, in the order of the documentation.
#[cfg(test)]
const ALL: [&Scarce; 11] = [
    &SEATS, &PENDING, &HASHES, &PROGRAMS, &DIGESTS, &SEARCHES, &ENCODERS, &TURNS, &PORTS, &PARTS,
    &PROCESSOR,
];

impl Patience {
    /// Returns the time, or zero if the caller does not wait or has a deadline of its own.
    pub(crate) const fn duration(self) -> Duration {
        match self {
            Self::For(time) => time,
            Self::None | Self::Login => Duration::ZERO,
        }
    }
}

#[cfg(test)]
impl Scarce {
    /// Returns a row that is not in the table.
    pub(super) const fn for_tests(has_reserve: bool) -> Self {
        let (thing, number, kept) = ("tests", "", "");
        Self { thing, number, patience: Patience::None, kept, has_reserve }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Returns the row as in the documentation.
    fn documented(row: &Scarce) -> String {
        let Scarce { thing, number, patience, kept, has_reserve } = row;
        let waits = match patience {
            Patience::None => "no".to_owned(),
            Patience::For(time) => format!("{} s", time.as_secs_f32()),
            Patience::Login => "until the login timeout".to_owned(),
        };
        let reserve = if *has_reserve { "yes" } else { "no" };
        format!("| {thing} | {number} | {waits} | {kept} | {reserve} |")
    }

    fn document(path: &str) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        fs::read_to_string(root.join(path)).unwrap()
    }

    #[test]
    fn the_documentation_lists_every_scarce_thing() {
        let page = document("docs/dev/hostile.md");
        let mut lines = page.lines().skip_while(|line| !line.starts_with("| scarce | "));
        let rows: Vec<_> = lines.by_ref().skip(2).take_while(|line| !line.is_empty()).collect();
        assert_eq!(rows, ALL.map(documented));
        let things: Vec<_> = ALL.iter().map(|row| row.thing).collect();
        let listed = format!("one row for each: {}.", things.join(", "));
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&document("ARCHITECTURE.md")).contains(&words(&listed)), "{listed}");
    }
}
