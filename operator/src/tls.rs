//! The coordinator's own CA and certificate: made once, kept in a Secret, renewed in time; agents trust the CA through a ConfigMap.
//!
//! 1. Who comes first makes it (create-if-absent); everybody else takes what is there. Two coordinators never have two CAs.
//! 2. The certificate is made anew long before it ends, with the same CA: agents notice nothing.
//! 3. A new CA is published beside the old one before anything is signed by it alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use repository::env::Timestamp;
use service::tls::ServerFiles;

use crate::limits::{CA_DAYS, CERTIFICATE_DAYS, CERTIFICATE_RENEW_DAYS, REQUEST_SECONDS, TLS_TRIES_MAX};

/// The Secret with CA, certificate and keys.
pub(crate) const SECRET: &str = "holdfast-tls";
/// The ConfigMap with the CA.
pub(crate) const CONFIG_MAP: &str = "holdfast-ca";
/// The Service that the certificate is for.
pub(crate) const SERVICE: &str = "holdfast-coordinator";
/// When the certificate ends, seconds since 1970; of the CA with `ca-` before it.
const ENDS: &str = "holdfast.dev/ends";
const CA_ENDS: &str = "holdfast.dev/ca-ends";
const DAY_SECONDS: i64 = 24 * 3600;

/// The moment, in the type that rcgen has for it and whose crate is no dependency of ours.
macro_rules! at {
    ($seconds:expr) => {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from($seconds).unwrap_or(0))
    };
}

/// CA, certificate and their keys, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    /// What agents trust: the CA, and an older one that is still in use.
    ca: String,
    ca_key: String,
    certificate: String,
    key: String,
    ends: i64,
    ca_ends: i64,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("ends", &self.ends).finish_non_exhaustive()
    }
}

/// What to do about the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    Certificate,
    Ca,
}

impl Pair {
    /// What it needs now.
    pub(crate) fn need(&self, now: Timestamp) -> Need {
        let left = |ends: i64| ends.saturating_sub(now.seconds());
        match () {
            () if left(self.ca_ends) < CERTIFICATE_DAYS * DAY_SECONDS => Need::Ca,
            () if left(self.ends) < CERTIFICATE_RENEW_DAYS * DAY_SECONDS => Need::Certificate,
            () => Need::Nothing,
        }
    }

    /// All of it new; of `old`, the CA is still trusted.
    pub(crate) fn make(namespace: &str, old: Option<&Self>, now: Timestamp) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let ca_ends = now.seconds() + CA_DAYS * DAY_SECONDS;
        let certificate = ca_params(now.seconds(), ca_ends).self_signed(&key)?;
        let mut ca = certificate.pem();
        if let Some(first) = old.and_then(|o| o.ca.split_inclusive("-----END CERTIFICATE-----\n").next()) {
            ca.push_str(first);
        }
        let new = Self {
            ca,
            ca_key: key.serialize_pem(),
            certificate: String::new(),
            key: String::new(),
            ends: 0,
            ca_ends,
        };
        new.renew(namespace, now)
    }

    /// The certificate new, the CA as it is.
    pub(crate) fn renew(&self, namespace: &str, now: Timestamp) -> Result<Self, rcgen::Error> {
        let ca_key = KeyPair::from_pem(&self.ca_key)?;
        let issuer = Issuer::new(ca_params(now.seconds(), self.ca_ends), ca_key);
        let names = vec![
            SERVICE.to_owned(),
            format!("{SERVICE}.{namespace}"),
            format!("{SERVICE}.{namespace}.svc"),
            format!("{SERVICE}.{namespace}.svc.cluster.local"),
            "localhost".to_owned(),
        ];
        let mut params = CertificateParams::new(names)?;
        let ends = (now.seconds() + CERTIFICATE_DAYS * DAY_SECONDS).min(self.ca_ends);
        params.distinguished_name.push(DnType::CommonName, SERVICE);
        // Clocks of nodes differ.
        params.not_before = at!(now.seconds() - DAY_SECONDS);
        params.not_after = at!(ends);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem(), ends, ..self.clone() })
    }

    fn of(secret: &Secret) -> Option<Self> {
        let data = secret.data.as_ref()?;
        let text = |name: &str| String::from_utf8(data.get(name)?.0.clone()).ok().filter(|t| !t.is_empty());
        let ends = |name: &str| secret.metadata.annotations.as_ref()?.get(name)?.parse().ok();
        Some(Self {
            ca: text("ca.crt")?,
            ca_key: text("ca.key")?,
            certificate: text("tls.crt")?,
            key: text("tls.key")?,
            ends: ends(ENDS)?,
            ca_ends: ends(CA_ENDS)?,
        })
    }

    fn to_secret(&self, namespace: &str, resource_version: Option<String>) -> Secret {
        let data = [
            ("ca.crt", &self.ca),
            ("ca.key", &self.ca_key),
            ("tls.crt", &self.certificate),
            ("tls.key", &self.key),
        ];
        let ends = [(ENDS, self.ends), (CA_ENDS, self.ca_ends)];
        Secret {
            metadata: ObjectMeta {
                annotations: Some(ends.into_iter().map(|(k, v)| (k.to_owned(), v.to_string())).collect()),
                resource_version,
                ..metadata(SECRET, namespace)
            },
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(
                data.into_iter().map(|(k, v)| (k.to_owned(), ByteString(v.clone().into_bytes()))).collect(),
            ),
            ..Secret::default()
        }
    }

    /// Writes certificate and key to files, which the listener follows.
    pub(crate) fn write(&self, folder: &Path) -> std::io::Result<ServerFiles> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let put = |name: &str, content: &str| -> std::io::Result<PathBuf> {
            let (path, new) = (folder.join(name), folder.join(format!("{name}.new")));
            std::fs::write(&new, content)?;
            std::fs::rename(&new, &path)?;
            Ok(path)
        };
        // The folder is ours alone.
        let key_file = put("tls.key", &self.key)?;
        Ok(ServerFiles { cert_file: put("tls.crt", &self.certificate)?, key_file, client_ca_file: None })
    }
}

