//! The connection to a coordinator, as agents and the CLI open it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use repository::error::Context as _;
use repository::{Error, ErrorKind, Result};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use crate::tls::ClientFiles;
use crate::token::{Bearer, Token};

/// A connection that presents the token.
pub type Connection = InterceptedService<Channel, Bearer>;

/// How long connecting may take.
const CONNECT_SECONDS: u64 = 10;
/// A dead connection is noticed after about this long, twice.
const KEEPALIVE_SECONDS: u64 = 20;

/// Where the coordinator is, and how to be let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// `http://host:port` or `https://host:port`.
    pub url: String,
    /// The bearer token.
    pub token_file: Option<PathBuf>,
    /// TLS files, for `https`.
    pub tls: ClientFiles,
    /// `http` also to other machines: token and data can then be read on the way.
    pub allow_plaintext: bool,
}

impl Target {
    /// What is wrong with it, without opening any file.
    pub fn check(&self) -> Result<()> {
        let wrong = |why: &str| Err(Error::new(ErrorKind::Input, format!("coordinator {}: {why}", self.url)));
        let Ok(url) = url::Url::parse(&self.url) else { return wrong("not a URL") };
        if url.host_str().is_none_or(str::is_empty) {
            return wrong("no host in the URL");
        }
        match url.scheme() {
            "https" => Ok(()),
            "http" if self.allow_plaintext || is_loopback(&url) => Ok(()),
            "http" => wrong("plaintext to another machine is refused; use https, or set allow_plaintext"),
            _ => wrong("the URL must begin with http:// or https://"),
        }
    }

    /// A connection that opens at its first call, and again when it was lost.
    pub fn connect(&self) -> Result<Connection> {
        self.check()?;
        let what = || format!("coordinator {}", self.url);
        let mut endpoint = Endpoint::from_shared(self.url.clone())
            .context(ErrorKind::Input, what)?
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS))
            .http2_keep_alive_interval(Duration::from_secs(KEEPALIVE_SECONDS))
            .keep_alive_timeout(Duration::from_secs(KEEPALIVE_SECONDS))
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        if self.url.starts_with("https:") {
            endpoint = endpoint.tls_config(self.tls.load()?).context(ErrorKind::Input, what)?;
        }
        let token = self.token_file.as_deref().map(Token::read).transpose()?;
        Ok(InterceptedService::new(endpoint.connect_lazy(), Bearer::new(token.as_ref())?))
    }
}

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(url::Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests;
