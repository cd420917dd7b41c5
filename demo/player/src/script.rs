//! The script of the play: the orders and the seed, checked whole before anything starts, and the folder
//! that it is played in.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use demo_service::Step;
use uuid::Uuid;

use crate::args::{DemoArgs, Mode};
use crate::orders::Orders;
use crate::seeds::Seeds;

const ORDERS: &str = include_str!("../../orders.csv");
const SEED: &str = include_str!("../../seed.toml");
/// The largest orders' or seed file.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The orders and the seed.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) seeds: Seeds,
    pub(crate) orders: Orders,
    orders_file: Vec<u8>,
    seed_file: String,
}

impl Script {
    /// Reads the files that the command line names, or those that come with the program.
    pub(crate) fn read(args: &DemoArgs) -> anyhow::Result<Self> {
        if args.mode == Mode::Compensate
            && let Some(fault) = args.fail.iter().find(|fault| fault.step == Step::Confirm)
        {
            bail!("--fail {fault}: in mode compensate nothing is confirmed; use try or cancel");
        }
        let seed_file = match &args.seed {
            Some(file) => String::from_utf8(contents(file)?)
                .map_err(|_| anyhow!("--seed {}: it is not UTF-8", file.display()))?,
            None => SEED.to_owned(),
        };
        let seeds = Seeds::parse(&seed_file)
            .map_err(|error| anyhow!("{}: {error}", named("--seed", args.seed.as_deref())))?;
        let orders_file = match &args.orders {
            Some(file) => contents(file)?,
            None => ORDERS.as_bytes().to_vec(),
        };
        let orders = Orders::read(&orders_file, &seeds)
            .map_err(|error| anyhow!("{}: {error}", named("--orders", args.orders.as_deref())))?;
        Ok(Self {
            seeds,
            orders,
            orders_file,
            seed_file,
        })
    }
}

fn named(option: &str, file: Option<&Path>) -> String {
    match file {
        Some(file) => format!("{option} {}", file.display()),
        None => format!("the {option} file of the program"),
    }
}

fn contents(file: &Path) -> anyhow::Result<Vec<u8>> {
    let read = || {
        let len = std::fs::metadata(file)?.len();
        if len > MAX_FILE_BYTES {
            bail!("it has {len} bytes, at most {MAX_FILE_BYTES} are read");
        }
        Ok(std::fs::read(file)?)
    };
    read().with_context(|| format!("cannot read {}", file.display()))
}

/// The folder of the databases, the logs and the files as they were read.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Folder {
    /// The folder that the command line names, which must be new or empty, or a temporary one.
    pub(crate) fn make(args: &DemoArgs, script: &Script) -> anyhow::Result<Self> {
        let (path, temporary) = match &args.data_dir {
            Some(path) => (path.clone(), false),
            None => (
                std::env::temp_dir().join(format!("tercet-demo-{}", Uuid::now_v7())),
                true,
            ),
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        let path = path.canonicalize()?;
        if std::fs::read_dir(&path)?.next().is_some() {
            bail!(
                "--data-dir {}: it is not empty; name a new or an empty one",
                path.display()
            );
        }
        let folder = Self { path, temporary };
        std::fs::write(folder.orders(), &script.orders_file)?;
        std::fs::write(folder.seed(), &script.seed_file)?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn orders(&self) -> PathBuf {
        self.path.join("orders.csv")
    }

    pub(crate) fn seed(&self) -> PathBuf {
        self.path.join("seed.toml")
    }

    /// Removes it if it is temporary and all went well; else returns its path.
    pub(crate) fn close(self, all_well: bool) -> Option<PathBuf> {
        if self.temporary && all_well && std::fs::remove_dir_all(&self.path).is_ok() {
            return None;
        }
        Some(self.path)
    }
}
