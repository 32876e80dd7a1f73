//! What may name what: the modules of the engine, and the crates.

/// Modules of `repository`, from the lowest up, and which others each may name. `items::entry` is plain values.
pub(crate) const LAYERS: &[(&str, &[&str])] = &[
    ("codec", &[]),
    ("env", &[]),
    ("limits", &[]),
    ("error", &[]),
    ("monitor", &[]),
    ("ids", &["env"]),
    ("cpu", &["error"]),
    ("items::entry", &["env", "ids", "limits"]),
    ("store", &["env", "error", "limits", "ids"]),
    ("layout", &["env", "ids", "store"]),
    ("keys", &["blob", "codec", "env", "error", "ids", "layout", "limits", "store"]),
    ("blob", &["codec", "cpu", "env", "error", "ids", "keys", "layout", "limits", "store"]),
    ("chunk", &["codec", "error", "ids", "items::entry", "limits"]),
    ("source", &["env", "error", "ids", "items::entry", "limits", "monitor"]),
    ("target", &["codec", "env", "error", "ids", "items::entry", "limits", "monitor"]),
    (
        "pack",
        &["blob", "codec", "cpu", "env", "error", "ids", "keys", "layout", "limits", "monitor", "store"],
    ),
    (
        "index",
        &["blob", "codec", "env", "error", "ids", "keys", "layout", "limits", "monitor", "pack", "store"],
    ),
    ("items", &["blob", "codec", "env", "error", "ids", "items::entry", "keys", "limits", "pack"]),
    ("manifest", &["blob", "codec", "env", "error", "ids", "items", "keys", "limits", "pack"]),
    ("retention", &["env", "ids"]),
    ("session", &["*"]),
    ("ops", &["*"]),
];

/// What the engine must not know.
pub(crate) const ENGINE_IGNORES: &[&str] =
    &["tonic", "kube", "k8s_openapi", "prost_types", "axum", "clap", "proto"];

/// Crates of the workspace and which others each may depend on.
pub(crate) const CRATES: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("repository", &["sys"]),
    ("proto", &["repository"]),
    ("service", &["repository", "proto"]),
    ("agent", &["sys", "repository", "proto", "service"]),
    ("coordinator", &["repository", "proto", "service"]),
    ("operator", &["repository", "proto", "service", "coordinator"]),
    ("cli", &["sys", "repository", "proto", "service", "agent", "coordinator", "operator"]),
    ("tests", &["sys", "repository", "proto", "service", "agent", "coordinator", "operator", "cli"]),
    ("tests/protocol", &[]),
    ("tests/cluster", &["image"]),
    ("image", &[]),
    ("monitoring", &[]),
    ("benches", &["sys", "repository", "proto", "service", "agent", "coordinator", "cli"]),
];
