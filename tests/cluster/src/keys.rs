//! The certificates of a cluster, the keys of its service accounts, and the files by which its parts reach the API.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use crate::places::{API_SERVICE, CONTROL_ADDRESS, Places, node_address, node_name, text};

/// Makes all keys and certificates of a cluster with so many nodes.
pub(crate) fn make(places: &Places, nodes: usize) -> anyhow::Result<()> {
    let folder = places.state.join("keys");
    fs::create_dir_all(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "holdfast test cluster");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    fs::write(places.key("ca.crt"), authority.pem())?;
    fs::write(places.key("ca.key"), authority.key().serialize_pem())?;
    let accounts = KeyPair::generate()?;
    fs::write(places.key("accounts.key"), accounts.serialize_pem())?;
    fs::write(places.key("accounts.pub"), accounts.public_key_pem())?;

    let local = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", CONTROL_ADDRESS, API_SERVICE];
    let mut wanted: Vec<(String, &str, String, Vec<String>)> = vec![
        ("apiserver".into(), "", "kube-apiserver".into(), local.map(str::to_owned).into()),
        ("admin".into(), "system:masters", "admin".into(), Vec::new()),
        ("controllers".into(), "", "system:kube-controller-manager".into(), Vec::new()),
        ("scheduler".into(), "", "system:kube-scheduler".into(), Vec::new()),
        ("proxy".into(), "", "system:kube-proxy".into(), Vec::new()),
    ];
    for index in 1..=nodes {
        let (name, names) = (node_name(index), vec![node_name(index), node_address(index)]);
        wanted.push((name.clone(), "system:nodes", format!("system:node:{name}"), names));
    }
    for (file, group, user, names) in wanted {
        let mut params = CertificateParams::new(names).context("names of a certificate")?;
        params.distinguished_name.push(DnType::CommonName, user);
        if !group.is_empty() {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &authority)?;
        fs::write(places.key(&format!("{file}.crt")), certificate.pem())?;
        fs::write(places.key(&format!("{file}.key")), key.serialize_pem())?;
    }
    Ok(())
}

/// Writes the file by which the holder of a certificate reaches the API.
pub(crate) fn kubeconfig(places: &Places, certificate: &str, file: &Path) -> anyhow::Result<()> {
    let key = |name: &str| text(&places.key(name));
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": {
            "server": format!("https://{CONTROL_ADDRESS}:6443"),
            "certificate-authority": key("ca.crt"),
        }}],
        "users": [{"name": certificate, "user": {
            "client-certificate": key(&format!("{certificate}.crt")),
            "client-key": key(&format!("{certificate}.key")),
        }}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": certificate}}],
        "current-context": "tests",
    });
    fs::write(file, serde_json::to_vec_pretty(&config)?).with_context(|| format!("write {}", file.display()))
}
