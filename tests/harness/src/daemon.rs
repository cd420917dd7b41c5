//! A process of a test: its output goes to a file, it can be stopped and killed, and it never
//! outlives the test.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::{HarnessError, wait_until};

/// The guardian's script: a line of input means that the daemon has ended in order; the end of input without
/// a line means that the test's process is gone.
const GUARDIAN: &str = r#"
read -r _ && exit
kill -s KILL -- "-$1"
[ -n "$2" ] || exit
for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$2" && exit; sleep 1; done
"#;

/// One process, with a process group of its own.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    guardian: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Daemon {
    /// Starts `command`; its output is appended to the file `log`.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self, HarnessError> {
        Self::spawn_in(name, command, log, None)
    }

    /// As [`spawn`](Self::spawn); `folder` is removed if the test's process ends without dropping this.
    pub(crate) fn spawn_in(
        name: &str,
        command: &mut Command,
        log: &Path,
        folder: Option<&Path>,
    ) -> Result<Self, HarnessError> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(HarnessError::io(format!("open {}", log.display())))?;
        let errors = output
            .try_clone()
            .map_err(HarnessError::io(format!("open {}", log.display())))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(HarnessError::io(format!("start {name}: {command:?}")))?;
        let mut daemon = Self {
            name: name.to_owned(),
            guardian: guardian(child.id(), folder)?,
            child,
            log: log.to_owned(),
            ended: None,
        };
        daemon.poll();
        Ok(daemon)
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns its output so far.
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Returns the file of its output.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Returns whether it is still running.
    pub fn is_running(&mut self) -> bool {
        self.poll().is_none()
    }

    /// Sends SIGKILL to its whole group, and waits for its end.
    pub fn kill(&mut self) {
        if self.poll().is_some() {
            return;
        }
        self.signal(Signal::SIGKILL);
        self.ended = self.child.wait().ok();
    }

    /// Sends SIGTERM, which asks it to end in order.
    pub fn terminate(&mut self) {
        self.signal(Signal::SIGTERM);
    }

    /// Sends SIGSTOP: it pauses and keeps its connections.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Sends SIGCONT: it goes on.
    pub fn resume(&mut self) {
        self.signal(Signal::SIGCONT);
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// When `deadline` has passed.
    pub async fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!(
            "the end of {}; its log is {}",
            self.name,
            self.log.display()
        );
        wait_until(&what, deadline, || {
            let ended = self.poll();
            async move { ended }
        })
        .await
    }

    fn poll(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Signals the group, unless the process has been waited for: its number may then belong to another.
    fn signal(&mut self, signal: Signal) {
        if self.poll().is_none()
            && let Ok(group) = i32::try_from(self.child.id())
        {
            let _ = killpg(Pid::from_raw(group), signal);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if let Some(mut input) = self.guardian.stdin.take() {
            let _ = input.write_all(b"ended\n");
        }
        let _ = self.guardian.wait();
    }
}

/// Starts the process that outlives the test's for as long as it takes to clean up after it.
fn guardian(group: u32, folder: Option<&Path>) -> Result<Child, HarnessError> {
    Command::new("sh")
        .args(["-c", GUARDIAN, "guardian", &group.to_string()])
        .arg(folder.unwrap_or(Path::new("")))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Outside the test's group: an interrupt from the keyboard must not reach it.
        .process_group(0)
        .spawn()
        .map_err(HarnessError::io("start sh"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Daemon;
    use std::{path::Path, process::Command, time::Duration};

    fn state(pid: u32) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(") ").next()?.chars().next()
    }

    fn sleeper(folder: &Path) -> Daemon {
        let mut command = Command::new("sh");
        command.args(["-c", "echo up; exec sleep 600"]);
        Daemon::spawn("sleeper", &mut command, &folder.join("log")).unwrap()
    }

    async fn becomes(pid: u32, states: &[Option<char>]) {
        super::wait_until("a state", Duration::from_secs(5), || async {
            states.contains(&state(pid)).then_some(())
        })
        .await;
    }

    #[tokio::test]
    async fn a_daemon_is_stopped_resumed_and_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut daemon = sleeper(folder.path());
        let pid = daemon.pid();
        super::wait_until("its output", Duration::from_secs(5), || {
            let up = daemon.log() == "up\n";
            async move { up.then_some(()) }
        })
        .await;
        daemon.stop();
        becomes(pid, &[Some('T')]).await;
        daemon.resume();
        becomes(pid, &[Some('S'), Some('R')]).await;
        daemon.terminate();
        assert!(!daemon.wait(Duration::from_secs(5)).await.success());
        assert!(!daemon.is_running());
    }

    #[tokio::test]
    async fn a_daemon_that_is_dropped_is_gone_with_its_guardian() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = sleeper(folder.path());
        let (pid, guardian) = (daemon.pid(), daemon.guardian.id());
        drop(daemon);
        assert_eq!((state(pid), state(guardian)), (None, None));
    }

    #[tokio::test]
    async fn the_guardian_kills_when_the_test_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut daemon = sleeper(folder.path());
        drop(daemon.guardian.stdin.take());
        daemon.wait(Duration::from_secs(5)).await;
    }
}
