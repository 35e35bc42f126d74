//! The argument of `LANG`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::language_tag(data));
