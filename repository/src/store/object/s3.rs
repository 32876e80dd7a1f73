//! What `object_store` has no word for: versioning, object lock and retention dates of S3, by presigned requests.

use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use object_store::ClientOptions;
use object_store::aws::AmazonS3;
use object_store::client::{HttpClient, HttpConnector as _, HttpRequest, ReqwestConnector};
use object_store::path::Path;
use object_store::signer::{HeaderName, HeaderValue, Method, SignedUrlOptions, Signer as _};
use tokio::time::timeout;

use super::{Late, answer, classify, time_for};
use crate::env::Timestamp;
use crate::store::locks::{Extended, LockMode, Locks, Protection};
use crate::store::{Key, Op, Put, StoreError, StoreErrorKind, StoreResult};

const DAY_SECONDS: u64 = 24 * 3600;
/// A signature is used at once; clocks may differ a little.
const SIGNED_FOR: std::time::Duration = std::time::Duration::from_secs(3600);

/// Locks of one bucket, below a prefix.
#[derive(Debug)]
pub struct S3Locks {
    s3: AmazonS3,
    http: HttpClient,
    /// Empty, or ends in `/`.
    base: String,
    mode: LockMode,
}

/// One request besides what every object can be asked.
struct Ask<'a> {
    op: Op,
    method: Method,
    /// The object, or empty for the bucket.
    key: &'a str,
    query: &'static [(&'static str, &'static str)],
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl S3Locks {
    /// Of the bucket that `s3` talks to, with connections as `options` say.
    pub fn new(
        s3: AmazonS3,
        options: &ClientOptions,
        prefix: &str,
        mode: LockMode,
    ) -> Result<Self, object_store::Error> {
        let prefix = prefix.trim_matches('/');
        let base = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { s3, http: ReqwestConnector::default().connect(options)?, base, mode })
    }

    /// Sends a request; status and body of whatever was answered.
    async fn send(&self, ask: Ask<'_>) -> StoreResult<(u16, Bytes)> {
        let Ask { op, method, key, query, headers, body } = ask;
        let fatal = |what: &'static str| StoreError::new(StoreErrorKind::Fatal, op, key, what);
        let text = if key.is_empty() { String::new() } else { format!("{}{key}", self.base) };
        let path = Path::parse(text).map_err(|e| fatal("the store can't have this key").caused_by(e))?;
        let mut options = SignedUrlOptions::default().with_query(query.iter().copied());
        let mut request = HttpRequest::new(body.clone().into());
        for (name, value) in headers {
            let value = HeaderValue::try_from(value).map_err(|e| fatal("a header").caused_by(e))?;
            options = options.with_signed_header(HeaderName::from_static(name), value.clone());
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        let signed = self.s3.signed_url_opts(method.clone(), &path, SIGNED_FOR, &options).await;
        let url = signed.map_err(|e| Late::Failed(e).into_error(op, key))?;
        *request.method_mut() = method;
        *request.uri_mut() = url.as_str().parse().map_err(|e| fatal("the address").caused_by(e))?;
        let time = time_for(body.len() as u64);
        let answered = timeout(time, async {
            let response = self.http.execute(request).await?;
            let status = response.status().as_u16();
            Ok::<_, object_store::client::HttpError>((status, response.into_body().bytes().await?))
        });
        match answered.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(e)) => {
                let what = "can't reach the store";
                Err(StoreError::new(StoreErrorKind::Transient, op, key, what).caused_by(e))
            }
            Err(_) => Err(Late::TimedOut(time).into_error(op, key)),
        }
    }

    async fn ask_bucket(&self, query: &'static [(&'static str, &'static str)]) -> StoreResult<(u16, String)> {
        let ask = Ask {
            op: Op::Head,
            method: Method::GET,
            key: "",
            query,
            headers: Vec::new(),
            body: Bytes::new(),
        };
        let (status, body) = self.send(ask).await?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// Any other answer as an error.
fn refused(op: Op, key: &str, status: u16, body: &str) -> StoreError {
    let text = format!("status code: {status}: {body}");
    let (kind, what) = classify(&text, true);
    StoreError::new(kind, op, key, what).caused_by(answer::short(&text))
}

/// Base64 of the bytes' SHA-256: S3 wants a checksum with everything about locks.
fn checksum(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in digest(&SHA256, bytes).as_ref().chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

/// The date as S3 writes it, whole seconds, rounded up: a lock is never shorter than asked for.
fn date_text(until: Timestamp) -> String {
    let seconds = until.seconds() + i64::from(until.subsec_nanos() > 0);
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| "9999-12-31T23:59:59Z".to_owned(), |t| t.to_string())
}

fn parse_date(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_parts(at.as_second(), 0))
}

