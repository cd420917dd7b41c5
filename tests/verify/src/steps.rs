//! The steps, in the order in which they run: quick checks that often fail come first.

use std::path::Path;
use std::process::Command;

use crate::commands::{cargo, watch, watch_and_read};
use crate::{StepResult, layers, prerequisites, rules};

/// One rule that must hold.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) looks_at: &'static str,
    pub(crate) run: fn(&Path) -> anyhow::Result<StepResult>,
}

pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "prerequisites",
        looks_at: "the programs of PostgreSQL and MariaDB, installed when root and missing",
        run: prerequisites::run,
    },
    Step {
        name: "format",
        looks_at: "cargo fmt",
        run: format,
    },
    Step {
        name: "core-is-pure",
        looks_at: "core and barrier depend on no I/O, no clock and no randomness",
        run: rules::core_is_pure,
    },
    Step {
        name: "ships-whole",
        looks_at: "a program built as it ships has nothing in it that breaks it on purpose",
        run: rules::ships_whole,
    },
    Step {
        name: "layers",
        looks_at: "which crate may depend on which, and which module may import which",
        run: layers::run,
    },
    Step {
        name: "links",
        looks_at: "links between the repository's own texts",
        run: rules::links,
    },
    Step {
        name: "long-files",
        looks_at: "source files with more than one subject, by their length",
        run: rules::long_files,
    },
    Step {
        name: "licences",
        looks_at: "cargo deny: licences, bans and sources of dependencies",
        run: licences,
    },
    Step {
        name: "lint",
        looks_at: "cargo clippy on the code that ships",
        run: lint,
    },
    Step {
        name: "lint-all-features",
        looks_at: "cargo clippy with the features that only tests use",
        run: lint_all_features,
    },
    Step {
        name: "docs",
        looks_at: "cargo doc without a warning",
        run: docs,
    },
    Step {
        name: "test",
        looks_at: "every unit, property and scenario test",
        run: test,
    },
    Step {
        name: "conformance-python",
        looks_at: "the barrier's conformance cells against the Python of docs/guides",
        run: conformance_python,
    },
    Step {
        name: "doctest",
        looks_at: "the examples in the documentation",
        run: doctest,
    },
    Step {
        name: "soak",
        looks_at: "cargo soak for some seconds, unoptimised: does it still run, do the books agree",
        run: soak,
    },
    Step {
        name: "simulation",
        looks_at: "the shipped core in simulated worlds of faults, one a seed",
        run: simulation,
    },
    Step {
        name: "exploration",
        looks_at: "every interleaving of small worlds",
        run: exploration,
    },
    Step {
        name: "mutations",
        looks_at: "the code broken on purpose: the simulation notices each time",
        run: mutations,
    },
];

fn format(root: &Path) -> anyhow::Result<StepResult> {
    watch(&mut cargo(root, &["fmt", "--all", "--check"]))?;
    Ok(StepResult::Passed(String::new()))
}

fn lint(root: &Path) -> anyhow::Result<StepResult> {
    clippy(root, &[])
}

fn lint_all_features(root: &Path) -> anyhow::Result<StepResult> {
    clippy(root, &["--all-features"])
}

fn clippy(root: &Path, features: &[&str]) -> anyhow::Result<StepResult> {
    let mut command = cargo(
        root,
        &["clippy", "--locked", "--workspace", "--all-targets"],
    );
    watch(command.args(features).args(["--", "-D", "warnings"]))?;
    Ok(StepResult::Passed(String::new()))
}

