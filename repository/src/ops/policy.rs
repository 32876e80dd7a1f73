//! Which requests to a bucket each part of Holdfast needs, as policies that S3 understands. Pure.
//!
//! An agent may create packs, deltas, registrations and outcomes of its domain, and read that domain: nothing that it holds can
//! delete a backup, replace one, forget one or steer a GC run. Where the store knows the condition, it may also not put without
//! saying that nothing is to be replaced.

use serde_json::{Value, json};

use crate::ids::DomainName;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Backs up and restores volumes of one domain.
    Agent,
    /// Forgets, collects, repairs and verifies.
    Coordinator,
    /// Restores and verifies, and changes nothing.
    Reader,
}

/// What a policy is to say.
#[derive(Clone, Debug)]
pub struct PolicyRequest {
    /// Whom it is for.
    pub role: Role,
    /// The bucket.
    pub bucket: String,
    /// The repository's prefix in it; may be empty.
    pub prefix: String,
    /// The domain; `None` for all, which an agent never gets.
    pub domain: Option<DomainName>,
    /// Who is meant, in a bucket's policy; none in one that is attached to a user or role.
    pub principals: Vec<String>,
    /// Conditions, which not every server knows.
    pub conditions: bool,
    /// Locks on objects are put and extended.
    pub locks: bool,
}

/// Kinds that an agent creates.
const AGENT: &str = "pism";
/// Kinds that a coordinator creates, and those that it deletes. Key wraps are an administrator's.
const COORDINATOR: &str = "pixsmfnqag";
const DELETED: &str = "pixsmfnqg";