fn metadata(name: &str, namespace: &str) -> ObjectMeta {
    let labels = [("app.kubernetes.io/name", "holdfast"), ("app.kubernetes.io/managed-by", "holdfast")];
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        labels: Some(
            labels.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect::<BTreeMap<_, _>>(),
        ),
        ..ObjectMeta::default()
    }
}

fn ca_params(now: i64, ends: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "holdfast-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = at!(now - DAY_SECONDS);
    params.not_after = at!(ends);
    params
}

/// Takes the certificate from the cluster, or makes it; renews it if it is time. Gives the files for the listener.
pub(crate) async fn ensure(
    client: &Client,
    namespace: &str,
    folder: &Path,
    now: Timestamp,
) -> anyhow::Result<ServerFiles> {
    let limit = Duration::from_secs(REQUEST_SECONDS * u64::from(TLS_TRIES_MAX));
    let pair = tokio::time::timeout(limit, keep(client, namespace, now)).await;
    let pair = pair.context("the API server did not answer")??;
    publish(client, namespace, &pair.ca).await?;
    pair.write(folder).context("write the certificate")
}

async fn keep(client: &Client, namespace: &str, now: Timestamp) -> anyhow::Result<Pair> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    for _try in 0..TLS_TRIES_MAX {
        let there = api.get_opt(SECRET).await.with_context(|| format!("read Secret {namespace}/{SECRET}"))?;
        let old = there.as_ref().and_then(Pair::of);
        let new = match (&old, old.as_ref().map(|p| p.need(now))) {
            (Some(pair), Some(Need::Nothing)) => return Ok(pair.clone()),
            (Some(pair), Some(Need::Certificate)) => pair.renew(namespace, now),
            (old, _) => Pair::make(namespace, old.as_ref(), now),
        };
        let new = new.context("make a certificate")?;
        let put = match &there {
            None => api.create(&PostParams::default(), &new.to_secret(namespace, None)).await,
            Some(secret) => {
                let version = secret.metadata.resource_version.clone();
                api.replace(SECRET, &PostParams::default(), &new.to_secret(namespace, version)).await
            }
        };
        match put {
            Ok(_) => {
                tracing::info!(ends = new.ends, "made a certificate");
                return Ok(new);
            }
            // Somebody else was faster: theirs counts.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(e) => return Err(e).with_context(|| format!("write Secret {namespace}/{SECRET}")),
        }
    }
    anyhow::bail!("Secret {namespace}/{SECRET} changes all the time")
}

async fn publish(client: &Client, namespace: &str, ca: &str) -> anyhow::Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let what = || format!("publish ConfigMap {namespace}/{CONFIG_MAP}");
    for _try in 0..TLS_TRIES_MAX {
        let there = api.get_opt(CONFIG_MAP).await.with_context(what)?;
        let data = BTreeMap::from([("ca.crt".to_owned(), ca.to_owned())]);
        let put = match there {
            Some(map) if map.data.as_ref() == Some(&data) => return Ok(()),
            Some(map) => {
                let new = ConfigMap { data: Some(data), ..map };
                api.replace(CONFIG_MAP, &PostParams::default(), &new).await
            }
            None => {
                let metadata = metadata(CONFIG_MAP, namespace);
                let new = ConfigMap { metadata, data: Some(data), ..ConfigMap::default() };
                api.create(&PostParams::default(), &new).await
            }
        };
        match put {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(e) => return Err(e).with_context(what),
        }
    }
    anyhow::bail!("{}: it changes all the time", what())
}
