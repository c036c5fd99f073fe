//! The command line: arguments are read, one call into the library is made, its result becomes an
//! exit code.

mod args;
mod exit;
mod input;

mod captures;

mod agent;
mod check;
mod flows;
mod gc;
mod learn;
mod list;
mod merge;
mod patterns;
mod run;
mod say;
mod validate;

pub use args::{Args, Command};
pub use exit::Exit;

/// Does what the arguments ask.
pub fn main(args: Args) -> Exit {
    match args.command {
        Command::Run(args) => run::main(&args),
        Command::List(args) => list::main(&args),
        Command::Validate(args) => validate::main(&args),
        Command::Flows(args) => flows::main(&args),
        Command::Check(args) => check::main(&args),
        Command::Merge(args) => merge::main(&args),
        Command::Learn(args) => learn::main(&args),
        Command::Patterns(args) => patterns::main(&args),
        Command::Gc(args) => gc::main(&args),
        Command::Agent => agent::main(),
    }
}
