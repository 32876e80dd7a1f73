//! The definitions of the resources as YAML, and their reference as Markdown: made from the types, so that they are never behind them.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt as _;

use super::{Backup, BackupPolicy, Repository, Restore, Snapshot};

/// All definitions, in the order of the documentation.
#[must_use]
pub fn definitions() -> Vec<CustomResourceDefinition> {
    let mut all =
        vec![Repository::crd(), BackupPolicy::crd(), Backup::crd(), Restore::crd(), Snapshot::crd()];
    for crd in &mut all {
        let labels = [("app.kubernetes.io/name", "holdfast"), ("app.kubernetes.io/part-of", "holdfast")];
        let labels = labels.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned()));
        crd.metadata.labels = Some(labels.collect());
        let schemas = crd.spec.versions.iter_mut().filter_map(|v| v.schema.as_mut());
        schemas.filter_map(|s| s.open_api_v3_schema.as_mut()).for_each(known_formats);
    }
    all
}

/// The API server warns of formats that it does not know: Rust's unsigned numbers have such. Their bounds stay.
fn known_formats(schema: &mut JSONSchemaProps) {
    if schema.format.as_deref().is_some_and(|format| format.starts_with("uint")) {
        schema.format = None;
    }
    schema.properties.iter_mut().flat_map(|all| all.values_mut()).for_each(known_formats);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        known_formats(items);
    }
}

/// All definitions as one YAML file.
pub fn yaml() -> Result<String, String> {
    let mut out = String::from(
        "# Made by `holdfast crds` from the types in operator/src/resources. Not to be edited.\n",
    );
    for crd in definitions() {
        let value = serde_json::to_value(&crd).map_err(|e| e.to_string())?;
        let text = serde_saphyr::to_string(&value).map_err(|e| e.to_string())?;
        out.push_str("---\n");
        out.push_str(text.trim_end());
        out.push('\n');
    }
    Ok(out)
}

/// The reference of all resources.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(
        "# Custom resources\n\nMade by `holdfast crds --docs` from the types in `operator/src/resources`. Not to be edited.\n\n\
         All are of `holdfast.dev/v1alpha1` and of the category `holdfast` (`kubectl get holdfast -A`). Spans of time are written \
         `90s`, `15m`, `1h30m`, `7d`, `2w`.\n",
    );
    for crd in definitions() {
        let names = &crd.spec.names;
        let short = names.short_names.clone().unwrap_or_default().join(", ");
        let Some(version) = crd.spec.versions.first() else { continue };
        let schema = version.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
        let Some(schema) = schema else { continue };
        let about = schema.description.as_deref().unwrap_or_default();
        let _fits = write!(
            out,
            "\n## {}\n\n{about}\n\n{}, `{}.{}`, short `{short}`.\n\n| field | type | default | |\n|---|---|---|---|\n",
            names.kind, crd.spec.scope, names.plural, crd.spec.group
        );
        for part in ["spec", "status"] {
            if let Some(props) = schema.properties.as_ref().and_then(|p| p.get(part)) {
                fields(part, props, &mut out);
            }
        }
    }
    out
}

/// One row for each field, those within after it.
fn fields(path: &str, schema: &JSONSchemaProps, out: &mut String) {
    let required = schema.required.clone().unwrap_or_default();
    for (name, field) in schema.properties.iter().flatten() {
        let path = format!("{path}.{name}");
        let what = field.description.as_deref().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        let default = field.default.as_ref().map(|d| format!("`{}`", d.0)).unwrap_or_default();
        let needed =
            if required.contains(name) && !path.starts_with("status") { " **required**" } else { "" };
        let rules = field.x_kubernetes_validations.iter().flatten();
        let rules: String = rules.filter_map(|r| r.message.as_ref()).map(|m| format!(" *{m}*")).collect();
        let _fits = writeln!(out, "| `{path}` | {}{needed} | {default} | {what}{rules} |", kind(field));
        let inner = match &field.items {
            Some(JSONSchemaPropsOrArray::Schema(items)) => Some((format!("{path}[]"), &**items)),
            _ => Some((path, field)),
        };
        // Conditions and label selectors are Kubernetes' own.
        let own = !matches!(name.as_str(), "conditions") && !name.ends_with("elector") || name == "selector";
        if let Some((path, inner)) = inner.filter(|_| own) {
            fields(&path, inner, out);
        }
    }
}

fn kind(field: &JSONSchemaProps) -> String {
    let name = field.type_.as_deref().unwrap_or("any");
    if let Some(values) = &field.enum_ {
        let values: Vec<_> = values.iter().filter_map(|v| v.0.as_str()).map(|v| format!("`{v}`")).collect();
        return values.join(", ");
    }
    match &field.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => format!("list of {}", kind(items)),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests;
