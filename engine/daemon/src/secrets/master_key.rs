//! Where master keys come from: a file, a command, a variable. Nothing of a key is ever in a message.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use karez_api::Secret;
use karez_store::{Keys, MasterKey};
use rustix::fs::OFlags;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::settings::Settings;

/// What a file or command may say at most, in bytes: a key has 64 in hex.
const LONGEST: u64 = 4096;
/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the master key is taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeySource {
    File(PathBuf),
    /// A program and its arguments; it writes the key to its stdout.
    Command(Vec<String>),
    /// `KAREZ_MASTER_KEY`.
    Text(Secret),
}

/// All keys that the settings name.
///
/// # Errors
/// One of them cannot be had: karez does not go on with fewer keys than it was given.
pub(crate) async fn read_all(settings: &Settings) -> Result<Keys> {
    let current = match settings.master_key()? {
        Some(KeySource::File(path)) => Some(from_file(&path)?),
        Some(KeySource::Command(command)) => Some(from_command(&command).await?),
        Some(KeySource::Text(text)) => Some(
            MasterKey::parse(text.expose()).map_err(|what| anyhow::anyhow!("KAREZ_MASTER_KEY is {what}"))?,
        ),
        None => None,
    };
    let old = settings.old_master_key_files.iter().map(|path| from_file(path)).collect::<Result<_>>()?;
    Ok(Keys::new(current, old))
}

/// The key in a file that nobody but its owner, who we are, can read.
///
/// # Errors
/// It cannot be read, others could read it, it belongs to somebody else, or it holds no key.
pub(crate) fn from_file(path: &Path) -> Result<MasterKey> {
    let shown = path.display();
    // A pipe without a writer would be waited for without end.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.with_context(|| format!("cannot read the master key in {shown}"))?;
    check_owner(&file, path)?;
    let mut text = Zeroizing::new(String::with_capacity(LONGEST as usize));
    file.take(LONGEST)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read the master key in {shown}"))?;
    MasterKey::parse(&text).map_err(|what| anyhow::anyhow!("{shown} is {what}"))
}

fn check_owner(file: &File, path: &Path) -> Result<()> {
    let shown = path.display();
    let about = file.metadata().with_context(|| format!("cannot read the master key in {shown}"))?;
    ensure!(about.is_file(), "{shown} is no file, so no master key is read from it");
    let (mode, us) = (about.mode() & 0o777, rustix::process::geteuid().as_raw());
    if mode & 0o077 != 0 {
        bail!(
            "others can read the master key in {shown} (mode {mode:04o}): chmod 600 {shown}, and take another key if they have"
        );
    }
    if about.uid() != us {
        bail!(
            "the master key in {shown} belongs to user {}, and karez runs as user {us}: chown {us} {shown}",
            about.uid()
        );
    }
    Ok(())
}

/// The key that a command writes.
///
/// # Errors
/// It cannot be run, fails, takes longer than [`PATIENCE`], or writes no key.
async fn from_command(command: &[String]) -> Result<MasterKey> {
    let Some((program, arguments)) = command.split_first() else {
        bail!("master_key_command is empty: write a program and its arguments, like [vault-read, karez]");
    };
    let output = timeout(PATIENCE, output(program, arguments)).await;
    let text =
        output.with_context(|| format!("master_key_command: {program} took longer than {PATIENCE:?}"))??;
    MasterKey::parse(&text)
        .map_err(|what| anyhow::anyhow!("master_key_command: what {program} writes is {what}"))
}

async fn output(program: &str, arguments: &[String]) -> Result<Zeroizing<String>> {
    let cannot = || format!("master_key_command: cannot run {program}");
    let mut command = Command::new(program);
    // What it complains of is for whoever reads our log.
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().with_context(cannot)?;
    let mut text = Zeroizing::new(String::with_capacity(LONGEST as usize));
    if let Some(stdout) = child.stdout.take() {
        stdout.take(LONGEST).read_to_string(&mut text).await.with_context(cannot)?;
    }
    let status = child.wait().await.with_context(cannot)?;
    ensure!(status.success(), "master_key_command: {program} failed, {status}");
    Ok(text)
}

/// Writes a new key to a file that did not exist.
///
/// # Errors
/// There is such a file, or it cannot be written.
pub(crate) fn write_new(path: &Path) -> Result<MasterKey> {
    let shown = path.display();
    let key = MasterKey::generate().map_err(anyhow::Error::msg)?;
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = match made {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{shown} exists already and is left as it is")
        }
        Err(error) => return Err(error).with_context(|| format!("cannot write {shown}")),
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Whoever loses the key loses the secrets: it is on disk before anything is encrypted with it.
    file.write_all(key.to_text().as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(folder)?.sync_all())
        .with_context(|| format!("cannot write {shown}"))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_key_is_its_owners_and_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let key = write_new(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(from_file(&path).unwrap().id(), key.id());
        assert!(write_new(&path).unwrap_err().to_string().contains("exists already"));
        assert_eq!(from_file(&path).unwrap().id(), key.id());
    }

    #[test]
    fn a_file_that_others_can_read_or_that_holds_no_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        write_new(&path).unwrap();
        for (mode, good) in [(0o640, false), (0o604, false), (0o660, false), (0o400, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(from_file(&path).is_ok(), good, "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "hunter2hunter2").unwrap();
        let said = format!("{:#}", from_file(&path).unwrap_err());
        assert!(said.contains("not a key") && !said.contains("hunter2"), "{said}");
        for (path, said) in [(folder.path(), "no file"), (Path::new("/nowhere/key"), "No such file")] {
            let error = format!("{:#}", from_file(path).unwrap_err());
            assert!(error.contains(said), "{error}");
        }
    }

    #[tokio::test]
    async fn a_command_writes_the_key_or_is_told_apart() {
        let run = |script: &str| {
            let command = ["sh", "-c", script].map(str::to_owned);
            async move { from_command(&command).await.map_err(|error| format!("{error:#}")) }
        };
        let key = MasterKey::generate().unwrap();
        assert_eq!(run(&format!("echo {}", key.to_text().as_str())).await.unwrap().id(), key.id());
        for (script, said) in [
            ("echo hunter2", "not a key"),
            ("echo hunter2 && exit 3", "exit status: 3"),
            ("yes hunter2", "failed"),
        ] {
            let error = run(script).await.unwrap_err();
            assert!(error.contains(said) && !error.contains("hunter2"), "{error}");
        }
        let missing = from_command(&["/nowhere/program".to_owned()]).await.unwrap_err().to_string();
        assert!(missing.contains("cannot run /nowhere/program"), "{missing}");
        assert!(from_command(&[]).await.is_err());
    }
}
