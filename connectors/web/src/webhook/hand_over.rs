//! A secret that a provider makes up and sends, on its way to the operator: in a file that only
//! this user may read, and in no log. The first one counts: whoever sends another one later is
//! turned away, so that nobody can put a secret of his own in place of the provider's.

use std::io::ErrorKind;
use std::path::PathBuf;

use tokio::fs::{self, OpenOptions};
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;
use tracing::{error, warn};

use super::answer::{self, Refusal};

/// Longest secret in bytes.
const LONGEST: usize = 1_024;

pub(super) struct HandOver {
    file: PathBuf,
    turn: Mutex<()>,
}

impl HandOver {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, turn: Mutex::default() }
    }

    /// Returns once it is on disk, or was already.
    ///
    /// # Errors
    /// 400 for what can be no secret, 403 if there is another one already, 503 if it cannot be written.
    pub(super) async fn take(&self, secret: &str) -> Result<(), Refusal> {
        if secret.is_empty() || secret.len() > LONGEST || !secret.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(answer::bad_request("handshake", "what was sent can be no secret"));
        }
        let _turn = self.turn.lock().await;
        match self.written(secret).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(answer::forbidden("another secret was sent already")),
            Err(error) => {
                error!(%error, file = %self.file.display(), "the secret of a provider cannot be written down");
                Err(answer::unavailable("handshake", "the secret cannot be kept at the moment"))
            }
        }
    }

    /// Whether it is the one that stands there.
    async fn written(&self, secret: &str) -> std::io::Result<bool> {
        match fs::read_to_string(&self.file).await {
            // Of a crash before it was written.
            Ok(text) if text.is_empty() => fs::remove_file(&self.file).await?,
            Ok(text) => return Ok(text == secret),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.file).await?;
        file.write_all(secret.as_bytes()).await?;
        file.sync_all().await?;
        warn!(
            file = %self.file.display(),
            "a provider sent the secret of this webhook: write it as `secret` in place of `pending`, then delete this file"
        );
        Ok(true)
    }
}
