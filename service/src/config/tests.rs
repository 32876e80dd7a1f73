//! Layers of settings.

#![expect(unreachable_pub, dead_code, reason = "the macro makes a public struct")]

use std::path::PathBuf;

use super::parse;

crate::layer! {
    /// A layer to test with.
    pub struct Layer {
        scalars {
            /// Text.
            repo: String,
            /// Number.
            jobs_max: u32,
            /// Path.
            cache_dir: PathBuf,
        }
        lists {
            /// List.
            volumes: Vec<String>,
        }
    }
}

fn none(_: &str) -> Option<String> {
    None
}

#[test]
fn the_later_layer_wins_and_gaps_stay_open() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.yaml");
    std::fs::write(&file, "repo: file\njobs_max: 1\nvolumes: [a, b]\n").unwrap();
    let env = |name: &str| match name {
        "HOLDFAST_REPO" => Some("env".to_owned()),
        "HOLDFAST_JOBS_MAX" => Some("2".to_owned()),
        "HOLDFAST_CACHE_DIR" => Some(String::new()),
        _ => None,
    };
    let flags = Layer { repo: Some("flag".into()), ..Layer::default() };
    let all = Layer::load(Some(&file), &env, flags).unwrap();
    assert_eq!(all.repo.as_deref(), Some("flag"));
    assert_eq!(all.jobs_max, Some(2));
    assert_eq!(all.volumes, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(all.cache_dir, None);
}

#[test]
fn a_wrong_key_is_named() {
    let e = parse::<Layer>("repo: x\njob_max: 3\n").unwrap_err();
    assert!(e.contains("job_max"), "{e}");
}

#[test]
fn a_wrong_variable_is_named() {
    let env = |name: &str| (name == "HOLDFAST_JOBS_MAX").then(|| "many".to_owned());
    let e = Layer::from_env(&env).unwrap_err().to_string();
    assert!(e.contains("HOLDFAST_JOBS_MAX=many"), "{e}");
    assert!(Layer::from_env(&none).is_ok());
}

#[test]
fn a_missing_file_is_named() {
    let e = Layer::load(Some(&PathBuf::from("/none/c.yaml")), &none, Layer::default()).unwrap_err();
    assert!(e.to_string().contains("/none/c.yaml"), "{e}");
}
