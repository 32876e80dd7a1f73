//! Who is let in, through the command line: TLS, mutual TLS and tokens, and plaintext that is refused.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

use crate::data::tree;
use crate::process::{Holdfast, Ran, Running};

/// An authority that issues certificates into a folder.
struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(folder: PathBuf) -> Self {
        std::fs::create_dir(&folder).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        std::fs::write(folder.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    /// Writes `NAME.pem` and `NAME.key`; valid until this year.
    fn issue(&self, name: &str, until: i32) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(until, 1, 1));
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        std::fs::write(self.folder.join(format!("{name}.pem")), cert).unwrap();
        std::fs::write(self.folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// A folder with a repository, two authorities and tokens.
struct Site {
    home: tempfile::TempDir,
    repo: String,
}

const FUTURE: i32 = 2200;
const PAST: i32 = 2002;

impl Site {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let own = Authority::new(home.path().join("own"));
        own.issue("server", FUTURE);
        own.issue("client", FUTURE);
        own.issue("agent", FUTURE);
        own.issue("expired", PAST);
        Authority::new(home.path().join("foreign")).issue("client", FUTURE);
        for name in ["agent", "client", "wrong"] {
            std::fs::write(home.path().join(format!("{name}.token")), format!("{name}-0123456789abcdef\n"))
                .unwrap();
        }
        tree(&home.path().join("data"), 1000, 1);
        let repo = format!("file://{}", home.path().join("repo").display());
        let site = Self { home, repo };
        site.holdfast().run(&["init", "--repo", &site.repo, "--key-file", "key"]).ok();
        site
    }

    fn holdfast(&self) -> Holdfast {
        Holdfast::new(self.home.path())
    }

    /// Starts a coordinator with this certificate; its URL.
    fn coordinator(&self, certificate: &str, more: &[&str]) -> (Running, String) {
        let (cert, key) = (format!("own/{certificate}.pem"), format!("own/{certificate}.key"));
        let words = ["coordinator", "--repo", &self.repo, "--key-file", "key", "--state-dir", "c"];
        let listen = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];
        let tls = ["--tls-cert-file", &cert, "--tls-key-file", &key];
        let mut running = self.holdfast().start(&[&words[..], &listen, &tls, more].concat());
        let port = running.grpc().rsplit(':').next().unwrap().to_owned();
        (running, format!("https://localhost:{port}"))
    }
}

/// A client's failure: told on one line, quickly, without a panic or a half list.
#[track_caller]
fn refused(ran: &Ran, text: &str) {
    assert!(ran.code.is_some_and(|code| code != 0 && code < 100), "{ran:?}");
    assert!(ran.stderr.to_lowercase().contains(text), "{text:?} is not in: {}", ran.stderr);
    assert!(ran.stdout.is_empty(), "{ran:?}");
    assert!(ran.stderr.lines().filter(|line| line.starts_with("holdfast:")).count() == 1, "{}", ran.stderr);
}

#[test]
fn tokens_let_in_who_has_the_right_one() {
    let site = Site::new();
    let (_coordinator, url) = site
        .coordinator("server", &["--agent-token-file", "agent.token", "--client-token-file", "client.token"]);
    let ask = |more: &[&str]| site.holdfast().run(&[&["snapshots", "--coordinator", &url], more].concat());
    let ca = ["--tls-ca-file", "own/ca.pem"];
    let with = |more: &[&str]| ask(&[&ca[..], more].concat());
    with(&["--token-file", "client.token"]).ok();
    refused(&with(&[]), "token");
    refused(&with(&["--token-file", "wrong.token"]), "token");
    refused(&with(&["--token-file", "agent.token"]), "token");
    refused(&with(&["--token-file", "nowhere"]), "nowhere");
    refused(&ask(&["--token-file", "client.token"]), "tls_ca_file");
    refused(&ask(&["--token-file", "client.token", "--tls-ca-file", "foreign/ca.pem"]), "certificate");
    let plain = url.replace("https", "http");
    refused(
        &site.holdfast().run(&["snapshots", "--coordinator", &plain, "--token-file", "client.token"]),
        "",
    );
}

