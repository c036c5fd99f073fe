//! See `bodies/pattern.rs`.

#![no_main]

#[path = "../bodies/pattern.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|text: &str| body::run(text));