/// The policy as S3 takes it.
#[must_use]
pub fn s3_policy(request: &PolicyRequest) -> Value {
    let names = Names::of(request);
    let mut statements =
        vec![names.list(request), names.statement("Read", "Allow", &["s3:GetObject"], &names.readable())];
    match request.role {
        Role::Reader => {}
        Role::Agent => {
            statements.push(names.statement("Create", "Allow", &["s3:PutObject"], &names.kinds(AGENT)));
            if request.locks {
                let actions = ["s3:PutObjectRetention"];
                statements.push(names.statement("Lock", "Allow", &actions, &names.kinds("pm")));
            }
        }
        Role::Coordinator => {
            statements.push(names.statement("Create", "Allow", &["s3:PutObject"], &names.kinds(COORDINATOR)));
            statements.push(names.statement("Delete", "Allow", &["s3:DeleteObject"], &names.kinds(DELETED)));
            let bucket = vec![names.bucket.clone()];
            let actions = ["s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration"];
            statements.push(names.statement("Protection", "Allow", &actions, &bucket));
            if request.locks {
                let actions = ["s3:GetObjectRetention", "s3:PutObjectRetention"];
                statements.push(names.statement("Lock", "Allow", &actions, &names.all()));
            }
        }
    }
    let mut never = vec!["s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"];
    if request.role != Role::Coordinator {
        never.push("s3:DeleteObject");
    }
    if request.role == Role::Reader {
        never.push("s3:PutObject");
    }
    statements.push(names.statement("Never", "Deny", &never, &names.all()));
    if request.conditions && request.role != Role::Reader {
        let mut replace = names.statement("NeverReplace", "Deny", &["s3:PutObject"], &names.all());
        replace["Condition"] = json!({"Null": {"s3:if-none-match": "true"}});
        statements.push(replace);
    }
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// The names of resources.
struct Names {
    principals: Vec<String>,
    bucket: String,
    /// `arn:aws:s3:::bucket/prefix/`
    base: String,
    /// A domain, or `*`.
    domain: String,
}

impl Names {
    fn of(request: &PolicyRequest) -> Self {
        let bucket = format!("arn:aws:s3:::{}", request.bucket);
        let prefix = request.prefix.trim_matches('/');
        let base = if prefix.is_empty() { format!("{bucket}/") } else { format!("{bucket}/{prefix}/") };
        let domain = match (&request.domain, request.role) {
            (Some(domain), _) => domain.to_string(),
            (None, Role::Agent) => DomainName::default_domain().to_string(),
            (None, _) => "*".to_owned(),
        };
        Self { principals: request.principals.clone(), bucket, base, domain }
    }

    fn statement(&self, sid: &str, effect: &str, actions: &[&str], resources: &[String]) -> Value {
        let mut out = json!({"Sid": sid, "Effect": effect, "Action": actions, "Resource": resources});
        if !self.principals.is_empty() {
            out["Principal"] = json!({"AWS": self.principals});
        }
        out
    }

    fn list(&self, request: &PolicyRequest) -> Value {
        let mut out = self.statement("List", "Allow", &["s3:ListBucket"], std::slice::from_ref(&self.bucket));
        let prefix = request.prefix.trim_matches('/');
        if request.conditions {
            let below = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
            let all = format!("{below}*");
            let own = format!("{below}{}/*", self.domain);
            let which = if self.domain == "*" { all } else { own };
            out["Condition"] = json!({"StringLike": {"s3:prefix": [which]}});
        }
        out
    }

    /// The objects of these kinds.
    fn kinds(&self, letters: &str) -> Vec<String> {
        letters.chars().map(|letter| format!("{}{}/{letter}/*", self.base, self.domain)).collect()
    }

    fn readable(&self) -> Vec<String> {
        vec![format!("{}repo.json", self.base), format!("{}{}/*", self.base, self.domain)]
    }

    fn all(&self) -> Vec<String> {
        vec![format!("{}*", self.base)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(role: Role) -> PolicyRequest {
        PolicyRequest {
            role,
            bucket: "b".to_owned(),
            prefix: "/pre/".to_owned(),
            domain: None,
            principals: Vec::new(),
            conditions: true,
            locks: false,
        }
    }

    /// Resources of the statement, or none.
    fn resources(policy: &Value, sid: &str) -> Vec<String> {
        let statements = policy["Statement"].as_array().unwrap();
        let found = statements.iter().find(|s| s["Sid"] == sid);
        let list = found.and_then(|s| s["Resource"].as_array().cloned()).unwrap_or_default();
        list.iter().map(|r| r.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn an_agent_creates_in_its_domain_and_nothing_else() {
        let policy = s3_policy(&request(Role::Agent));
        let base = "arn:aws:s3:::b/pre/default";
        let created = ["p", "i", "s", "m"].map(|l| format!("{base}/{l}/*"));
        assert_eq!(resources(&policy, "Create"), created);
        assert_eq!(
            resources(&policy, "Read"),
            ["arn:aws:s3:::b/pre/repo.json".to_owned(), format!("{base}/*")]
        );
        let text = policy.to_string();
        assert!(text.contains(r#"{"Null":{"s3:if-none-match":"true"}}"#), "{text}");
        assert!(resources(&policy, "Delete").is_empty() && !text.contains("Principal"), "{text}");
        let other = PolicyRequest { domain: Some("finance".parse().unwrap()), ..request(Role::Agent) };
        assert!(!s3_policy(&other).to_string().contains("default"));
    }

    #[test]
    fn a_coordinator_deletes_no_keys_and_no_versions() {
        let policy = s3_policy(&PolicyRequest { locks: true, ..request(Role::Coordinator) });
        assert!(resources(&policy, "Delete").iter().all(|r| !r.contains("/k/") && !r.contains("/a/")));
        assert!(resources(&policy, "Create").iter().all(|r| r.starts_with("arn:aws:s3:::b/pre/*/")));
        let never = policy["Statement"].as_array().unwrap().iter().find(|s| s["Sid"] == "Never").unwrap();
        assert!(never["Action"].to_string().contains("DeleteObjectVersion"), "{policy}");
        assert!(!never["Action"].to_string().contains("\"s3:DeleteObject\""), "{policy}");
        assert!(policy.to_string().contains("PutObjectRetention"));
    }

    #[test]
    fn a_reader_reads() {
        let named = PolicyRequest {
            principals: vec!["reader".to_owned()],
            conditions: false,
            ..request(Role::Reader)
        };
        let policy = s3_policy(&PolicyRequest { prefix: String::new(), ..named });
        assert_eq!(resources(&policy, "Read"), ["arn:aws:s3:::b/repo.json", "arn:aws:s3:::b/*/*"]);
        let text = policy.to_string();
        assert!(!text.contains("Condition") && text.contains(r#""Principal":{"AWS":["reader"]}"#), "{text}");
        assert!(resources(&policy, "Create").is_empty());
    }
}
