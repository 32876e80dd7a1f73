//! Signed requests to an S3 server besides those of the engine: what an administrator does to a bucket.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use object_store::ClientOptions;
use object_store::aws::AmazonS3Builder;
use object_store::client::{HttpConnector as _, HttpRequest, ReqwestConnector};
use object_store::path::Path;
use object_store::signer::{HeaderName, HeaderValue, Method, SignedUrlOptions, Signer as _};

const SIGNED_FOR: Duration = Duration::from_secs(600);

/// One request: an object of the bucket or, with an empty key, the bucket itself.
#[derive(Clone, Debug, Default)]
pub struct Signed<'a> {
    /// `GET`, `PUT` or `DELETE`.
    pub method: &'static str,
    /// The object.
    pub key: &'a str,
    /// Parameters.
    pub query: Vec<(&'a str, &'a str)>,
    /// Headers, also signed.
    pub headers: Vec<(&'static str, &'a str)>,
    /// What is sent.
    pub body: String,
}

/// Sends it to the bucket that `options` name by endpoint and `bucket`; status and body of the answer.
pub async fn send(
    options: &BTreeMap<String, String>,
    bucket: &str,
    request: Signed<'_>,
) -> io::Result<(u16, String)> {
    let mut builder = AmazonS3Builder::new().with_bucket_name(bucket);
    for (name, value) in options {
        builder = builder.with_config(name.parse().map_err(io::Error::other)?, value);
    }
    let s3 = builder.build().map_err(io::Error::other)?;
    let mut signed = SignedUrlOptions::default().with_query(request.query);
    let mut message = HttpRequest::new(request.body.into());
    for (name, value) in request.headers {
        let value = HeaderValue::from_str(value).map_err(io::Error::other)?;
        signed = signed.with_signed_header(HeaderName::from_static(name), value.clone());
        message.headers_mut().insert(HeaderName::from_static(name), value);
    }
    let method = match request.method {
        "PUT" => Method::PUT,
        "DELETE" => Method::DELETE,
        _ => Method::GET,
    };
    let path = Path::from(request.key);
    let url =
        s3.signed_url_opts(method.clone(), &path, SIGNED_FOR, &signed).await.map_err(io::Error::other)?;
    *message.method_mut() = method;
    *message.uri_mut() = url.as_str().parse().map_err(io::Error::other)?;
    let http = ReqwestConnector::default().connect(&ClientOptions::new().with_allow_http(true));
    let answer = http.map_err(io::Error::other)?.execute(message).await.map_err(io::Error::other)?;
    let status = answer.status().as_u16();
    let body = answer.into_body().bytes().await.map_err(io::Error::other)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
