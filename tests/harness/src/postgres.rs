//! A PostgreSQL server.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use tokio::{sync::OnceCell, time::Instant};

use crate::{
    Daemon, HarnessError,
    database::{READY_DEADLINE, TRY_EVERY, database_name, find, folder, is_root, run},
    free_port,
};

const PACKAGE: &str = "postgresql";
/// The user that the server runs as where the test is root.
const USER: &str = "postgres";
const MAX_CONNECTIONS: u32 = 200;

/// A PostgreSQL server with durable settings, on a free port.
#[derive(Debug)]
pub struct PostgresServer {
    daemon: Daemon,
    port: u16,
    // After the daemon, so that it is removed last.
    _folder: TempDir,
}

impl PostgresServer {
    /// Returns the one server of this process, started at the first call.
    pub async fn shared() -> Result<&'static Self, HarnessError> {
        static SHARED: OnceCell<PostgresServer> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// Starts a server and waits until it answers.
    pub async fn start() -> Result<Self, HarnessError> {
        let programs = programs()?;
        let folder = folder("postgres")?;
        let cluster = folder.path().join("cluster");
        if is_root() {
            let user = run(Command::new("id").args(["-u", USER]))?;
            chown(folder.path(), user.trim().parse().ok(), None)
                .map_err(HarnessError::io(format!("give a folder to {USER}")))?;
        }
        run(as_user(&programs.join("initdb"))
            .arg("-D")
            .arg(&cluster)
            .args([
                "--username=tercet",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ]))?;
        let port = free_port().map_err(HarnessError::io("find a free port"))?;
        let log = folder.path().join("log");
        let mut command = as_user(&programs.join("postgres"));
        command.arg("-D").arg(&cluster).args(settings(port));
        let daemon = Daemon::spawn_in("PostgreSQL", &mut command, &log, Some(folder.path()))?;
        let mut server = Self {
            daemon,
            port,
            _folder: folder,
        };
        server.ready().await?;
        Ok(server)
    }

    /// Makes an empty database and returns its URL.
    pub async fn database(&self) -> Result<String, HarnessError> {
        let name = database_name();
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        connection
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await?;
        connection.close().await?;
        Ok(self.url(&name))
    }

    /// Returns the URL of a database of this server.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://tercet@127.0.0.1:{}/{database}", self.port)
    }

    /// Returns the server's process.
    pub fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    async fn ready(&mut self) -> Result<(), HarnessError> {
        let give_up = Instant::now() + READY_DEADLINE;
        while PgConnection::connect(&self.url("postgres")).await.is_err() {
            if Instant::now() > give_up || !self.daemon.is_running() {
                return Err(HarnessError::NotReady {
                    name: format!("PostgreSQL ({})", self.daemon.log()),
                    deadline: READY_DEADLINE,
                    log: self.daemon.log_path().to_owned(),
                });
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
        Ok(())
    }
}

/// The server's settings; as durable as in production.
fn settings(port: u16) -> Vec<String> {
    [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        format!("max_connections={MAX_CONNECTIONS}"),
        "fsync=on".to_owned(),
        "synchronous_commit=on".to_owned(),
        "full_page_writes=on".to_owned(),
    ]
    .into_iter()
    .flat_map(|setting| ["-c".to_owned(), setting])
    .collect()
}

/// Returns the folder of the newest version that is installed.
fn programs() -> Result<PathBuf, HarnessError> {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut programs: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let programs = entry.path().join("bin");
            find([programs.join("postgres")]).map(|_| (version, programs))
        })
        .collect();
    programs.sort();
    let newest = programs.pop().map(|(_, programs)| programs);
    newest.ok_or(HarnessError::Missing {
        program: "postgres",
        package: PACKAGE,
    })
}

/// Makes a command for a program as a user other than root; `setpriv` becomes the program, so that the
/// process id is the program's.
fn as_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"])
        .arg(program)
        .current_dir("/");
    command
}
