//! One coordinator and one agent with two domains, as real processes: equal content in both, and nothing in common.

use std::path::PathBuf;

use serde_json::Value;
use tests::s3::S3Server;

use crate::data::{assert_same, tree};
use crate::process::{Holdfast, Ran, Running, eventually};

const MIB: usize = 1 << 20;

/// A folder with a repository of the domains `a` and `b`, its coordinator, and what tests ask of it.
struct Two {
    folder: tempfile::TempDir,
    address: String,
    coordinator: Option<Running>,
}

impl Two {
    /// Only `token-a`, `token-b` and `token-ops` open anything, each its own; the last opens both.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let this = Self { folder, address: "127.0.0.1:0".to_owned(), coordinator: None };
        let holdfast = this.holdfast();
        holdfast.run(&["init", "--repo", &this.repo(), "--domain", "a", "--key-file", "key-a"]).ok();
        holdfast.run(&["domain", "add", "b", "--repo", &this.repo(), "--key-file", "key-b"]).ok();
        for name in ["a", "b", "ops"] {
            std::fs::write(this.path(&format!("token-{name}")), format!("{name}-0123456789abcdef")).unwrap();
            // The same bytes in both.
            if name != "ops" {
                tree(&this.path(name), 4 * MIB, 1);
                std::fs::create_dir_all(this.path("out").join(name)).unwrap();
            }
        }
        let tokens = "tokens:\n- {file: token-a, clients: write, domains: [a]}\n\
                      - {file: token-b, clients: write, domains: [b]}\n\
                      - {file: token-ops, clients: write, agents: ['*']}\n";
        let domains = "domains:\n- {name: a, key_file: key-a}\n- {name: b, key_file: key-b}\n";
        std::fs::write(this.path("coordinator.yaml"), format!("{tokens}{domains}")).unwrap();
        this.start_coordinator()
    }

    fn start_coordinator(mut self) -> Self {
        let repo = self.repo();
        let words = ["coordinator", "--config", "coordinator.yaml", "--repo", &repo, "--state-dir", "state"];
        let times = ["--heartbeat-seconds", "1", "--refresh-seconds", "1", "--http-listen", "127.0.0.1:0"];
        let listen = ["--listen", &self.address];
        let mut coordinator = self.holdfast().start(&[&words[..], &times, &listen].concat());
        self.address = coordinator.grpc();
        self.coordinator = Some(coordinator);
        self
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn holdfast(&self) -> Holdfast {
        Holdfast::new(self.folder.path())
    }

    fn repo(&self) -> String {
        format!("file://{}", self.folder.path().join("repo").display())
    }

    /// With each folder as the volume `v` of the domain of its name.
    fn agent(&self) -> Running {
        let one = |name: &str| {
            let (path, out) = (self.path(name), self.path("out").join(name));
            (
                format!("- {{name: {name}, key_file: key-{name}, restore_roots: [{}]}}\n", out.display()),
                format!("- {{path: {}, name: v, domain: {name}}}\n", path.display()),
            )
        };
        let ((a, volume_a), (b, volume_b)) = (one("a"), one("b"));
        let yaml = format!("domains:\n{a}{b}volumes:\n{volume_a}{volume_b}");
        std::fs::write(self.path("agent.yaml"), yaml).unwrap();
        let (url, repo) = (self.url(), self.repo());
        let words = ["agent", "--config", "agent.yaml", "--repo", &repo, "--coordinator", &url];
        let own = ["--token-file", "token-ops", "--agent-id", "one", "--state-dir", "agent-state"];
        let more =
            ["--http-listen", "127.0.0.1:0", "--reconnect-seconds-max", "1", "--cache-dir", "agent-cache"];
        self.holdfast().start(&[&words[..], &own, &more].concat())
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client with this token.
    fn run(&self, token: &str, words: &[&str]) -> Ran {
        let url = self.url();
        self.holdfast().run(&[words, &["--coordinator", &url, "--token-file", token]].concat())
    }

    #[track_caller]
    fn json(&self, domain: &str, words: &[&str]) -> Value {
        let more = ["--domain", domain, "--output", "json"];
        serde_json::from_str(&self.run("token-ops", &[words, &more].concat()).ok()).unwrap()
    }

    /// Waits until the agent has brought the domain's volume.
    fn wait_agent(&self, domain: &str) {
        eventually(&format!("a backup in domain {domain}"), || {
            let words = ["backup", domain, "--volume", "v", "--domain", domain];
            self.run("token-ops", &words).code == Some(0)
        });
    }

    /// A client on the bucket alone.
    #[track_caller]
    fn on_bucket(&self, domain: &str, words: &[&str]) -> Value {
        let (repo, key) = (self.repo(), format!("key-{domain}"));
        self.holdfast().json(&[words, &["--repo", &repo, "--domain", domain, "--key-file", &key]].concat())
    }

    /// Bytes of packs in the store.
    fn packs_bytes(&self, domain: &str) -> u64 {
        let mut folders = vec![self.path("repo").join(domain).join("p")];
        let mut bytes = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false => bytes += entry.metadata().unwrap().len(),
                }
            }
        }
        bytes
    }
}

