//! The layers of the workspace: which crate may depend on which, and within a crate which module may import
//! which.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;

use crate::StepResult;
use crate::commands::{cargo, read};
use crate::imports::{self, Import};
use crate::rules::{fails_with, read_text, shown, tracked};

/// The name of a crate's root in the tables.
const ROOT: &str = "lib";

/// One crate whose modules stand in layers.
struct Layered {
    /// The folder of its sources.
    source: &'static str,
    /// Its modules from the lowest layer up. A module may import those of lower layers, and none of its own.
    layers: &'static [&'static [&'static str]],
    /// Modules that must not name some crates, and which.
    strangers: &'static [(&'static [&'static str], &'static [&'static str])],
}

const LAYERED: &[Layered] = &[
    Layered {
        source: "coordinator/core/src",
        layers: &[
            &["words", "limits", "time"],
            &["id", "config", "context"],
            &["model", "reason", "violation"],
            &["refusal", "row", "write"],
            &["port"],
            &["check"],
            &["transition", "gate", "lane"],
            &["begin", "pursuit", "loader"],
            &["engine"],
        ],
        strangers: &[],
    },
    Layered {
        source: "coordinator/store/src",
        layers: &[
            &["error"],
            &["transactions", "nodes", "views", "registry"],
            &["lib"],
            &["cells"],
            &["columns"],
            &["sql"],
            &["sqlite"],
            &["open"],
        ],
        strangers: &[
            (&["cells", "columns", "sql"], &["rusqlite"]),
            (
                &["error", "transactions", "nodes", "views", "registry", "lib"],
                &["rusqlite", "sqlx"],
            ),
        ],
    },
    Layered {
        source: "coordinator/server/src",
        layers: &[
            &["bounds", "clock", "observe"],
            &["address", "descriptors", "pulse", "turns"],
            &["config", "directory", "error", "backlog"],
            &["wire", "driver"],
            &["calls", "requests"],
            &["grpc"],
            &["listen"],
            &["serve"],
        ],
        strangers: &[(
            &[
                "address",
                "backlog",
                "bounds",
                "clock",
                "config",
                "descriptors",
                "directory",
                "driver",
                "error",
                "observe",
                "pulse",
                "requests",
                "turns",
            ],
            &["prost", "tercet_proto", "tonic", "tonic_types"],
        )],
    },
];

/// The crates of the workspace that each may depend on, in a program as it ships.
const DEPENDENCIES: &[(&str, &[&str])] = &[
    ("tercet-barrier", &["tercet-mutation"]),
    ("tercet-core", &["tercet-mutation"]),
    ("tercet-failpoint", &[]),
    ("tercet-mutation", &[]),
    ("tercet-proto", &[]),
    ("tercet-store", &["tercet-core", "tercet-failpoint"]),
    (
        "tercet-server",
        &[
            "tercet-core",
            "tercet-failpoint",
            "tercet-proto",
            "tercet-store",
        ],
    ),
    (
        "tercet-sdk",
        &["tercet-barrier", "tercet-failpoint", "tercet-proto"],
    ),
    (
        "tercet-testkit",
        &["tercet-sdk", "tercet-server", "tercet-store"],
    ),
    (
        "tercet-cli",
        &[
            "demo-player",
            "tercet-failpoint",
            "tercet-proto",
            "tercet-server",
            "tercet-store",
        ],
    ),
    ("demo-service", &["tercet-sdk"]),
    ("demo-points", &["demo-service", "tercet-sdk"]),
    ("demo-coupons", &["demo-service", "tercet-sdk"]),
    (
        "demo-player",
        &[
            "demo-coupons",
            "demo-points",
            "demo-service",
            "tercet-proto",
            "tercet-sdk",
        ],
    ),
];

/// Checks imports and dependencies against the tables above.
pub(crate) fn run(root: &Path) -> anyhow::Result<StepResult> {
    let mut found = Vec::new();
    let mut arrows = 0;
    for layered in LAYERED {
        arrows += check_modules(root, layered, &mut found)?;
    }
    for (package, allowed) in DEPENDENCIES {
        check_dependencies(root, package, allowed, &mut found)?;
    }
    if found.is_empty() {
        return Ok(StepResult::Passed(format!(
            "{arrows} arrows between modules"
        )));
    }
    Ok(fails_with("imports against the layers", &found))
}

/// Checks one crate; returns how many modules import how many others.
fn check_modules(root: &Path, layered: &Layered, found: &mut Vec<String>) -> anyhow::Result<usize> {
    let source = root.join(layered.source);
    let roots = imports::re_exports(&read_text(&source.join("lib.rs"))?);
    let mut arrows: BTreeMap<(String, String), String> = BTreeMap::new();
    for path in tracked(root, &format!("{}/*.rs", layered.source))? {
        let inside = path.strip_prefix(&source)?;
        let module = imports::module_path(inside);
        let text = read_text(&path)?;
        let name = module.first().map_or(ROOT, String::as_str).to_owned();
        // The root only puts its modules together, unless the table has it for items of its own.
        let is_root = module.is_empty();
        if !is_root && layered.layer(&name).is_none() {
            found.push(format!(
                "{}: no layer has the module {name}",
                shown(root, &path)
            ));
            continue;
        }
        for stranger in layered.strangers_of(&name) {
            if imports::names(&text, stranger) {
                let file = shown(root, &path);
                found.push(format!("{file}: {name} must not name {stranger}"));
            }
        }
        if is_root {
            continue;
        }
        for import in imports::of(&text, &module) {
            let target = match import {
                Import::Module(target) => target,
                Import::Item(item) => roots.get(&item).cloned().unwrap_or(ROOT.to_owned()),
            };
            if target != name {
                let file = shown(root, &path);
                arrows.entry((name.clone(), target)).or_insert(file);
            }
        }
    }
    for ((from, to), file) in &arrows {
        match (layered.layer(from), layered.layer(to)) {
            (_, None) => found.push(format!("{file}: no layer has the module {to}")),
            (from_layer, to_layer) if from_layer <= to_layer => {
                found.push(format!("{file}: {from} must not import {to}"));
            }
            _ => {}
        }
    }
    Ok(arrows.len())
}

impl Layered {
    fn layer(&self, module: &str) -> Option<usize> {
        self.layers.iter().position(|layer| layer.contains(&module))
    }

    fn strangers_of(&self, module: &str) -> impl Iterator<Item = &'static str> {
        let of_module = move |(modules, _): &&(&[&str], &[&str])| modules.contains(&module);
        let strangers: BTreeSet<&'static str> = self
            .strangers
            .iter()
            .filter(of_module)
            .flat_map(|(_, crates)| crates.iter().copied())
            .collect();
        strangers.into_iter()
    }
}

/// Checks the direct dependencies of one crate on others of the workspace.
fn check_dependencies(
    root: &Path,
    package: &str,
    allowed: &[&str],
    found: &mut Vec<String>,
) -> anyhow::Result<()> {
    let arguments = [
        "tree",
        "--locked",
        "--package",
        package,
        "--edges",
        "normal",
        "--depth",
        "1",
    ];
    let tree = read(cargo(root, &arguments).args(["--prefix", "none", "--format", "{p}"]))?;
    let ours = tree
        .lines()
        .skip(1)
        .filter_map(|line| line.split(' ').next());
    let ours: BTreeSet<&str> = ours
        .filter(|name| name.starts_with("tercet-") || name.starts_with("demo-"))
        .collect();
    tree.lines()
        .next()
        .with_context(|| format!("cargo tree shows nothing of {package}"))?;
    found.extend(
        ours.iter()
            .filter(|name| !allowed.contains(*name))
            .map(|name| format!("{package} must not depend on {name}")),
    );
    Ok(())
}