#[async_trait]
impl Locks for S3Locks {
    async fn protection(&self) -> StoreResult<Protection> {
        let (status, body) = self.ask_bucket(&[("versioning", "")]).await?;
        let versioning = match status {
            200 => answer::element(&body, "Status") == Some("Enabled"),
            400 | 404 | 405 | 501 if answer::code(&body) != Some("NoSuchBucket") => false,
            _ => return Err(refused(Op::Head, "", status, &body)),
        };
        let (status, body) = self.ask_bucket(&[("object-lock", "")]).await?;
        let lock = match status {
            200 => answer::element(&body, "ObjectLockEnabled") == Some("Enabled"),
            400 | 404 | 405 | 501 => false,
            _ => return Err(refused(Op::Head, "", status, &body)),
        };
        let number = |name, days: u64| {
            let n: u64 = answer::element(&body, name)?.parse().ok()?;
            Some(n.saturating_mul(days * DAY_SECONDS))
        };
        let default_seconds = lock.then(|| number("Days", 1).or_else(|| number("Years", 365))).flatten();
        Ok(Protection { versioning, lock, default_seconds })
    }

    async fn put_new_locked(&self, key: &Key, bytes: Bytes, until: Timestamp) -> StoreResult<Put> {
        let headers = vec![
            ("if-none-match", "*".to_owned()),
            ("x-amz-checksum-sha256", checksum(&bytes)),
            ("x-amz-object-lock-mode", self.mode.name().to_owned()),
            ("x-amz-object-lock-retain-until-date", date_text(until)),
        ];
        let (op, method) = (Op::Put, Method::PUT);
        let (status, body) =
            self.send(Ask { op, method, key: key.as_str(), query: &[], headers, body: bytes }).await?;
        match status {
            200 => Ok(Put::Created),
            412 => Ok(Put::AlreadyExists),
            // Another request for the same key is under way: whoever looks again sees what came of it.
            409 => {
                let what = "another request for this key is under way";
                Err(StoreError::new(StoreErrorKind::Transient, op, key, what))
            }
            _ => Err(refused(op, key.as_str(), status, &String::from_utf8_lossy(&body))),
        }
    }

    async fn find_lock(&self, key: &Key) -> StoreResult<Option<Timestamp>> {
        let (op, method) = (Op::Head, Method::GET);
        let query = &[("retention", "")];
        let ask = Ask { op, method, key: key.as_str(), query, headers: Vec::new(), body: Bytes::new() };
        let (status, body) = self.send(ask).await?;
        let body = String::from_utf8_lossy(&body);
        match (status, answer::code(&body)) {
            (200, _) => Ok(answer::element(&body, "RetainUntilDate").and_then(parse_date)),
            (_, Some("NoSuchObjectLockConfiguration")) => Ok(None),
            _ => Err(refused(op, key.as_str(), status, &body)),
        }
    }

    async fn extend_lock(&self, key: &Key, until: Timestamp) -> StoreResult<Extended> {
        let xml = format!(
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>{}</Mode>\
             <RetainUntilDate>{}</RetainUntilDate></Retention>",
            self.mode.name(),
            date_text(until)
        );
        let body = Bytes::from(xml);
        let headers = vec![("x-amz-checksum-sha256", checksum(&body))];
        let (op, method, query) = (Op::Put, Method::PUT, &[("retention", "")]);
        let (status, answer) = self.send(Ask { op, method, key: key.as_str(), query, headers, body }).await?;
        let text = String::from_utf8_lossy(&answer);
        match (status, answer::code(&text)) {
            (200, _) => Ok(Extended::Done),
            (404, code) if code.is_none_or(|c| answer::MISSING.contains(&c)) => Ok(Extended::Gone),
            // A longer lock is refused like missing permissions are: the lock itself tells.
            (403, _) => match self.find_lock(key).await {
                Ok(Some(there)) if there >= until => Ok(Extended::Longer(there)),
                _ => Err(refused(op, key.as_str(), status, &text)),
            },
            _ => Err(refused(op, key.as_str(), status, &text)),
        }
    }
}

/// The part of `AmazonS3Builder`'s settings that says how to connect.
pub(in crate::store) fn connection_of(builder: &object_store::aws::AmazonS3Builder) -> ClientOptions {
    use object_store::ClientConfigKey as Key;
    use object_store::aws::AmazonS3ConfigKey;
    let keys = [
        Key::AllowHttp,
        Key::AllowInvalidCertificates,
        Key::ConnectTimeout,
        Key::Http1Only,
        Key::Http2Only,
        Key::ProxyUrl,
        Key::ProxyCaCertificate,
        Key::ProxyExcludes,
        Key::Timeout,
        Key::UserAgent,
    ];
    keys.into_iter().fold(ClientOptions::new(), |options, key| {
        match builder.get_config_value(&AmazonS3ConfigKey::Client(key)) {
            Some(value) => options.with_config(key, value),
            None => options,
        }
    })
}

/// Locks of a store that is shared.
pub(super) type SharedS3Locks = Arc<S3Locks>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_base64_of_sha256() {
        assert_eq!(checksum(b""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert_eq!(checksum(b"hello"), "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=");
    }

    #[test]
    fn dates_are_whole_seconds_and_never_earlier() {
        let at = Timestamp::from_parts(1_800_000_000, 1);
        assert_eq!(date_text(at), "2027-01-15T08:00:01Z");
        assert_eq!(parse_date("2027-01-15T08:00:01Z"), Some(Timestamp::from_parts(1_800_000_001, 0)));
        assert_eq!(parse_date("2027-01-15T08:00:01.000Z"), Some(Timestamp::from_parts(1_800_000_001, 0)));
        assert_eq!(parse_date("soon"), None);
    }
}
