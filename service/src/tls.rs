//! TLS from PEM files, for both ends, which follow their files. One provider: aws-lc-rs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use repository::error::Context as _;
use repository::{Error, ErrorKind, Result};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::reload::{Content, Reloads, Watched};

/// HTTP/2 is all that gRPC speaks.
const ALPN: &[u8] = b"h2";

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

/// A certificate with more names than this has no more of them.
const NAMES_MAX: usize = 64;

/// The names in a certificate: of hosts and URIs (SPIFFE), as [`lower_name`] has them. None in one that makes no sense.
pub(crate) fn names_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return Vec::new() };
    let all = certificate.valid_dns_names().chain(certificate.valid_uri_names());
    all.take(NAMES_MAX).map(lower_name).collect()
}

/// A name as it is compared: in lower case where case does not count, that is a host's name, and scheme and authority of a
/// URI. The rest of a URI stays: paths that differ in case are different names.
#[must_use]
pub fn lower_name(name: &str) -> String {
    let end = match name.split_once(':') {
        Some((scheme, rest)) => match rest.strip_prefix("//") {
            Some(rest) => scheme.len() + 3 + rest.find(['/', '?', '#']).unwrap_or(rest.len()),
            None => scheme.len(),
        },
        None => name.find('/').unwrap_or(name.len()),
    };
    let (folded, rest) = name.split_at(end);
    folded.to_ascii_lowercase() + rest
}

/// Makes aws-lc-rs the process' provider; doing it twice is no error.
pub fn install_provider() {
    let _already = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

impl ServerFiles {
    /// Reads the files, and follows them: a handshake uses the newest good ones.
    pub fn watch(&self, reloads: &Reloads) -> Result<Watched<ServerConfig>> {
        let files = [Some(&self.cert_file), Some(&self.key_file), self.client_ca_file.as_ref()];
        let files: Vec<PathBuf> = files.into_iter().flatten().cloned().collect();
        Watched::open(files.clone(), reloads, move |contents| server(&pems(&files, contents)))
    }
}

impl ClientFiles {
    /// Reads the files, and follows them: a new connection uses the newest good ones. Without a CA no server could be
    /// trusted, so that is refused.
    pub fn watch(&self, reloads: &Reloads) -> Result<Watched<ClientConfig>> {
        let input = |what: &str| Error::new(ErrorKind::Input, what);
        let ca = self.ca_file.as_ref().ok_or_else(|| input("https needs tls_ca_file: the CA to trust"))?;
        let files = match (&self.cert_file, &self.key_file) {
            (Some(cert), Some(key)) => vec![ca.clone(), cert.clone(), key.clone()],
            (None, None) => vec![ca.clone()],
            _ => return Err(input("tls_cert_file and tls_key_file go together")),
        };
        Watched::open(files.clone(), reloads, move |contents| client(&pems(&files, contents)))
    }
}

/// A file and what is in it: what makes no sense is told by the file's name.
#[derive(Clone, Copy)]
struct Pem<'a> {
    file: &'a Path,
    content: &'a Content,
}

impl Pem<'_> {
    fn named(self, what: &str) -> impl FnOnce() -> String {
        move || format!("{what} in {}", self.file.display())
    }
}

fn pems<'a>(files: &'a [PathBuf], contents: &'a [Content]) -> Vec<Pem<'a>> {
    files.iter().zip(contents).map(|(file, content)| Pem { file, content }).collect()
}

/// Certificate, key, and maybe the CA of clients.
fn server(pems: &[Pem<'_>]) -> Result<ServerConfig> {
    let [cert, key, ca @ ..] = pems else { return Err(too_few()) };
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.context(ErrorKind::Internal, || "TLS versions".to_owned())?;
    let builder = match ca.first().copied() {
        Some(ca) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider());
            let verifier = verifier.build().context(ErrorKind::Input, ca.named("CA of clients"))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    // This also refuses a key that does not belong to the certificate.
    let config = builder.with_single_cert(certificates(*cert)?, private_key(*key)?);
    let mut config = config.context(ErrorKind::Input, cert.named("TLS certificate and key"))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// The CA, and maybe an own certificate and key.
fn client(pems: &[Pem<'_>]) -> Result<ClientConfig> {
    let [ca, own @ ..] = pems else { return Err(too_few()) };
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.context(ErrorKind::Internal, || "TLS versions".to_owned())?;
    let builder = builder.with_root_certificates(roots(*ca)?);
    let mut config = match own {
        [cert, key] => builder
            .with_client_auth_cert(certificates(*cert)?, private_key(*key)?)
            .context(ErrorKind::Input, cert.named("TLS certificate and key"))?,
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

fn too_few() -> Error {
    Error::new(ErrorKind::Internal, "too few TLS files")
}

fn roots(pem: Pem<'_>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).context(ErrorKind::Input, pem.named("CA certificate"))?;
    }
    Ok(roots)
}

fn certificates(pem: Pem<'_>) -> Result<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem.content)
        .collect::<Result<_, _>>()
        .context(ErrorKind::Input, pem.named("PEM certificates"))?;
    if all.is_empty() {
        return Err(Error::new(ErrorKind::Input, format!("no certificate in {}", pem.file.display())));
    }
    Ok(all)
}

fn private_key(pem: Pem<'_>) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem.content).context(ErrorKind::Input, pem.named("PEM private key"))
}

#[cfg(test)]
mod tests;
