//! Bearer tokens: read from files, compared in constant time, never printed.

use std::fmt;
use std::path::Path;

use repository::error::Context as _;
use repository::{Error, ErrorKind, Result};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};
use zeroize::Zeroizing;

/// A shorter token could be guessed.
pub const TOKEN_BYTES_MIN: usize = 16;

/// A secret that callers present.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// Printable ASCII of at least [`TOKEN_BYTES_MIN`] characters.
    pub fn new(text: &str) -> Result<Self> {
        let good = text.len() >= TOKEN_BYTES_MIN && text.bytes().all(|b| b.is_ascii_graphic());
        let why = format!("a token needs at least {TOKEN_BYTES_MIN} printable characters");
        if good { Ok(Self(Zeroizing::new(text.to_owned()))) } else { Err(Error::new(ErrorKind::Input, why)) }
    }

    /// The file's content without white space around it.
    pub fn read(path: &Path) -> Result<Self> {
        let name = || format!("token file {}", path.display());
        let text = Zeroizing::new(std::fs::read_to_string(path).context(ErrorKind::Input, name)?);
        Self::new(text.trim()).map_err(|e| e.context(name()))
    }

    /// Takes the same time wherever the first difference is.
    #[must_use]
    pub fn matches(&self, presented: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let mut differ = u8::from(own.len() != presented.len());
        for (i, b) in own.iter().enumerate() {
            differ |= b ^ presented.get(i).copied().unwrap_or(!b);
            differ = std::hint::black_box(differ);
        }
        differ == 0
    }
}

/// Adds the token to every call.
#[derive(Clone, Debug, Default)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    /// Without a token, calls go out as they are.
    pub fn new(token: Option<&Token>) -> Result<Self> {
        let value = |t: &Token| {
            let mut value = MetadataValue::try_from(format!("Bearer {}", t.0.as_str()))
                .context(ErrorKind::Input, || "token".to_owned())?;
            value.set_sensitive(true);
            Ok(value)
        };
        token.map(value).transpose().map(Self)
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// Lets only calls with one of the tokens in; without tokens, every call.
#[derive(Clone, Debug, Default)]
pub struct Guard(Vec<Token>);

impl Guard {
    /// Any of these opens.
    #[must_use]
    pub fn new(tokens: Vec<Token>) -> Self {
        Self(tokens)
    }
}

impl Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        if self.0.is_empty() {
            return Ok(request);
        }
        let header =
            request.metadata().get("authorization").map(|v| v.as_encoded_bytes()).unwrap_or_default();
        let presented = header.strip_prefix(b"Bearer ").unwrap_or_default();
        // No short cut between tokens either.
        let open = self.0.iter().fold(false, |open, t| t.matches(presented) | open);
        if open { Ok(request) } else { Err(Status::unauthenticated("missing or wrong bearer token")) }
    }
}

#[cfg(test)]
mod tests;
