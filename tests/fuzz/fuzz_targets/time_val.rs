//! A time of `MDTM`, `MFMT` or a fact.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::time_val(data));
