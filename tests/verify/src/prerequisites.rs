//! The tests' prerequisites besides the Rust toolchain: the servers of PostgreSQL and MariaDB, whose
//! programs the tests start themselves, in folders of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::StepResult;
use crate::commands::{read, watch};

/// A Debian package, with a program that proves that it is installed.
struct Package {
    name: &'static str,
    program: &'static str,
}

const PACKAGES: [Package; 2] = [
    Package {
        name: "postgresql",
        program: "initdb",
    },
    Package {
        name: "mariadb-server",
        program: "mariadbd",
    },
];

/// Folders of programs that are usually not on the PATH.
const SERVER_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// The folder with the programs of each version of PostgreSQL.
const POSTGRESQL_FOLDER: &str = "/usr/lib/postgresql";

/// Looks for the packages, and installs the missing ones or names the command for it.
pub(crate) fn run(_root: &Path) -> anyhow::Result<StepResult> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(StepResult::Passed(String::new()));
    }
    let names = missing.join(" ");
    if !is_root()? {
        return Ok(StepResult::Failed(format!(
            "missing: {names}; as root: apt-get update && apt-get install --yes {names}"
        )));
    }
    install(&missing)?;
    let still = self::missing();
    if still.is_empty() {
        return Ok(StepResult::Passed(format!("installed {names}")));
    }
    let still = still.join(" ");
    Ok(StepResult::Failed(format!(
        "installed, but its program is not where it was looked for: {still}"
    )))
}

fn missing() -> Vec<&'static str> {
    let folders = folders();
    let there = |package: &&Package| folders.iter().any(|f| f.join(package.program).is_file());
    PACKAGES
        .iter()
        .filter(|package| !there(package))
        .map(|package| package.name)
        .collect()
}

fn folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(SERVER_FOLDERS.iter().map(PathBuf::from));
    let versions = std::fs::read_dir(POSTGRESQL_FOLDER)
        .into_iter()
        .flatten()
        .flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    folders
}

fn is_root() -> anyhow::Result<bool> {
    Ok(read(Command::new("id").arg("-u"))?.trim() == "0")
}

/// Installs packages without starting their services: the tests start servers of their own.
fn install(packages: &[&str]) -> anyhow::Result<()> {
    watch(Command::new("apt-get").args(["update", "--quiet"]))?;
    watch(
        Command::new("apt-get")
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("RUNLEVEL", "1"),
    )
}
