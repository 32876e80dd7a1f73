//! A way into a cluster's API: `kubectl` with a configuration, where it must be called. Of our own cluster or of anybody's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use crate::shell::{Output, run, until};

/// How the API is reached.
#[derive(Debug, Clone)]
pub struct Access {
    /// Words before `kubectl`: what brings a process to where the cluster can be reached.
    pub before: Vec<String>,
    /// The program.
    pub kubectl: PathBuf,
    /// The configuration file.
    pub kubeconfig: PathBuf,
}

impl Access {
    /// A command of these words where the cluster is reached, with `KUBECONFIG` set.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut words = self.before.iter();
        let mut command = match words.next() {
            Some(first) => Command::new(first),
            None => Command::new(program),
        };
        command.args(words);
        if !self.before.is_empty() {
            command.arg(program);
        }
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Runs `kubectl` with these words.
    pub fn kubectl(&self, words: &[&str]) -> anyhow::Result<Output> {
        run(self.command(&self.kubectl).args(words), None)
    }

    /// What the API answers at a path.
    pub fn raw(&self, path: &str) -> anyhow::Result<Output> {
        self.kubectl(&["get", "--raw", path])
    }

    /// Objects as the API has them; `words` follow `get`.
    pub fn get(&self, words: &[&str]) -> anyhow::Result<Value> {
        let words: Vec<&str> = ["get", "-o", "json"].iter().chain(words).copied().collect();
        serde_json::from_str(&self.kubectl(&words)?).context("parse what kubectl printed")
    }

    /// The items of a list.
    pub fn list(&self, words: &[&str]) -> anyhow::Result<Vec<Value>> {
        Ok(self.get(words)?["items"].as_array().cloned().unwrap_or_default())
    }

    /// Applies a text of YAML documents.
    pub fn apply(&self, yaml: &str) -> anyhow::Result<()> {
        run(self.command(&self.kubectl).args(["apply", "-f", "-"]), Some(yaml.as_bytes())).map(drop)
    }

    /// Applies objects.
    pub fn apply_json(&self, objects: &[Value]) -> anyhow::Result<()> {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.apply(&list.to_string())
    }

    /// Applies a folder of kustomize.
    pub fn kustomize(&self, folder: &Path) -> anyhow::Result<Output> {
        let folder = folder.to_str().context("a folder's name")?;
        self.kubectl(&["apply", "--server-side", "-k", folder])
    }

    /// Runs a shell command in a pod (`NAMESPACE/POD`), and gives what it printed.
    pub fn sh(&self, pod: &str, script: &str) -> anyhow::Result<Output> {
        let (namespace, name) = pod.split_once('/').with_context(|| format!("{pod} has no namespace"))?;
        self.kubectl(&["exec", "-n", namespace, name, "--", "sh", "-ec", script])
    }

    /// Waits until a question to the API has the answer; `words` follow `get`.
    pub fn until(
        &self,
        what: &str,
        seconds: u64,
        words: &[&str],
        is_so: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let mut last = Value::Null;
        let found = until(what, seconds, || {
            last = self.get(words)?;
            Ok(is_so(&last).then(|| last.clone()))
        });
        found.map_err(|error| error.context(format!("last seen: {}", brief(&last))))
    }
}

/// Of an object, what tells its state.
fn brief(value: &Value) -> String {
    let of = |v: &Value| format!("{} {}", v["metadata"]["name"], v["status"]);
    match value["items"].as_array() {
        Some(items) => items.iter().map(of).collect::<Vec<_>>().join("; "),
        None => of(value),
    }
}
