//! Gives input from libFuzzer to the function of the target that the variable `FUZZ_TARGET` names.
#![no_main]

use std::env;
use std::sync::LazyLock;

use ftp_tests::check::TARGETS;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = env::var("FUZZ_TARGET").expect("`run` sets it");
    TARGETS.iter().find(|(target, _)| *target == name).expect("`run` knows the targets").1
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
