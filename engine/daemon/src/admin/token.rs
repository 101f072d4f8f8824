//! The secret that opens the API: made at first start, readable by its owner only.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq;

/// `admin.token` of a data folder.
pub(crate) struct Token(String);

impl Token {
    fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("admin.token")
    }

    /// The token of a data folder; made if there is none, replaced if others could have read it.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub(crate) fn ensure(data_dir: &Path) -> io::Result<Self> {
        let path = Self::path(data_dir);
        match fs::metadata(&path) {
            Ok(file) if file.permissions().mode() & 0o077 == 0 => {
                let token = Self::read(data_dir)?;
                if token.0.len() == 64 {
                    return Ok(token);
                }
                fs::remove_file(&path)?;
            }
            Ok(_) => {
                tracing::warn!(path = %path.display(), "others could read the admin token, it is replaced");
                fs::remove_file(&path)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let token = hex::encode(rand::random::<[u8; 32]>());
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(token.as_bytes())?;
        file.sync_all()?;
        Ok(Self(token))
    }

    /// # Errors
    /// No daemon was ever started here, or it belongs to somebody else.
    pub(crate) fn read(data_dir: &Path) -> io::Result<Self> {
        Ok(Self(fs::read_to_string(Self::path(data_dir))?.trim().to_owned()))
    }

    /// Whether an `Authorization` header carries this token; takes as long wherever they differ.
    pub(crate) fn opens(&self, authorization: Option<&[u8]>) -> bool {
        let presented = authorization.and_then(|value| value.strip_prefix(b"Bearer "));
        presented.is_some_and(|presented| bool::from(presented.ct_eq(self.0.as_bytes())))
    }

    /// The header that presents it.
    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_kept_to_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let first = Token::ensure(folder.path()).unwrap();
        assert_eq!(Token::ensure(folder.path()).unwrap().0, first.0);
        let path = folder.path().join("admin.token");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_ne!(Token::ensure(folder.path()).unwrap().0, first.0);
    }

    #[test]
    fn only_the_whole_token_opens() {
        let token = Token("abc".into());
        assert!(token.opens(Some(b"Bearer abc")));
        for wrong in [&b"Bearer ab"[..], b"Bearer abcd", b"bearer abc", b"abc", b"Bearer ", b""] {
            assert!(!token.opens(Some(wrong)), "{wrong:?}");
        }
        assert!(!token.opens(None));
    }
}
