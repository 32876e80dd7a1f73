//! The programs of a cluster, built from Go modules once and kept: a folder for each state of a module's files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::places::Places;
use crate::shell::run;

/// A Go module of ours, and which programs it gives.
#[derive(Debug)]
struct Module {
    folder: &'static str,
    packages: &'static [&'static str],
    /// Programs by the name under which they are called, and the name that Go gives them.
    programs: &'static [(&'static str, &'static str)],
}

const MODULES: &[Module] = &[
    Module {
        folder: "kube",
        packages: &[
            "k8s.io/kubernetes/cmd/kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-scheduler",
            "k8s.io/kubernetes/cmd/kubelet",
            "k8s.io/kubernetes/cmd/kube-proxy",
            "k8s.io/kubernetes/cmd/kubectl",
        ],
        programs: &[
            ("kube-apiserver", "kube-apiserver"),
            ("kube-controller-manager", "kube-controller-manager"),
            ("kube-scheduler", "kube-scheduler"),
            ("kubelet", "kubelet"),
            ("kube-proxy", "kube-proxy"),
            ("kubectl", "kubectl"),
        ],
    },
    Module { folder: "etcd", packages: &["go.etcd.io/etcd/server/v3"], programs: &[("etcd", "server")] },
    Module { folder: "dns", packages: &["."], programs: &[("dns", "dns")] },
];

/// Where the program lies, if it is built.
///
/// # Errors
/// If no module gives a program of this name, or its module's files can't be read.
pub fn place(places: &Places, name: &str) -> anyhow::Result<PathBuf> {
    let gives = |module: &&Module| module.programs.iter().any(|(called, _)| *called == name);
    let module = MODULES.iter().find(gives).with_context(|| format!("no module gives {name}"))?;
    let real = module.programs.iter().find(|(called, _)| *called == name).map_or(name, |(_, real)| real);
    Ok(folder(places, module)?.join(real))
}

/// Whether all are built already.
///
/// # Errors
/// If a module's files can't be read.
pub fn are_built(places: &Places) -> anyhow::Result<bool> {
    for module in MODULES {
        if !is_built(&folder(places, module)?, module) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Builds what is missing; `say` hears of each module. About 12 minutes on two cores where Go's cache has nothing.
///
/// # Errors
/// If Go can't build it.
pub fn build(places: &Places, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    for module in MODULES {
        let folder = folder(places, module)?;
        if is_built(&folder, module) {
            continue;
        }
        say(&format!("building {} into {}", module.folder, folder.display()));
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        // Beside its place until it is whole, so that a build that was stopped leaves nothing that looks built.
        let half = tempfile::tempdir_in(&folder).context("create a folder to build in")?;
        let source = places.here.join("go").join(module.folder);
        let mut command = Command::new("go");
        command
            .current_dir(&source)
            .args(["build", "-mod=readonly", "-trimpath", "-ldflags", &flags(&source)?, "-o"])
            .arg(half.path())
            .args(module.packages);
        run(&mut command, None).with_context(|| format!("build {}", module.folder))?;
        for (_, real) in module.programs {
            fs::rename(half.path().join(real), folder.join(real)).with_context(|| format!("keep {real}"))?;
        }
    }
    Ok(())
}

/// Removes builds of other states of the modules, which take a gigabyte each.
pub fn forget_others(places: &Places) {
    let now: BTreeSet<PathBuf> = MODULES.iter().filter_map(|module| folder(places, module).ok()).collect();
    for entry in fs::read_dir(&places.cache).into_iter().flatten().flatten() {
        if !now.contains(&entry.path()) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

fn is_built(folder: &Path, module: &Module) -> bool {
    module.programs.iter().all(|(_, real)| folder.join(real).is_file())
}

/// Named by everything that decides what is built.
fn folder(places: &Places, module: &Module) -> anyhow::Result<PathBuf> {
    let source = places.here.join("go").join(module.folder);
    let mut state = format!("{:?}", module.packages).into_bytes();
    for file in ["go.mod", "go.sum", "main.go"] {
        if file != "main.go" || source.join(file).exists() {
            let path = source.join(file);
            state.extend(fs::read(&path).with_context(|| format!("read {}", path.display()))?);
        }
    }
    Ok(places.cache.join(format!("{}-{}", module.folder, &image::sha256(&state)[..16])))
}

/// Kubernetes' programs refuse each other without a version.
fn flags(source: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(source.join("go.mod"))?;
    let version = text.lines().find_map(|l| l.strip_prefix("require k8s.io/kubernetes "));
    Ok(version.map_or_else(
        || "-s -w".to_owned(),
        |version| {
            let minor = version.split('.').nth(1).unwrap_or_default();
            let set = |name: &str, value: &str| format!(" -X k8s.io/component-base/version.{name}={value}");
            let (full, major, minor) =
                (set("gitVersion", version), set("gitMajor", "1"), set("gitMinor", minor));
            format!("-s -w{full}{major}{minor}")
        },
    ))
}

#[cfg(test)]
mod tests;
