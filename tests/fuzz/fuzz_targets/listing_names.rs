//! A line of a reply to `NLST` or `MLSD`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::listing_names(data));