#[test]
fn mutual_tls_lets_in_who_has_a_certificate_of_ours() {
    let site = Site::new();
    let (_coordinator, url) = site.coordinator("server", &["--tls-client-ca-file", "own/ca.pem"]);
    let with = |who: &str, words: &[&str]| {
        let (cert, key) = (format!("{who}.pem"), format!("{who}.key"));
        let tls = ["--tls-ca-file", "own/ca.pem", "--tls-cert-file", &cert, "--tls-key-file", &key];
        site.holdfast().run(&[words, &["--coordinator", &url], &tls].concat())
    };
    let list = ["snapshots"];
    with("own/client", &list).ok();
    refused(&with("foreign/client", &list), "certificate");
    refused(&with("own/expired", &list), "certificate");
    refused(
        &site.holdfast().run(&["snapshots", "--coordinator", &url, "--tls-ca-file", "own/ca.pem"]),
        "certificate",
    );
    // The whole way: an agent with its own certificate backs up for a client with another one.
    let volume = format!("v={}", site.home.path().join("data").display());
    let words = ["agent", "--repo", &site.repo, "--key-file", "key", "--state-dir", "a", "--volume", &volume];
    let tls = [
        "--tls-ca-file",
        "own/ca.pem",
        "--tls-cert-file",
        "own/agent.pem",
        "--tls-key-file",
        "own/agent.key",
    ];
    let more = ["--http-listen", "127.0.0.1:0", "--coordinator", &url];
    let mut agent = site.holdfast().start(&[&words[..], &tls, &more].concat());
    agent.says("connected");
    with("own/client", &["backup", "data", "--volume", "v"]).ok();
    assert!(with("own/client", &list).ok().contains("complete"));
}

#[test]
fn an_expired_server_is_refused() {
    let site = Site::new();
    let (_coordinator, url) = site.coordinator("expired", &[]);
    let ran = site.holdfast().run(&["snapshots", "--coordinator", &url, "--tls-ca-file", "own/ca.pem"]);
    refused(&ran, "expired");
}

#[test]
fn plaintext_beyond_this_machine_is_refused_unless_told_so() {
    let site = Site::new();
    let words = ["coordinator", "--repo", &site.repo, "--key-file", "key", "--state-dir", "c"];
    let listen = ["--listen", "0.0.0.0:0", "--http-listen", "127.0.0.1:0"];
    let server = [&words[..], &listen].concat();
    site.holdfast().run(&server).failed(2, "plaintext");
    // Nothing is sent: the name does not even exist.
    let far = ["snapshots", "--coordinator", "http://backup.invalid:1"];
    site.holdfast().run(&far).failed(2, "plaintext");
    // Even then nobody may come in without a token.
    let told = [&server[..], &["--allow-plaintext"]].concat();
    site.holdfast().run(&told).failed(2, "agent_token_file");
    let tokens = ["--agent-token-file", "agent.token", "--client-token-file", "client.token"];
    let mut told = site.holdfast().start(&[&told[..], &tokens].concat());
    let url = format!("http://127.0.0.1:{}", told.grpc().rsplit(':').next().unwrap());
    site.holdfast().run(&["snapshots", "--coordinator", &url, "--token-file", "client.token"]).ok();
    missing_files_are_named(&site);
    files_that_make_no_sense_are_named(&site);
}

fn files_that_make_no_sense_are_named(site: &Site) {
    std::fs::write(
        site.home.path().join("junk.pem"),
        "-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    std::fs::write(site.home.path().join("empty.pem"), "").unwrap();
    for (ca, text) in
        [("junk.pem", "ca certificate in junk.pem"), ("empty.pem", "no certificate in empty.pem")]
    {
        let far = ["snapshots", "--coordinator", "https://localhost:1", "--tls-ca-file", ca];
        refused(&site.holdfast().run(&far), text);
    }
    let words = ["coordinator", "--repo", &site.repo, "--key-file", "key", "--state-dir", "c"];
    let listen = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];
    let tls = ["--tls-cert-file", "own/server.pem", "--tls-key-file", "own/server.key"];
    let server = [&words[..], &listen, &tls, &["--tls-client-ca-file", "junk.pem"]].concat();
    refused(&site.holdfast().run(&server), "junk.pem");
}

fn missing_files_are_named(site: &Site) {
    let far = ["snapshots", "--coordinator", "https://localhost:1", "--tls-ca-file", "gone.pem"];
    refused(&site.holdfast().run(&far), "gone.pem");
}
