//! A MariaDB server.

use std::{fs, path::Path, process::Command};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, MySqlConnection};
use tempfile::TempDir;
use tokio::{sync::OnceCell, time::Instant};

use crate::{
    Daemon, HarnessError,
    database::{READY_DEADLINE, TRY_EVERY, database_name, find, folder, in_path, is_root, run},
    free_port,
};

const PACKAGE: &str = "mariadb-server";
const MAX_CONNECTIONS: u32 = 200;
/// The user that tests connect as; the server resolves no names.
const USERS: &str = "CREATE USER IF NOT EXISTS 'tercet'@'%';\n\
                     GRANT ALL PRIVILEGES ON *.* TO 'tercet'@'%';\n";

/// A MariaDB server with durable settings, on a free port.
#[derive(Debug)]
pub struct MariaDbServer {
    daemon: Daemon,
    port: u16,
    // After the daemon, so that it is removed last.
    _folder: TempDir,
}

impl MariaDbServer {
    /// Returns the one server of this process, started at the first call.
    pub async fn shared() -> Result<&'static Self, HarnessError> {
        static SHARED: OnceCell<MariaDbServer> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// Starts a server and waits until it answers.
    pub async fn start() -> Result<Self, HarnessError> {
        let missing = |program| HarnessError::Missing {
            program,
            package: PACKAGE,
        };
        let server = find(in_path("mariadbd")).ok_or_else(|| missing("mariadbd"))?;
        let install =
            find(in_path("mariadb-install-db")).ok_or_else(|| missing("mariadb-install-db"))?;
        let folder = folder("mariadb")?;
        let tables = folder.path().join("tables");
        run(Command::new(install)
            .arg("--no-defaults")
            .arg(format!("--datadir={}", tables.display()))
            .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
            .args(user()))?;
        let users = folder.path().join("users.sql");
        fs::write(&users, USERS).map_err(HarnessError::io("write the list of users"))?;
        let port = free_port().map_err(HarnessError::io("find a free port"))?;
        let log = folder.path().join("log");
        let mut command = Command::new(server);
        command
            .args(settings(port, folder.path(), &tables, &users))
            .args(user());
        let daemon = Daemon::spawn_in("MariaDB", &mut command, &log, Some(folder.path()))?;
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
        let mut connection = MySqlConnection::connect(&self.url("mysql")).await?;
        connection
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await?;
        connection.close().await?;
        Ok(self.url(&name))
    }

    /// Returns the URL of a database of this server.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://tercet@127.0.0.1:{}/{database}", self.port)
    }

    /// Returns the server's process.
    pub fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    async fn ready(&mut self) -> Result<(), HarnessError> {
        let give_up = Instant::now() + READY_DEADLINE;
        while MySqlConnection::connect(&self.url("mysql")).await.is_err() {
            if Instant::now() > give_up || !self.daemon.is_running() {
                return Err(HarnessError::NotReady {
                    name: format!("MariaDB ({})", self.daemon.log()),
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
fn settings(port: u16, folder: &Path, tables: &Path, users: &Path) -> Vec<String> {
    vec![
        // Must come first.
        "--no-defaults".to_owned(),
        format!("--datadir={}", tables.display()),
        format!("--socket={}", folder.join("socket").display()),
        format!("--init-file={}", users.display()),
        format!("--port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--skip-name-resolve".to_owned(),
        format!("--max-connections={MAX_CONNECTIONS}"),
        "--innodb-flush-log-at-trx-commit=1".to_owned(),
        "--innodb-doublewrite=1".to_owned(),
        "--character-set-server=utf8mb4".to_owned(),
    ]
}

/// Returns the option that allows MariaDB to run as root.
fn user() -> Option<&'static str> {
    is_root().then_some("--user=root")
}
