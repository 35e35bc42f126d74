//! Directory listings: the replies to `LIST`, `NLST` and `MLSD` on the data connection.

mod reader;

pub use reader::{ListEvent, ListReader};
