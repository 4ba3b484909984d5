#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::fuzz("write_ahead_log", data));
