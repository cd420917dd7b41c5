//! Rules that the compiler does not check: the absences that the architecture rests on.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::StepResult;
use crate::commands::{cargo, read};

/// Crates that decide, and therefore may depend on no crate that acts, reads a clock or rolls dice.
const PURE: [&str; 2] = ["tercet-core", "tercet-barrier"];

/// Crates that a pure crate must not depend on, not even through another crate.
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
    "tercet-failpoint feature \"enabled\"",
];

/// The number of lines from which a file probably has more than one subject.
const LONG_FILE_LINES: usize = 600;

/// Checks that core and barrier depend on no I/O, clocks or randomness.
pub(crate) fn core_is_pure(root: &Path) -> anyhow::Result<StepResult> {
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

/// Checks that a program built as it ships contains neither mutations nor fail points. The whole workspace is
/// examined, because cargo unites the features of all crates that it builds together.
pub(crate) fn ships_whole(root: &Path) -> anyhow::Result<StepResult> {
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

/// Checks that every link between the repository's own texts has a target.
pub(crate) fn links(root: &Path) -> anyhow::Result<StepResult> {
    let mut found = Vec::new();
    for path in tracked(root, "*.md")? {
        let folder = path.parent().unwrap_or(root);
        for link in links_in(&read_text(&path)?) {
            if !folder.join(&link).exists() {
                found.push(format!("{}: {link}", shown(root, &path)));
            }
        }
    }
    Ok(fails_with("links that lead nowhere", &found))
}

/// Returns the targets of Markdown links to files, without the part behind a `#`.
fn links_in(text: &str) -> Vec<String> {
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'));
    targets
        .map(|(target, _)| target.split('#').next().unwrap_or_default())
        .filter(|file| !file.is_empty() && !file.contains("://") && !file.contains(' '))
        .map(str::to_owned)
        .collect()
}

/// Lists files that are so long that they probably have more than one subject.
pub(crate) fn long_files(root: &Path) -> anyhow::Result<StepResult> {
    let mut found = Vec::new();
    for path in tracked(root, "*.rs")? {
        let lines = read_text(&path)?.lines().count();
        if lines > LONG_FILE_LINES {
            found.push(format!("{} ({lines} lines)", shown(root, &path)));
        }
    }
    if found.is_empty() {
        return Ok(StepResult::Passed(String::new()));
    }
    Ok(StepResult::Warned(format!(
        "over {LONG_FILE_LINES} lines:\n{}",
        found.join("\n")
    )))
}

pub(crate) fn fails_with(what: &str, found: &[String]) -> StepResult {
    if found.is_empty() {
        return StepResult::Passed(String::new());
    }
    StepResult::Failed(format!("{what}:\n{}", found.join("\n")))
}

/// Returns the files of the repository that match a pattern, also those that are not committed yet.
pub(crate) fn tracked(root: &Path, pattern: &str) -> anyhow::Result<Vec<PathBuf>> {
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

pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))
}

pub(crate) fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::links_in;

    #[test]
    fn finds_links_to_files_only() {
        let text = "[a](b.md), [c](https://example.org/d), [e](#f), [g](../h/i.md#j)";
        assert_eq!(links_in(text), ["b.md", "../h/i.md"]);
    }
}
