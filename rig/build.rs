//! Compiles the first process of nodes' containers (`hold/main.rs`), a small static program that the rig holds in itself.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "hold/main.rs";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SOURCE}");
    let variable =
        |name: &str| env::var_os(name).ok_or_else(|| format!("Cargo did not set {name}"));
    let program = PathBuf::from(variable("OUT_DIR")?).join("hold");
    let mut compiler = Command::new(variable("RUSTC")?);
    compiler
        .args(["--edition", "2024", "--crate-name", "hold", SOURCE])
        .args(["-C", "target-feature=+crt-static", "-C", "panic=abort"])
        .args(["-C", "opt-level=s", "-C", "strip=symbols"])
        .arg("--target")
        .arg(variable("TARGET")?)
        .arg("-o")
        .arg(&program);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = OsString::from("linker=");
        option.push(linker);
        compiler.arg("-C").arg(option);
    }
    let status = compiler.status()?;
    if !status.success() {
        return Err(format!("compile {SOURCE}: {status}").into());
    }
    Ok(())
}
