//! The token: whoever shows it acts as the user of the database. Made anew, or kept in a file of its owner.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::path::Path;

use data_encoding::BASE32_NOPAD;
use subtle::ConstantTimeEq as _;

/// Bytes of a token: nobody guesses one.
const BYTES: usize = 32;
/// Bytes of a file that are looked at.
const MAX_FILE: u64 = 1024;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The text or file holds something else.
    #[error("that is no token; it has 52 characters a-z and 2-7. Remove the file, and a new one is made")]
    Malformed,
    /// Others than its owner may read the file.
    #[error("others than its owner may read that file; `chmod 600` it, or remove it and a new one is made")]
    Open,
    /// The file cannot be read or written.
    #[error("the file of the token cannot be read or made: {0}")]
    Io(#[from] std::io::Error),
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
}

/// 32 random bytes that a client has to show.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A new one.
    pub fn generate() -> Result<Self, TokenError> {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes).map_err(|error| TokenError::Random(error.to_string()))?;
        Ok(Self(BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()))
    }

    /// The one that somebody wrote down.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let upper = text.to_ascii_uppercase();
        match BASE32_NOPAD.decode(upper.as_bytes()) {
            Ok(bytes) if bytes.len() == BYTES && text == text.to_ascii_lowercase() => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(TokenError::Malformed),
        }
    }

    /// The one in a file that only its owner may read; where there is no file, a new one is made and written there.
    pub fn in_file(path: &Path) -> Result<Self, TokenError> {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(path) {
            Ok(mut file) => {
                let token = Self::generate()?;
                file.write_all(format!("{}\n", token.0).as_bytes())?;
                file.sync_all()?;
                Ok(token)
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let file = std::fs::File::open(path)?;
                #[cfg(unix)]
                if std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions()) & 0o077 != 0 {
                    return Err(TokenError::Open);
                }
                let mut text = String::new();
                file.take(MAX_FILE).read_to_string(&mut text).map_err(|_| TokenError::Malformed)?;
                Self::parse(text.trim())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// As clients show it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is it; how long that takes says nothing about where they differ.
    pub(crate) fn is(&self, shown: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(shown).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_kept_in_a_file_that_only_its_owner_may_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let token = Token::in_file(&path).unwrap();
        assert_eq!(token.as_str().len(), 52);
        assert!(Token::in_file(&path).unwrap().is(token.as_str().as_bytes()));
        assert!(!token.is(b"") && !token.is(Token::generate().unwrap().as_str().as_bytes()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
            assert!(matches!(Token::in_file(&path), Err(TokenError::Open)));
        }
        let other = folder.path().join("other");
        std::fs::write(&other, "secret").unwrap();
        assert!(Token::in_file(&other).is_err());
    }
}
