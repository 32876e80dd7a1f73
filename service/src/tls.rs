//! TLS from PEM files, for both ends. One provider: aws-lc-rs.

use std::path::{Path, PathBuf};

use repository::error::Context as _;
use repository::{Error, ErrorKind, Result};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// A server's certificate and key, and the CA that clients must be signed by (mutual TLS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// Certificate chain.
    pub cert_file: PathBuf,
    /// Private key.
    pub key_file: PathBuf,
    /// Clients without a certificate of this CA are refused.
    pub client_ca_file: Option<PathBuf>,
}

/// The CA that a client trusts, and its own certificate for mutual TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// CA of the server.
    pub ca_file: Option<PathBuf>,
    /// Own certificate chain.
    pub cert_file: Option<PathBuf>,
    /// Own private key.
    pub key_file: Option<PathBuf>,
}

/// Makes aws-lc-rs the process' provider; doing it twice is no error.
pub fn install_provider() {
    let _already = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

impl ServerFiles {
    /// Reads the files.
    pub fn load(&self) -> Result<ServerTlsConfig> {
        let config = ServerTlsConfig::new().identity(identity(&self.cert_file, &self.key_file)?);
        let Some(ca) = &self.client_ca_file else { return Ok(config) };
        Ok(config.client_ca_root(Certificate::from_pem(read(ca)?)))
    }
}

impl ClientFiles {
    /// Reads the files. Without a CA no server could be trusted, so that is refused.
    pub fn load(&self) -> Result<ClientTlsConfig> {
        let ca = self.ca_file.as_ref();
        let ca =
            ca.ok_or_else(|| Error::new(ErrorKind::Input, "https needs tls_ca_file: the CA to trust"))?;
        let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
        match (&self.cert_file, &self.key_file) {
            (Some(cert), Some(key)) => Ok(config.identity(identity(cert, key)?)),
            (None, None) => Ok(config),
            _ => Err(Error::new(ErrorKind::Input, "tls_cert_file and tls_key_file go together")),
        }
    }
}

fn identity(cert: &Path, key: &Path) -> Result<Identity> {
    Ok(Identity::from_pem(read(cert)?, read(key)?))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).context(ErrorKind::Input, || format!("TLS file {}", path.display()))
}
