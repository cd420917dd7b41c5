//! Reads from a Rust source file which modules of its own crate it imports, and which crates it names.

use std::collections::BTreeMap;
use std::path::Path;

/// A name that a file imports from the root of its own crate.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Import {
    /// A module of the root.
    Module(String),
    /// An item that the root defines or re-exports.
    Item(String),
}

/// Returns the path of the module in a file, given by its path below the folder of sources; empty for the root.
pub(crate) fn module_path(file: &Path) -> Vec<String> {
    let mut path: Vec<String> = file
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if path
        .last()
        .is_some_and(|last| last == "mod" || last == "lib")
    {
        path.pop();
    }
    path
}

/// Returns the imports of a file: each path that leads to the crate's root, by `crate::` or by `super::`.
pub(crate) fn of(text: &str, module: &[String]) -> Vec<Import> {
    let code = code(text);
    let mut found = Vec::new();
    for (place, _) in code.match_indices("crate::") {
        let before = code[..place].chars().next_back();
        let is_path =
            before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '$' && c != ':');
        if is_path {
            found.extend(first_names(&code[place + "crate::".len()..]));
        }
    }
    let to_root = "super::".repeat(module.len());
    if !module.is_empty() {
        for (place, _) in code.match_indices(&to_root) {
            let begins = !code[..place].ends_with("super::");
            let rest = &code[place + to_root.len()..];
            if begins && !rest.starts_with("super::") {
                found.extend(first_names(rest));
            }
        }
    }
    let imports = found.into_iter().map(|name| {
        if name.starts_with(char::is_uppercase) {
            Import::Item(name)
        } else {
            Import::Module(name)
        }
    });
    let mut imports: Vec<Import> = imports.collect();
    imports.sort_unstable();
    imports.dedup();
    imports
}

/// Returns the items that the crate's root re-exports, each with the module that it comes from.
pub(crate) fn re_exports(root: &str) -> BTreeMap<String, String> {
    let code = code(root);
    let mut found = BTreeMap::new();
    for statement in code.split(';') {
        let Some((_, tree)) = statement.split_once("pub use ") else {
            continue;
        };
        let tree = tree.trim().trim_start_matches("self::").trim();
        let branches = match tree.strip_prefix('{') {
            Some(inner) => split(inner.trim_end_matches('}')),
            None => vec![tree],
        };
        for branch in branches {
            let Some((module, names)) = branch.split_once("::") else {
                continue;
            };
            let names = names.trim().trim_start_matches('{').trim_end_matches('}');
            for name in split(names) {
                let name = name.rsplit("::").next().unwrap_or(name);
                found.insert(name.trim().to_owned(), module.trim().to_owned());
            }
        }
    }
    found
}

/// Returns whether a file names a crate in a path.
pub(crate) fn names(text: &str, krate: &str) -> bool {
    let code = code(text);
    let path = format!("{krate}::");
    code.match_indices(&path).any(|(place, _)| {
        let before = code[..place].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
    })
}

/// Returns the text without comments, and without the module of unit tests at its end.
fn code(text: &str) -> String {
    let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    shipped
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Returns the names that a path or a group of paths begins with.
fn first_names(path: &str) -> Vec<String> {
    let first = |path: &str| {
        let name: String = path
            .trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        (!name.is_empty()).then_some(name)
    };
    match path.strip_prefix('{') {
        None => first(path).into_iter().collect(),
        Some(group) => {
            let group = &group[..end_of_group(group)];
            split(group).into_iter().filter_map(first).collect()
        }
    }
}

/// Returns where the group ends whose opening brace stands before the text.
fn end_of_group(text: &str) -> usize {
    let mut depth = 1;
    for (place, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return place;
        }
    }
    text.len()
}

/// Splits a group at its own commas.
fn split(group: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (place, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(group[start..place].trim());
                start = place + 1;
            }
            _ => {}
        }
    }
    parts.push(group[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str) -> Vec<String> {
        module_path(Path::new(path))
    }

    fn found(text: &str, path: &str) -> Vec<String> {
        let name = |import| match import {
            Import::Module(name) | Import::Item(name) => name,
        };
        of(text, &module(path)).into_iter().map(name).collect()
    }

    #[test]
    fn a_file_is_the_module_of_its_path() {
        assert_eq!(module("lib.rs"), [""; 0]);
        assert_eq!(module("gate.rs"), ["gate"]);
        assert_eq!(module("engine/mod.rs"), ["engine"]);
        assert_eq!(module("engine/calls.rs"), ["engine", "calls"]);
    }

    #[test]
    fn imports_are_found_in_groups_in_paths_and_from_below() {
        let text = "use crate::{a, b::{c, d}, E};\n// use crate::not;\nfn f(x: crate::g::H) {}\n\
                    use super::{j, k::L};\n";
        assert_eq!(found(text, "m.rs"), ["a", "b", "g", "j", "k", "E"]);
    }

    #[test]
    fn only_a_path_that_leads_to_the_root_counts() {
        let text =
            "use super::k;\nuse super::super::l;\n#[cfg(test)]\nmod tests { use crate::m; }\n";
        assert_eq!(found(text, "engine/calls.rs"), ["l"]);
        assert_eq!(found("use super::super::n;", "o.rs"), [""; 0]);
        assert_eq!(found("$crate::p; mycrate::q", "o.rs"), [""; 0]);
    }

    #[test]
    fn re_exports_lead_to_their_module() {
        let root = "mod a;\npub use self::{a::A, b::{B, C}};\npub use d::D;\npub use e::f::F;";
        let found: Vec<_> = re_exports(root).into_iter().collect();
        let pair = |name: &str, module: &str| (name.to_owned(), module.to_owned());
        assert_eq!(
            found,
            [
                pair("A", "a"),
                pair("B", "b"),
                pair("C", "b"),
                pair("D", "d"),
                pair("F", "e")
            ]
        );
    }

    #[test]
    fn a_crate_is_named_in_a_path_only() {
        assert!(names("use tonic::Status;", "tonic"));
        assert!(names("fn f() -> tonic::Status {}", "tonic"));
        assert!(!names(
            "// tonic::Status\nuse my_tonic::X; use a::tonic::Y;",
            "tonic"
        ));
    }
}
