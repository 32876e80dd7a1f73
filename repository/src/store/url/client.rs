//! The settings of a cloud's client: the environment's, ours, and those that are the store's own.
//!
//! A store that has credentials of its own never gets one of the environment's, not even one of another kind: a session token or
//! a web identity that stayed behind would win, or be mixed with them. What stays is listed, so that a credential that a later
//! version of the library learns of does not count by accident.

use std::str::FromStr;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as S3Key};
use object_store::azure::{AzureConfigKey as AzureKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey as GcsKey};
use object_store::{Certificate, ClientOptions};

use super::{StoreOptions, no_retry, timeouts};

/// Names and values of the environment.
pub(super) type Variables = Vec<(String, String)>;

/// Those of the process; what is no text can be no setting.
pub(super) fn variables() -> Variables {
    let all = std::env::vars_os();
    all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

pub(super) fn s3(
    options: &StoreOptions,
    variables: &Variables,
) -> Result<AmazonS3Builder, object_store::Error> {
    let mut builder = match options.own_credentials {
        true => kept(variables, "AWS_", s3_keeps).fold(
            AmazonS3Builder::new().with_client_options(with_roots(ClientOptions::new(), options)?),
            |builder, (key, value)| builder.with_config(key, value),
        ),
        false => AmazonS3Builder::from_env(),
    };
    for (key, value) in timeouts("AWS_") {
        builder = builder.with_config(S3Key::Client(key), value);
    }
    // One request for one object: not every provider has the bulk request.
    builder = builder.with_config(S3Key::DisableBulkDelete, "true").with_retry(no_retry());
    for (name, value) in &options.client {
        builder = builder.with_config(name.parse()?, value);
    }
    Ok(builder)
}

pub(super) fn gcs(
    options: &StoreOptions,
    variables: &Variables,
) -> Result<GoogleCloudStorageBuilder, object_store::Error> {
    let mut builder = match options.own_credentials {
        true => kept(variables, "GOOGLE_", gcs_keeps).fold(
            GoogleCloudStorageBuilder::new().with_client_options(with_roots(ClientOptions::new(), options)?),
            |builder, (key, value)| builder.with_config(key, value),
        ),
        false => GoogleCloudStorageBuilder::from_env(),
    };
    builder = builder.with_retry(no_retry());
    for (key, value) in timeouts("GOOGLE_") {
        builder = builder.with_config(GcsKey::Client(key), value);
    }
    for (name, value) in &options.client {
        builder = builder.with_config(name.parse()?, value);
    }
    Ok(builder)
}

pub(super) fn azure(
    options: &StoreOptions,
    variables: &Variables,
) -> Result<MicrosoftAzureBuilder, object_store::Error> {
    let mut builder = match options.own_credentials {
        true => kept(variables, "AZURE_", azure_keeps).fold(
            MicrosoftAzureBuilder::new().with_client_options(with_roots(ClientOptions::new(), options)?),
            |builder, (key, value)| builder.with_config(key, value),
        ),
        false => MicrosoftAzureBuilder::from_env(),
    };
    builder = builder.with_retry(no_retry());
    for (key, value) in timeouts("AZURE_") {
        builder = builder.with_config(AzureKey::Client(key), value);
    }
    for (name, value) in &options.client {
        builder = builder.with_config(name.parse()?, value);
    }
    Ok(builder)
}

/// The CA certificates that the store has of its own.
pub(super) fn with_roots(
    client: ClientOptions,
    options: &StoreOptions,
) -> Result<ClientOptions, object_store::Error> {
    if options.roots.is_empty() {
        return Ok(client);
    }
    let roots = Certificate::from_pem_bundle(&options.roots)?;
    Ok(roots.into_iter().fold(client, ClientOptions::with_root_certificate))
}

/// The variables of a cloud that are no credentials.
fn kept<K: FromStr>(
    variables: &Variables,
    prefix: &'static str,
    keeps: fn(&K) -> bool,
) -> impl Iterator<Item = (K, String)> {
    variables.iter().filter(move |(name, _)| name.starts_with(prefix)).filter_map(move |(name, value)| {
        let key = name.to_ascii_lowercase().parse::<K>().ok()?;
        keeps(&key).then(|| (key, value.clone()))
    })
}

fn s3_keeps(key: &S3Key) -> bool {
    match key {
        S3Key::Region
        | S3Key::DefaultRegion
        | S3Key::Bucket
        | S3Key::Endpoint
        | S3Key::S3Endpoint
        | S3Key::StsEndpoint
        | S3Key::MetadataEndpoint
        | S3Key::ImdsV1Fallback
        | S3Key::VirtualHostedStyleRequest
        | S3Key::UnsignedPayload
        | S3Key::Checksum
        | S3Key::CopyIfNotExists
        | S3Key::ConditionalPut
        | S3Key::DisableTagging
        | S3Key::DisableBulkDelete
        | S3Key::S3Express
        | S3Key::RequestPayer
        | S3Key::Client(_) => true,
        // The library does not export what is in it; all but the customer's key is no secret.
        S3Key::Encryption(_) => "aws_sse_customer_key_base64".parse::<S3Key>().is_ok_and(|k| k != *key),
        _ => false,
    }
}

fn gcs_keeps(key: &GcsKey) -> bool {
    matches!(key, GcsKey::Bucket | GcsKey::BaseUrl | GcsKey::Client(_))
}

fn azure_keeps(key: &AzureKey) -> bool {
    matches!(
        key,
        AzureKey::AccountName
            | AzureKey::AuthorityHost
            | AzureKey::Endpoint
            | AzureKey::UseEmulator
            | AzureKey::UseFabricEndpoint
            | AzureKey::ContainerName
            | AzureKey::DisableTagging
            | AzureKey::Client(_)
    )
}
