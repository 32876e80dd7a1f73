//! Bearer tokens: read from files, compared in constant time, never printed.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use repository::error::Context as _;
use repository::{Error, ErrorKind, Result};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};
use zeroize::Zeroizing;

use crate::reload::{Content, Follow, Reloads, Watched};

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

    /// A file's content without white space around it.
    fn of_content(content: &Content) -> Result<Self> {
        let text = std::str::from_utf8(content).context(ErrorKind::Input, || "token".to_owned())?;
        Self::new(text.trim())
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

/// Adds the token to every call; the newest good one of its file.
#[derive(Clone, Debug, Default)]
pub struct Bearer(Option<Watched<MetadataValue<Ascii>>>);

impl Bearer {
    /// Without a file, calls go out as they are.
    pub fn watch(file: Option<&PathBuf>, reloads: &Reloads) -> Result<Self> {
        let header = |contents: &[Content]| {
            let token = contents.first().map(Token::of_content).transpose()?;
            let token = token.ok_or_else(|| Error::new(ErrorKind::Internal, "no token file"))?;
            let text = Zeroizing::new(format!("Bearer {}", token.0.as_str()));
            let mut value =
                MetadataValue::try_from(text.as_str()).context(ErrorKind::Input, || "token".to_owned())?;
            value.set_sensitive(true);
            Ok(value)
        };
        file.map(|f| Watched::open(vec![f.clone()], reloads, header)).transpose().map(Self)
    }

    /// What follows the file.
    pub fn follow(&self) -> Option<Arc<dyn Follow>> {
        self.0.clone().map(|w| Arc::new(w) as Arc<dyn Follow>)
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", MetadataValue::clone(&value.get()));
        }
        Ok(request)
    }
}

/// Tokens, and what each of them grants.
#[derive(Clone, Debug)]
pub struct Tokens<G>(Vec<(Token, G)>);

impl<G: Clone + Send + Sync + 'static> Tokens<G> {
    /// Reads the files, and follows them. The same token in two files is refused: what would it grant?
    pub fn watch(files: Vec<(PathBuf, G)>, reloads: &Reloads) -> Result<Watched<Self>> {
        let (files, grants): (Vec<_>, Vec<_>) = files.into_iter().unzip();
        let names: Vec<_> = files.iter().map(|f| format!("token file {}", f.display())).collect();
        let make = move |contents: &[Content]| {
            let mut all: Vec<(Token, G)> = Vec::with_capacity(contents.len());
            for ((content, grant), name) in contents.iter().zip(&grants).zip(&names) {
                let token = Token::of_content(content).map_err(|e| e.context(name.clone()))?;
                if all.iter().any(|(t, _)| t.matches(token.0.as_bytes())) {
                    let what = format!("{name} holds the same token as another token file");
                    return Err(Error::new(ErrorKind::Input, what));
                }
                all.push((token, grant.clone()));
            }
            Ok(Self(all))
        };
        Watched::open(files, reloads, make)
    }

    /// What the token of an `authorization` header grants.
    #[must_use]
    pub fn find(&self, header: &[u8]) -> Option<&G> {
        let presented = header.strip_prefix(b"Bearer ").unwrap_or_default();
        // No short cut between tokens either.
        self.0.iter().fold(None, |found, (token, grant)| match token.matches(presented) {
            true => Some(grant),
            false => found,
        })
    }
}

#[cfg(test)]
mod tests;