fn docs(root: &Path) -> anyhow::Result<StepResult> {
    let mut command = cargo(root, &["doc", "--locked", "--workspace", "--no-deps"]);
    watch(command.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(StepResult::Passed(String::new()))
}

fn licences(root: &Path) -> anyhow::Result<StepResult> {
    let version = cargo(root, &["deny", "--version"]).output()?;
    if !version.status.success() {
        return Ok(StepResult::Skipped(
            "cargo-deny is not installed".to_owned(),
        ));
    }
    let mut command = cargo(root, &["deny", "--offline", "check"]);
    watch(command.args(["licenses", "bans", "sources"]))?;
    Ok(StepResult::Passed(
        "advisories need a network: cargo deny check advisories".to_owned(),
    ))
}

fn test(root: &Path) -> anyhow::Result<StepResult> {
    cargo_test(root, &["--lib", "--bins", "--tests", "--examples"])
}

fn doctest(root: &Path) -> anyhow::Result<StepResult> {
    cargo_test(root, &["--doc"])
}

fn conformance_python(root: &Path) -> anyhow::Result<StepResult> {
    let python = || {
        let mut python = Command::new("python3");
        python.current_dir(root.join("docs/guides/python"));
        python
    };
    let needs = "import sqlite3, unittest";
    if !python()
        .args(["-c", needs])
        .output()
        .is_ok_and(|o| o.status.success())
    {
        return Ok(StepResult::Skipped("python3 is not installed".to_owned()));
    }
    watch(python().args(["-B", "-m", "unittest", "test_barrier"]))?;
    Ok(StepResult::Passed(String::new()))
}

/// A run of the soak that is short and asks nothing of the machine: neither how much memory nor how long without an answer.
const SHORT_SOAK: [&str; 12] = [
    "--minutes",
    "0.3",
    "--stuck",
    "200",
    "--rate",
    "20",
    "--trouble-every",
    "4",
    "--memory-limit",
    "4096",
    "--gap-limit",
    "120",
];

fn soak(root: &Path) -> anyhow::Result<StepResult> {
    let arguments = ["run", "--locked", "--quiet", "--package", "tercet-bench"];
    let mut command = cargo(root, &arguments);
    let command = command.args(["--bin", "soak", "--"]).args(SHORT_SOAK);
    let (lines, succeeded) = watch_and_read(command)?;
    let books = lines
        .into_iter()
        .rev()
        .find(|line| line.starts_with("books"));
    let remark = books.unwrap_or_default();
    Ok(if succeeded {
        StepResult::Passed(remark)
    } else {
        StepResult::Failed(remark)
    })
}

/// The seeds of one run: some thousands, within two minutes on two CPUs.
const SEEDS: &str = "3000";

fn simulation(root: &Path) -> anyhow::Result<StepResult> {
    simulate(root, &["--seeds", SEEDS])
}

fn exploration(root: &Path) -> anyhow::Result<StepResult> {
    simulate(root, &["--explore"])
}

fn mutations(root: &Path) -> anyhow::Result<StepResult> {
    simulate(root, &["--mutations"])
}

fn simulate(root: &Path, arguments: &[&str]) -> anyhow::Result<StepResult> {
    let mut command = cargo(root, &["simulate"]);
    let (lines, succeeded) = watch_and_read(command.args(arguments))?;
    let remark = lines
        .into_iter()
        .rev()
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    Ok(if succeeded {
        StepResult::Passed(remark)
    } else {
        StepResult::Failed(remark)
    })
}

fn cargo_test(root: &Path, which: &[&str]) -> anyhow::Result<StepResult> {
    let mut command = cargo(root, &["test", "--locked", "--workspace", "--no-fail-fast"]);
    let (lines, succeeded) = watch_and_read(command.args(which))?;
    let counts = Counts::of(&lines);
    let remark = format!(
        "{} passed, {} failed, {} ignored",
        counts.passed, counts.failed, counts.ignored
    );
    Ok(if succeeded {
        StepResult::Passed(remark)
    } else {
        StepResult::Failed(remark)
    })
}

/// The sums of the test programs' results.
#[derive(Default, Debug, PartialEq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    /// Adds up lines like `test result: ok. 12 passed; 0 failed; 1 ignored; …`.
    fn of(lines: &[String]) -> Self {
        let mut sum = Self::default();
        for line in lines {
            let Some((_, counts)) = line
                .strip_prefix("test result: ")
                .and_then(|rest| rest.split_once(". "))
            else {
                continue;
            };
            for part in counts.split("; ") {
                let Some((number, word)) = part.split_once(' ') else {
                    continue;
                };
                let number: u64 = number.parse().unwrap_or(0);
                match word {
                    "passed" => sum.passed += number,
                    "failed" => sum.failed += number,
                    "ignored" => sum.ignored += number,
                    _ => {}
                }
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn adds_up_what_test_programs_say() {
        let lines = [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out",
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out",
        ]
        .map(str::to_owned);
        assert_eq!(
            Counts::of(&lines),
            Counts {
                passed: 7,
                failed: 2,
                ignored: 1
            }
        );
    }
}