fn ids_of(listed: &Value) -> Vec<&str> {
    listed.as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect()
}

#[test]
fn equal_content_of_two_domains_has_nothing_in_common() {
    let two = Two::new();
    let _agent = two.agent();
    for domain in ["a", "b"] {
        two.wait_agent(domain);
    }
    let size = 4 * MIB as u64;
    for domain in ["a", "b"] {
        // All of it is stored twice; the second backup of each finds it.
        let bytes = two.packs_bytes(domain);
        assert!((size..2 * size).contains(&bytes), "{domain}: {bytes} bytes of packs");
        let again = two.json(domain, &["backup", domain, "--volume", "v"]);
        assert!(again[0]["figures"]["bytes_uploaded"].as_u64().unwrap() < size / 4, "{again}");
        let listed = two.json(domain, &["snapshots"]);
        let last = listed.as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["id"], again[0]["id"]);
        assert_eq!(ids_of(&listed), ids_of(&two.on_bucket(domain, &["snapshots"])));
        assert!(two.on_bucket(domain, &["verify"]).as_array().unwrap().iter().all(|v| v["ok"] == true));
        let out = two.path("out").join(domain).join("back");
        two.run("token-ops", &["restore", "latest", out.to_str().unwrap(), "--domain", domain]).ok();
        assert_same(&two.path(domain), &out);
    }
    let ids = |domain: &str| two.json(domain, &["snapshots"]).as_array().unwrap().clone();
    let (a, b) = (ids("a"), ids("b"));
    assert!(a.iter().all(|s| b.iter().all(|t| s["id"] != t["id"])));
    // What one restored is out of the other's reach.
    let out = two.path("out/b/taken");
    let out = out.to_str().unwrap();
    two.run("token-ops", &["restore", "latest", out, "--domain", "a"]).failed(1, "restore roots");
    // Caches lie apart.
    let caches = std::fs::read_dir(two.path("agent-cache")).unwrap().next().unwrap().unwrap().path();
    assert!(caches.join("a").is_dir() && caches.join("b").is_dir());

    // Maintenance of one leaves the other alone.
    let newest = |domain: &str| ids(domain).last().unwrap()["id"].as_str().unwrap().to_owned();
    let (kept, before) = (newest("a"), two.packs_bytes("b"));
    let forgotten = two.json("a", &["forget", "--keep-last", "1", "--max-share", "100"]);
    assert!(forgotten.as_array().is_some_and(|all| all.len() == a.len()), "{forgotten}");
    two.run("token-ops", &["gc", "--domain", "a"]).ok();
    two.run("token-ops", &["gc", "--domain", "b"]).ok();
    assert_eq!((ids("a").len(), newest("a")), (1, kept));
    assert_eq!((ids("b").len(), two.packs_bytes("b")), (b.len(), before));
    for domain in ["a", "b"] {
        assert_eq!(two.json(domain, &["verify", "latest"])[0]["ok"], true);
    }
}

