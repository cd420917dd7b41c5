//! What the compiler does not check: the absences that the architecture rests on.

use std::collections::BTreeSet;
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
    "tercet-failpoint feature \"enabled\"",
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

/// Every reason code that a caller can see has a page, and every page is of a code that exists.
pub(crate) fn error_pages(root: &Path) -> anyhow::Result<Outcome> {
    let mut reasons = BTreeSet::new();
    for path in tracked(root, "coordinator/*.rs")? {
        reasons.extend(reasons_in(&read_text(&path)?));
    }
    anyhow::ensure!(
        !reasons.is_empty(),
        "no function `reason` names a code; did it move?"
    );
    let mut pages = BTreeSet::new();
    for path in tracked(root, "docs/errors/*.md")? {
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if is_reason(&stem) && stem != "README" {
            pages.insert(stem);
        }
    }
    let mut found: Vec<String> = reasons
        .difference(&pages)
        .map(|r| format!("docs/errors/{r}.md is missing"))
        .collect();
    found.extend(
        pages
            .difference(&reasons)
            .map(|p| format!("docs/errors/{p}.md: no such code")),
    );
    if found.is_empty() {
        return Ok(Outcome::Passed(format!("{} codes", reasons.len())));
    }
    Ok(fails_with("reason codes and their pages differ", &found))
}

/// The codes that functions called `reason` return: literals in capitals, up to the end of the
/// function.
fn reasons_in(source: &str) -> BTreeSet<String> {
    let mut reasons = BTreeSet::new();
    let mut lines = source.lines();
    while let Some(head) = lines.next() {
        if !head.contains("fn reason(") {
            continue;
        }
        let indent: String = head.chars().take_while(|c| *c == ' ').collect();
        let end = format!("{indent}}}");
        for line in lines.by_ref().take_while(|line| *line != end) {
            let literals = line.split('"').skip(1).step_by(2);
            reasons.extend(literals.filter(|word| is_reason(word)).map(str::to_owned));
        }
    }
    reasons
}

fn is_reason(word: &str) -> bool {
    !word.is_empty()
        && word
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Every link between the repository's own texts leads somewhere.
pub(crate) fn links(root: &Path) -> anyhow::Result<Outcome> {
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

/// The targets of Markdown links to files, without what follows a `#`.
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

#[cfg(test)]
mod tests {
    use super::{links_in, reasons_in};

    #[test]
    fn finds_the_codes_that_a_function_returns() {
        let source = r#"
impl Refusal {
    pub fn reason(&self) -> &'static str {
        match self {
            Self::A => "A_B",
            Self::C => "no code",
        }
    }
    pub fn other(&self) -> &'static str {
        "NOT_A_CODE"
    }
}
"#;
        assert_eq!(reasons_in(source).into_iter().collect::<Vec<_>>(), ["A_B"]);
    }

    #[test]
    fn finds_links_to_files_only() {
        let text = "[a](b.md), [c](https://example.org/d), [e](#f), [g](../h/i.md#j)";
        assert_eq!(links_in(text), ["b.md", "../h/i.md"]);
    }
}
