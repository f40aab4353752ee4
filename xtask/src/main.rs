//! `cargo xtask`: the one door to everything that is done with this repository.
//!
//! Each command asks `setup::need` for exactly the tools that it uses, says in
//! one line a step what it does, and is quick when there is nothing to do.
//! Never changes the machine beyond installing packages, and never removes one.

mod apt;
mod bench;
mod bpf;
mod build;
mod ci;
mod demo;
mod fuzz;
mod layering;
mod setup;
mod step;
mod suites;
mod test;
mod toolchain;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The one door: everything done with this repository")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install everything that the other commands need
    Setup,
    /// Build the kernel programs, then the agent with the programs inside
    Build(build::Arguments),
    /// Show the agent at work: a throwaway PostgreSQL, unmodified clients
    Demo(demo::Arguments),
    /// Run all tests: units, then the suites on this machine's kernel (root)
    Test(test::Arguments),
    /// What a change must pass: layering, fmt, clippy, deny, tests
    Ci(ci::Arguments),
    /// Measure tidegate beside its neighbours
    Bench(bench::Arguments),
    /// Throw foreign bytes at the rooms that read them; without a target, list them
    Fuzz(fuzz::Arguments),
    /// Check that imports between the agent's rooms run one way only
    Layering,
    /// Boot other kernels and run the core of the matrix on each
    Vm(vm::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Setup => setup::run(),
        Command::Build(arguments) => build::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Ci(arguments) => ci::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Layering => layering::run(),
        Command::Vm(arguments) => vm::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests;
