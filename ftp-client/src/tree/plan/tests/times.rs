//! Times that a server does not tell.

use super::*;

#[test]
fn a_server_that_tells_no_times_is_named_once_instead_of_copying_again_in_silence() {
    let files = &["a=1@x", "b=2@x", "c=3@x"];
    let there = &["a=1@5", "b=2@5", "c=4@5"];
    for (is_download, want) in [(true, 1), (false, 0)] {
        let mut source = tree(files, !is_download);
        let mut target = tree(there, is_download);
        let plan = make(&mut source, &mut target);
        assert_eq!(summary(&plan), "a b c");
        let notes = plan.left_out.iter().filter(|note| note.contains("no exact times"));
        assert_eq!(notes.count(), want, "{:?}", plan.left_out);
    }
}
