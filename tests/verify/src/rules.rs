//! What the compiler does not check: the absences that the architecture rests on.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::Outcome;
use crate::commands::{cargo, read};

/// Crates that decide, and therefore may depend on nothing that acts, tells the time or rolls dice.
const PURE: [&str; 2] = ["tercet-core", "tercet-barrier"];

/// What a pure crate must not depend on, not even through another crate.
const IMPURE: [&str; 14] = [
    "async-std",
    "axum",
    "chrono",
    "futures",
    "hyper",
    "mio",
    "rand",
    "reqwest",
    "smol",
    "sqlx",
    "sqlx-core",
    "time",
    "tokio",
    "tonic",
];

/// Features that break or stop a program on purpose.
const SABOTAGE: [&str; 2] = [
    "tercet-mutation feature \"enabled\"",
    "feature \"failpoints\"",
];

/// From here on a file probably has more than one subject.
const LONG_FILE_LINES: usize = 600;

/// Core and barrier must not be able to name I/O, clocks or randomness.
pub(crate) fn core_is_pure(root: &Path) -> anyhow::Result<Outcome> {
    let mut found = Vec::new();
    for package in PURE {
        let arguments = [
            "tree",
            "--locked",
            "--package",
            package,
            "--edges",
            "normal",
            "--prefix",
            "none",
        ];
        let tree = read(cargo(root, &arguments).args(["--format", "{p}"]))?;
        let crates = tree.lines().filter_map(|line| line.split(' ').next());
        found.extend(
            crates
                .filter(|name| IMPURE.contains(name))
                .map(|name| format!("{package} -> {name}")),
        );
    }
    found.dedup();
    Ok(fails_with(
        "these dependencies act, tell the time or roll dice",
        &found,
    ))
}

/// A program built as it ships must not contain mutations or fail points. The whole workspace is
/// looked at, because cargo unites the features of all crates that it builds together.
pub(crate) fn ships_whole(root: &Path) -> anyhow::Result<Outcome> {
    let arguments = [
        "tree",
        "--locked",
        "--workspace",
        "--edges",
        "normal,build,features",
    ];
    let tree = read(cargo(root, &arguments).args(["--prefix", "none"]))?;
    let mut found: Vec<String> = tree
        .lines()
        .filter(|line| SABOTAGE.iter().any(|feature| line.contains(feature)))
        .map(str::to_owned)
        .collect();
    found.sort_unstable();
    found.dedup();
    Ok(fails_with(
        "features that only tests may use are on by default",
        &found,
    ))
}

/// Lists files that are so long that they probably have more than one subject.
pub(crate) fn long_files(root: &Path) -> anyhow::Result<Outcome> {
    let mut found = Vec::new();
    for path in tracked(root, "*.rs")? {
        let lines = read_text(&path)?.lines().count();
        if lines > LONG_FILE_LINES {
            found.push(format!("{} ({lines} lines)", shown(root, &path)));
        }
    }
    if found.is_empty() {
        return Ok(Outcome::Passed(String::new()));
    }
    Ok(Outcome::Warned(format!(
        "over {LONG_FILE_LINES} lines:\n{}",
        found.join("\n")
    )))
}

fn fails_with(what: &str, found: &[String]) -> Outcome {
    if found.is_empty() {
        return Outcome::Passed(String::new());
    }
    Outcome::Failed(format!("{what}:\n{}", found.join("\n")))
}

/// The files of the repository that match a pattern, also those not committed yet.
fn tracked(root: &Path, pattern: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut git = std::process::Command::new("git");
    let arguments = [
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "--",
        pattern,
    ];
    let listed = read(git.current_dir(root).args(arguments))?;
    Ok(listed
        .lines()
        .map(|line| root.join(line))
        .filter(|path| path.is_file())
        .collect())
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))
}

fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}
