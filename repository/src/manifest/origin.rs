//! What a volume was to its cluster when a snapshot was made: enough to find it again, and to build it anew.

use prost::Message;

use super::BadRecord;
use crate::limits::{ORIGIN_NAME_BYTES_MAX, ORIGIN_OBJECT_BYTES_MAX, ORIGIN_OBJECTS_MAX};

/// A volume's claim in its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The cluster's uid.
    pub cluster: String,
    /// The claim's namespace.
    pub namespace: String,
    /// That namespace's uid: one that was deleted and made again is another one.
    pub namespace_uid: String,
    /// The claim's name.
    pub claim: String,
    /// The claim's uid.
    pub claim_uid: String,
    /// Objects of the cluster, by what they are (`claim`, `volume`, `class`), as JSON.
    pub objects: Vec<(String, Vec<u8>)>,
}

impl Origin {
    /// Refuses what is larger than any cluster's names and objects.
    pub fn check(&self) -> Result<(), BadRecord> {
        let names = [&self.cluster, &self.namespace, &self.namespace_uid, &self.claim, &self.claim_uid];
        if names.iter().any(|name| name.len() > ORIGIN_NAME_BYTES_MAX) {
            return Err(BadRecord("origin: a name is too long"));
        }
        let large = |(name, data): &(String, Vec<u8>)| {
            name.len() > ORIGIN_NAME_BYTES_MAX || data.len() > ORIGIN_OBJECT_BYTES_MAX
        };
        match self.objects.len() > ORIGIN_OBJECTS_MAX || self.objects.iter().any(large) {
            true => Err(BadRecord("origin: too many or too large objects")),
            false => Ok(()),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireOrigin {
    #[prost(string, tag = "1")]
    cluster: String,
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(string, tag = "3")]
    namespace_uid: String,
    #[prost(string, tag = "4")]
    claim: String,
    #[prost(string, tag = "5")]
    claim_uid: String,
    #[prost(message, repeated, tag = "6")]
    objects: Vec<WireObject>,
}

#[derive(Clone, PartialEq, Message)]
struct WireObject {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
}

impl From<&Origin> for WireOrigin {
    fn from(o: &Origin) -> Self {
        let object = |(name, data): &(String, Vec<u8>)| WireObject { name: name.clone(), data: data.clone() };
        Self {
            cluster: o.cluster.clone(),
            namespace: o.namespace.clone(),
            namespace_uid: o.namespace_uid.clone(),
            claim: o.claim.clone(),
            claim_uid: o.claim_uid.clone(),
            objects: o.objects.iter().map(object).collect(),
        }
    }
}

impl WireOrigin {
    pub(super) fn check(self) -> Result<Origin, BadRecord> {
        let origin = Origin {
            cluster: self.cluster,
            namespace: self.namespace,
            namespace_uid: self.namespace_uid,
            claim: self.claim,
            claim_uid: self.claim_uid,
            objects: self.objects.into_iter().map(|o| (o.name, o.data)).collect(),
        };
        origin.check()?;
        Ok(origin)
    }
}