#[test]
fn a_token_of_one_domain_opens_nothing_of_the_other() {
    let two = Two::new();
    let _agent = two.agent();
    two.wait_agent("b");
    let id = two.json("b", &["snapshots"])[0]["id"].as_str().unwrap().to_owned();
    let out = two.path("out/a/x");
    let out = out.to_str().unwrap();
    let calls: [&[&str]; 8] = [
        &["snapshots"],
        &["ls", &id],
        &["cat", "latest:sub/a.txt"],
        &["restore", &id, out],
        &["backup", "b", "--volume", "v"],
        &["verify", &id],
        &["gc"],
        &["maintenance"],
    ];
    for words in calls {
        let there = two.run("token-a", &[words, &["--domain", "b"]].concat());
        let nowhere = two.run("token-a", &[words, &["--domain", "x"]].concat());
        there.failed(1, "no domain \"b\"; known are: a");
        assert_eq!(there.stderr.replace("\"b\"", "\"x\""), nowhere.stderr, "{words:?}");
        assert_eq!((there.code, there.stdout), (nowhere.code, nowhere.stdout), "{words:?}");
        // Its own domain needs no name, and knows nothing of the other's snapshot.
        if words.contains(&id.as_str()) {
            two.run("token-a", words).failed(1, "no snapshot");
        }
    }
    // Who may use both is asked which.
    two.run("token-ops", &["snapshots"]).failed(2, "name one (--domain) of a, b");
    let named = two.holdfast().with([("HOLDFAST_DOMAIN", "b")]);
    let url = two.url();
    named.run(&["snapshots", "--coordinator", &url, "--token-file", "token-ops"]).ok();
}

#[test]
fn a_wrong_key_of_one_domain_and_a_restart_leave_the_other_at_work() {
    let mut two = Two::new();
    let good = std::fs::read(two.path("key-b")).unwrap();
    let agent = two.agent();
    two.wait_agent("a");
    two.wait_agent("b");
    let before = (two.json("a", &["snapshots"]), two.json("b", &["snapshots"]));
    drop(agent);
    two.coordinator = None;
    std::fs::copy(two.path("key-a"), two.path("key-b")).unwrap();
    let two = two.start_coordinator();
    let mut agent = two.agent();
    two.wait_agent("a");
    assert_eq!(
        two.json("a", &["snapshots"]).as_array().unwrap().len(),
        before.0.as_array().unwrap().len() + 1
    );
    two.run("token-b", &["snapshots"]).failed(4, "domain b is not open");
    agent.says("domain can't be opened");
    // With the right key again it comes back by itself, with what it had.
    std::fs::write(two.path("key-b"), good).unwrap();
    two.wait_agent("b");
    let after = two.json("b", &["snapshots"]);
    assert_eq!(after[0], before.1[0]);
    assert!(
        two.path("state/domains/a/coordinator.db").exists()
            && two.path("state/domains/b/coordinator.db").exists()
    );
}

#[test]
fn a_domain_may_have_a_user_of_the_store_for_itself() {
    let home = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.block_on(S3Server::start(&home.path().join("s3"))).unwrap();
    let repo = ["--repo", "s3://holdfast/repo"];
    let admin = Holdfast::new(home.path()).with(server.environment());
    admin.run(&[&["init", "--domain", "a", "--key-file", "key-a"], &repo[..]].concat()).ok();
    admin.run(&[&["domain", "add", "b", "--key-file", "key-b"], &repo[..]].concat()).ok();
    let settings: Vec<String> =
        server.environment().into_iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    std::fs::write(home.path().join("user-a"), settings.concat()).unwrap();
    tree(&home.path().join("data"), MIB, 1);
    // What the environment says opens nothing.
    let holdfast = admin.with([("AWS_SECRET_ACCESS_KEY", "another-secret")]);
    let domains =
        "domains:\n- {name: a, key_file: key-a, credentials_file: user-a}\n- {name: b, key_file: key-b}\n";
    std::fs::write(home.path().join("coordinator.yaml"), domains).unwrap();
    let volumes =
        format!("volumes:\n- {{path: {}, name: v, domain: a}}\n", home.path().join("data").display());
    std::fs::write(home.path().join("agent.yaml"), format!("{domains}{volumes}")).unwrap();
    let words = ["coordinator", "--config", "coordinator.yaml", "--state-dir", "state"];
    let more = ["--http-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let mut coordinator = holdfast.start(&[&words[..], &more, &repo].concat());
    let url = format!("http://{}", coordinator.grpc());
    let words = ["agent", "--config", "agent.yaml", "--state-dir", "agent-state", "--coordinator", &url];
    let _agent = holdfast.start(&[&words[..], &["--http-listen", "127.0.0.1:0"], &repo].concat());
    eventually("a backup by the domain's own user", || {
        let words = ["backup", "data", "--volume", "v", "--domain", "a", "--coordinator", &url];
        holdfast.run(&words).code == Some(0)
    });
    let other = holdfast.run(&["snapshots", "--domain", "b", "--coordinator", &url]);
    assert!(other.stderr.contains("domain b is not open"), "{}", other.stderr);
}
