//! How a connection says who it is.
//!
//! # The argument
//!
//! The client asks for it at each connection that it makes, and is given it once: what it makes
//! after that is refused. So a client has one connection, and what was left in its queue when that
//! broke goes nowhere: see `session.rs`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::{Auth, AuthError};

use crate::location::Login;

/// What may be given once.
pub(crate) struct Once {
    login: Login,
    is_given: AtomicBool,
}

impl Once {
    pub(crate) fn new(login: Login) -> Once {
        Once {
            login,
            is_given: AtomicBool::new(false),
        }
    }

    /// What to say to a server that wants this nonce signed.
    pub(crate) fn give(&self, nonce: &[u8]) -> Result<Auth, AuthError> {
        if self.is_given.swap(true, Ordering::Relaxed) {
            return Err(AuthError::new("a client has one connection"));
        }
        let mut auth = Auth::new();
        match &self.login {
            Login::None => {}
            Login::Password(user, password) => {
                auth.username = Some(user.clone());
                auth.password = Some(password.clone());
            }
            Login::Token(token) => auth.token = Some(token.clone()),
            Login::Credentials(path) => {
                let (jwt, seed) = read(path).ok_or_else(unreadable)?;
                let pair = nkeys::KeyPair::from_seed(&seed).map_err(|_| unreadable())?;
                auth.signature = Some(pair.sign(nonce).map_err(|_| unreadable())?);
                auth.jwt = Some(jwt);
            }
        }
        Ok(auth)
    }
}

fn unreadable() -> AuthError {
    AuthError::new("the file of credentials cannot be read")
}

/// The JWT and the seed of a file of credentials.
fn read(path: &Path) -> Option<(String, String)> {
    let text = std::fs::read_to_string(path).ok()?;
    let behind = |title: &str| {
        let mut lines = text.lines().map(str::trim);
        lines.find(|it| it.starts_with("---") && it.contains(title))?;
        lines.find(|it| !it.is_empty()).map(str::to_owned)
    };
    Some((
        behind("BEGIN NATS USER JWT")?,
        behind("BEGIN USER NKEY SEED")?,
    ))
}

/// Whether the file of credentials, if there is to be one, can be read.
pub(crate) fn are_there(login: &Login) -> bool {
    match login {
        Login::Credentials(path) => read(path).is_some(),
        _ => true,
    }
}
