//! The connection to a coordinator, as agents and the CLI open it.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use proto::convert::HOST_BYTES_MAX;
use proto::{DOMAIN_KEY, LEADER_KEY};
use repository::error::Context as _;
use repository::ids::DomainName;
use repository::{Error, ErrorKind, Result};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};

use crate::reload::{Follow, Reloads, Watched};
use crate::tls::ClientFiles;
use crate::token::Bearer;

/// A connection that presents the token, and says which domain it is about.
pub type Connection = InterceptedService<Channel, Caller>;

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
    /// The domain that calls are about; `None` for the coordinator's only one.
    pub domain: Option<DomainName>,
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

    /// Reads the files, and follows them when somebody looks ([`Dialer::follow`]).
    pub fn open(&self, reloads: &Reloads) -> Result<Dialer> {
        self.check()?;
        let what = || format!("coordinator {}", self.url);
        let tls = self.url.starts_with("https:").then(|| self.tls.watch(reloads)).transpose();
        let tls = tls.map_err(|e| e.context(what()))?;
        let bearer = Bearer::watch(self.token_file.as_ref(), reloads).map_err(|e| e.context(what()))?;
        let caller = Caller::new(bearer, self.domain.as_ref())?;
        Ok(Dialer { url: self.url.clone(), tls, caller, leader: Arc::default() })
    }

    /// A connection by the files as they are now.
    pub fn connect(&self) -> Result<Connection> {
        self.open(&Reloads::default())?.connect()
    }
}

/// Opens connections, each by the newest good certificates and tokens.
#[derive(Clone, Debug)]
pub struct Dialer {
    url: String,
    tls: Option<Watched<ClientConfig>>,
    caller: Caller,
    /// Where a standby said that the leader is; shared by all that were cloned from one.
    leader: Arc<Mutex<Option<(String, u16)>>>,
}

/// Puts what a caller has to say of itself onto every call.
#[derive(Clone, Debug)]
pub struct Caller {
    bearer: Bearer,
    domain: Option<MetadataValue<Ascii>>,
}

impl Caller {
    fn new(bearer: Bearer, domain: Option<&DomainName>) -> Result<Self> {
        let value = |d: &DomainName| MetadataValue::try_from(d.as_str());
        let domain = domain.map(value).transpose();
        Ok(Self { bearer, domain: domain.context(ErrorKind::Input, || "domain".to_owned())? })
    }
}

impl Interceptor for Caller {
    fn call(&mut self, request: Request<()>) -> std::result::Result<Request<()>, Status> {
        let mut request = self.bearer.call(request)?;
        if let Some(domain) = &self.domain {
            request.metadata_mut().insert(DOMAIN_KEY, domain.clone());
        }
        Ok(request)
    }
}

impl Dialer {
    /// The coordinator's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same coordinator, about this domain. The files are followed once for all of them.
    pub fn about(&self, domain: &DomainName) -> Result<Self> {
        Ok(Self { caller: Caller::new(self.caller.bearer.clone(), Some(domain))?, ..self.clone() })
    }

    /// What follows the files.
    #[must_use]
    pub fn follow(&self) -> Vec<Arc<dyn Follow>> {
        let tls = self.tls.clone().map(|w| Arc::new(w) as Arc<dyn Follow>);
        tls.into_iter().chain(self.caller.bearer.follow()).collect()
    }

    fn lock_leader(&self) -> MutexGuard<'_, Option<(String, u16)>> {
        self.leader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over where the leader is, if this refusal is a standby's that knows it: the next connections go there. Whoever is there
    /// needs a certificate for the coordinator's name as before. True if that is another place than the last one.
    pub fn heed(&self, refusal: &Status) -> bool {
        let said = refusal.metadata().get(LEADER_KEY).and_then(|v| v.to_str().ok()).and_then(leader_of);
        let Some(said) = said.filter(|_| refusal.code() == Code::Unavailable) else { return false };
        self.lock_leader().replace(said.clone()) != Some(said)
    }

    /// The next connections go to the coordinator's URL again: where the leader should have been, nobody answered.
    pub fn forget_leader(&self) {
        *self.lock_leader() = None;
    }

    /// A connection that opens at its first call, and again when it was lost.
    pub fn connect(&self) -> Result<Connection> {
        let what = || format!("coordinator {}", self.url);
        // With TLS, tonic sees plaintext: the connector below encrypts.
        let seen = self.url.replacen("https:", "http:", 1);
        let endpoint = Endpoint::from_shared(seen)
            .context(ErrorKind::Input, what)?
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS))
            .http2_keep_alive_interval(Duration::from_secs(KEEPALIVE_SECONDS))
            .keep_alive_timeout(Duration::from_secs(KEEPALIVE_SECONDS))
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        let leader = self.lock_leader().clone();
        let address = || Address::new(&self.url).ok_or_else(|| Error::new(ErrorKind::Input, what()));
        let channel = match (&self.tls, leader) {
            (None, None) => endpoint.connect_lazy(),
            (None, Some(leader)) => {
                let at = address()?.led(leader);
                let connect = move |_| plain(at.clone());
                endpoint.connect_with_connector_lazy(tower::service_fn(connect))
            }
            (Some(tls), leader) => {
                let origin = self.url.parse::<Uri>().context(ErrorKind::Input, what)?;
                let at = address()?;
                let at = leader.map_or(at.clone(), |leader| at.led(leader));
                let tls = tls.clone();
                let connect = move |_| encrypted(at.clone(), tls.get());
                endpoint.origin(origin).connect_with_connector_lazy(tower::service_fn(connect))
            }
        };
        Ok(InterceptedService::new(channel, self.caller.clone()))
    }
}

/// Where to connect, and who must be there.
#[derive(Clone, Debug)]
struct Address {
    host: String,
    port: u16,
    name: ServerName<'static>,
}

impl Address {
    fn new(url: &str) -> Option<Self> {
        let url = url::Url::parse(url).ok()?;
        let host = match url.host()? {
            url::Host::Domain(name) => name.to_owned(),
            url::Host::Ipv4(ip) => ip.to_string(),
            url::Host::Ipv6(ip) => ip.to_string(),
        };
        let name = ServerName::try_from(host.clone()).ok()?;
        Some(Self { host, port: url.port_or_known_default()?, name })
    }

    /// Elsewhere, by the same name.
    fn led(self, (host, port): (String, u16)) -> Self {
        Self { host, port, name: self.name }
    }

    async fn open(&self) -> io::Result<TcpStream> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }
}

/// `host:port`, of a name or an address; an IPv6 address stands in brackets.
fn leader_of(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let good = !bare.is_empty() && bare.len() <= HOST_BYTES_MAX && ServerName::try_from(bare).is_ok();
    let bracketed = bare.len() != host.len() || !bare.contains(':');
    let port = port.parse::<u16>().ok().filter(|p| *p != 0)?;
    (good && bracketed).then(|| (bare.to_owned(), port))
}

async fn plain(at: Address) -> io::Result<TokioIo<TcpStream>> {
    Ok(TokioIo::new(at.open().await?))
}

async fn encrypted(at: Address, config: Arc<ClientConfig>) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    let tcp = at.open().await?;
    let tls = TlsConnector::from(config).connect(at.name, tcp).await?;
    if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(io::Error::other("the server does not speak HTTP/2"));
    }
    Ok(TokioIo::new(tls))
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
