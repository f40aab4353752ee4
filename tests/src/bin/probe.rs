//! One small client in one chosen manner; see `tidegate_tests::probe`.

fn main() -> std::process::ExitCode {
    tidegate_tests::probe::main()
}
