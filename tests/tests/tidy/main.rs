//! House rules that no lint knows: lengths, module docs, the direction of layers, lint inheritance, docs in step.
//!
//! Each rule is a function from text to faults, and is shown a bad example, so that it can be seen to fail. A rule
//! that another tool keeps (clippy's lints, rustfmt) is only checked to be switched on.

mod code;
mod layers;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use code::code_only;
use layers::{CRATES, ENGINE_IGNORES, LAYERS};

/// Longest file, in lines.
const FILE_LINES_MAX: usize = 500;
/// Longest function, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Lints that the workspace must switch on.
const LINTS: &[&str] = &[
    "unsafe_code = \"forbid\"",
    "missing_docs",
    "unwrap_used",
    "todo",
    "await_holding_lock",
    "panic",
    "large_futures",
];

/// Checks one kind of thing: the rule finds fault with each bad example and with nothing good.
fn self_test(rule: impl Fn(&str) -> Vec<String>, bad: &[&str], good: &[&str]) {
    for text in bad {
        assert!(!rule(text).is_empty(), "no fault found in: {text}");
    }
    for text in good {
        assert_eq!(rule(text), Vec::<String>::new(), "in: {text}");
    }
}

/// These files have to spell out what they forbid.
const HERE: &str = "tests/tests/tidy/";
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

#[expect(clippy::panic, reason = "a test's helper: the file's name belongs into the failure")]
fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// All files of the project by relative path: what git tracks or would track; all files where there is no git.
fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let listed = listed.ok().filter(|o| o.status.success() && !o.stdout.is_empty());
    let mut files: Vec<String> = match listed {
        Some(output) => String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect(),
        None => walk(&root(), Path::new("")),
    };
    files.retain(|f| root().join(f).is_file());
    assert!(files.len() > 20, "the project has files: {files:?}");
    files
}

fn walk(root: &Path, below: &Path) -> Vec<String> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(root.join(below)).expect("the project can be read").flatten() {
        let path = below.join(entry.file_name());
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            if !matches!(path.to_str(), Some("target" | ".git")) {
                out.extend(walk(root, &path));
            }
        } else if let Some(text) = path.to_str() {
            out.push(text.to_owned());
        }
    }
    out
}

fn rust_files() -> Vec<String> {
    files().into_iter().filter(|f| f.ends_with(".rs")).collect()
}

/// Runs a rule over files and fails with all faults, each with its file.
fn check_all(files: &[String], rule: impl Fn(&str, &str) -> Vec<String>) {
    let faults: Vec<String> = files
        .iter()
        .flat_map(|f| rule(f, &read(f)).into_iter().map(move |fault| format!("{f}: {fault}")))
        .collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    ["tests/", "benches/"].iter().any(|f| path.starts_with(f))
        || path.contains("/tests/")
        || matches!(name, "tests.rs" | "testing.rs" | "sample.rs")
}

fn file_length(text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX { vec![format!("{lines} lines, at most {FILE_LINES_MAX}")] } else { Vec::new() }
}

fn module_docs(text: &str) -> Vec<String> {
    if text.starts_with("//! ") { Vec::new() } else { vec!["does not open with `//! `".to_owned()] }
}

/// Functions that are too long, by their name.
fn function_length(text: &str) -> Vec<String> {
    let code = code_only(text);
    let mut faults = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let before = code[..at].chars().next_back();
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() || before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let lines = function_lines(&code[at..]);
        if lines > FUNCTION_LINES_MAX {
            faults.push(format!("fn {name} has {lines} lines, at most {FUNCTION_LINES_MAX}"));
        }
    }
    faults
}

/// Lines from `fn` to its closing brace; 0 for one without a body.
fn function_lines(code: &str) -> usize {
    let (mut parens, mut braces) = (0i32, 0i32);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => parens += 1,
            ')' | ']' => parens -= 1,
            ';' if parens == 0 && braces == 0 => return 0,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces <= 0 {
                    return code[..at].lines().count();
                }
            }
            _ => {}
        }
    }
    0
}

/// `unwrap` in front of the first test module; clippy has the lint, this keeps it from being allowed away.
fn no_unwrap(text: &str) -> Vec<String> {
    let code = code_only(text);
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    let unwraps = code.matches(".unwrap()").count();
    let mut faults = Vec::new();
    if unwraps > 0 {
        faults.push(format!("{unwraps} unwrap() outside of tests"));
    }
    for lint in ["clippy::unwrap_used", "clippy::panic", "dead_code"] {
        if code.contains(&format!("allow({lint}")) {
            faults.push(format!("allows {lint}"));
        }
    }
    faults
}

/// Module names after each `crate::`, with `items::entry` told apart.
fn named_modules(code: &str) -> BTreeSet<String> {
    let word = |s: &str| s.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>();
    let mut out = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let groups = rest.strip_prefix('{').map(|r| r.split('}').next().unwrap_or_default());
        let paths: Vec<&str> = groups.map_or_else(|| vec![rest], |g| g.split(',').map(str::trim).collect());
        for path in paths {
            let name = word(path);
            let entry = path.strip_prefix("items::").is_some_and(|p| word(p) == "entry");
            if !name.is_empty() && !path[name.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '!')
            {
                out.insert(if entry { "items::entry".to_owned() } else { name });
            }
        }
    }
    out
}

/// What a file of `repository/src` names and must not.
fn layer_direction(path: &str, text: &str) -> Vec<String> {
    let Some(inner) = path.strip_prefix("repository/src/") else { return Vec::new() };
    let module = match inner {
        "items/entry.rs" => "items::entry",
        other => other.split(['/', '.']).next().unwrap_or_default(),
    };
    let code = code_only(text);
    let mut faults: Vec<String> = ENGINE_IGNORES
        .iter()
        .filter(|name| code.contains(&format!("{name}::")) && !code.contains(&format!("_{name}::")))
        .map(|name| format!("names {name}, which the engine must not know"))
        .collect();
    if module == "lib" || is_test(path) {
        return faults;
    }
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
        faults.push(format!("module {module} is not in the table of layers"));
        return faults;
    };
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    for named in named_modules(code) {
        let known = LAYERS.iter().any(|(name, _)| *name == named);
        let own = named == module || (module == "items" && named == "items::entry");
        let upward = module == "session" && named == "ops";
        if known && !own && (upward || !(allowed.contains(&"*") || allowed.contains(&named.as_str()))) {
            faults.push(format!("{module} names {named}: layers point down only"));
        }
    }
    faults
}

/// What a crate's Cargo.toml gets wrong.
fn crate_rules(name: &str, toml: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let Some((_, allowed)) = CRATES.iter().find(|(n, _)| *n == name) else {
        return vec![format!("crate {name} is not in the table of crates")];
    };
    if !toml.contains("[lints]\nworkspace = true") && name != "sys" {
        faults.push("does not inherit the workspace's lints".to_owned());
    }
    let mut section = "";
    for line in toml.lines() {
        if line.starts_with('[') {
            section = line;
        }
        let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
        let ours = CRATES.iter().any(|(n, _)| *n == dependency);
        if ours && section == "[dependencies]" && !allowed.contains(&dependency) {
            faults.push(format!("{name} must not depend on {dependency}"));
        }
        let version = line.contains("version = \"")
            || line.split_once(" = \"").is_some_and(|(_, v)| v.starts_with(|c: char| c.is_ascii_digit()));
        if section.contains("dependencies") && version {
            faults.push(format!("sets a version itself: {line}"));
        }
    }
    faults
}

/// Paths of somebody's machine, and hosts that only somebody's network knows.
fn no_machine_traces(text: &str) -> Vec<String> {
    const TRACES: &[&str] = &[
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("art", "ifactory"),
        concat!("sp", "arse+http"),
        concat!(".inte", "rnal:"),
        concat!("local", "host:8081"),
    ];
    let home = |line: &&str| {
        line.split("/home/").nth(1).is_some_and(|rest| !rest.starts_with(['<', '$', '*', ' ', '`']))
    };
    let mut faults: Vec<String> =
        TRACES.iter().filter(|t| text.contains(**t)).map(|t| format!("contains {t}")).collect();
    faults.extend(text.lines().filter(home).map(|line| format!("names a home folder: {}", line.trim())));
    faults
}

/// A TODO names an issue.
fn todo_names_issue(text: &str) -> Vec<String> {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("not built", " yet")];
    let open = |line: &&str| marks.iter().any(|m| line.contains(m)) && !line.contains(concat!("TO", "DO(#"));
    text.lines().filter(open).map(|line| format!("left open: {}", line.trim())).collect()
}

/// Indented lines of a Markdown text: its commands.
fn commands(text: &str) -> Vec<&str> {
    let code = text.lines().filter_map(|l| l.strip_prefix("    "));
    code.map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect()
}

/// What README promises and the project does not have.
fn readme_commands(readme: &str) -> Vec<String> {
    let known = <cli::args::Cli as clap::CommandFactory>::command();
    let mut faults = Vec::new();
    for line in commands(readme) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let script = words[0];
        if (script.starts_with("./") || script.starts_with(".ci/")) && !root().join(script).is_file() {
            faults.push(format!("{script} does not exist"));
        }
        let program = words.iter().position(|w| *w == "holdfast" || w.ends_with("/holdfast"));
        let after = match words.iter().position(|w| *w == "--") {
            Some(dashes) => dashes + 1,
            None => match program {
                Some(at) if words[0] != "cargo" => at + 1,
                _ => continue,
            },
        };
        let command = words.get(after).copied().unwrap_or_default();
        let Some(sub) = known.find_subcommand(command) else {
            faults.push(format!("`holdfast {command}` does not exist"));
            continue;
        };
        let flags = words[after..].iter().filter_map(|w| w.strip_prefix("--"));
        let has =
            |flag: &str| known.get_arguments().chain(sub.get_arguments()).any(|a| a.get_long() == Some(flag));
        faults
            .extend(flags.filter(|f| !has(f)).map(|f| format!("`holdfast {command} --{f}` does not exist")));
    }
    faults
}

#[test]
fn files_are_short() {
    check_all(&rust_files(), |_, text| file_length(text));
    self_test(
        file_length,
        &["x\n".repeat(FILE_LINES_MAX + 1).as_str()],
        &["x\n".repeat(FILE_LINES_MAX).as_str()],
    );
}

#[test]
fn functions_are_short() {
    check_all(&rust_files(), |_, text| function_length(text));
    let body = |lines: usize| {
        format!("pub(crate) async fn f(a: [u8; 3]) {{\n{}}}\n", "    g('{', \"}\"); // }\n".repeat(lines))
    };
    let trait_only = format!("trait T {{ fn f(&self);\n fn g(); }}\n{}", "\n".repeat(100));
    self_test(function_length, &[&body(FUNCTION_LINES_MAX)], &[&body(FUNCTION_LINES_MAX - 2), &trait_only]);
}

#[test]
fn files_open_with_their_purpose() {
    check_all(&rust_files(), |_, text| module_docs(text));
    self_test(module_docs, &["", "use a;", "// x", "//!\n"], &["//! What it is for.\n"]);
}

#[test]
fn nothing_unwraps_outside_of_tests() {
    let files = rust_files().into_iter().filter(|f| !is_test(f)).collect::<Vec<_>>();
    check_all(&files, |_, text| no_unwrap(text));
    let bad = ["fn f() { g().unwrap(); }", "#![allow(clippy::unwrap_used)]", "#[allow(dead_code)] fn f() {}"];
    self_test(
        no_unwrap,
        &bad,
        &["// a.unwrap()\n", "#[cfg(test)]\nmod tests { fn f() { g().unwrap(); } }", "\".unwrap()\""],
    );
}

#[test]
fn layers_point_down() {
    check_all(&rust_files(), layer_direction);
    let bad = [
        "use crate::ops::Task;",
        "use crate::{index::Lookup, ids::Sid};",
        "let s = tonic::Status::ok();",
        "fn f(a: crate::items::Leaf) {}",
    ];
    let good = [
        "use crate::items::entry::Entry;",
        "// crate::ops\n",
        "use crate::limits::PAGE_BYTES;",
        "use crate::{Error, Result};",
    ];
    self_test(|text| layer_direction("repository/src/source/walk.rs", text), &bad, &good);
    self_test(|text| layer_direction("repository/src/nowhere.rs", text), &[""], &[]);
    self_test(
        |text| layer_direction("repository/src/session/mod.rs", text),
        &["use crate::ops::Task;"],
        &["use crate::pack::Writer;"],
    );
}

#[test]
fn crates_point_down_and_inherit_lints() {
    let tomls: Vec<String> = files().into_iter().filter(|f| f.ends_with("/Cargo.toml")).collect();
    assert!(tomls.len() >= 8, "{tomls:?}");
    check_all(&tomls, |path, text| crate_rules(path.trim_end_matches("/Cargo.toml"), text));
    let lints = "[lints]\nworkspace = true\n";
    let bad = [
        String::new(),
        format!("{lints}[dependencies]\nagent.workspace = true\n"),
        format!("{lints}[dependencies]\nserde = \"1\"\n"),
        format!("{lints}[dev-dependencies]\nserde = {{ version = \"1\" }}\n"),
    ];
    let good = format!("{lints}[dependencies]\nsys.workspace = true\nserde = {{ workspace = true }}\n");
    self_test(|text| crate_rules("repository", text), &bad.each_ref().map(String::as_str), &[&good]);
    self_test(|text| crate_rules("unheard-of", text), &[&good], &[]);
}

#[test]
fn lints_are_switched_on() {
    let workspace = read("Cargo.toml");
    let missing: Vec<_> = LINTS.iter().filter(|lint| !workspace.contains(**lint)).collect();
    assert!(missing.is_empty(), "the workspace lacks {missing:?}");
    let clippy = read("clippy.toml");
    assert!(clippy.contains("too-many-arguments-threshold = 6"));
    for line in clippy.lines().filter(|l| l.contains("path = ")) {
        assert!(line.contains("reason = \""), "a ban without a reason: {line}");
    }
}

#[test]
fn no_traces_of_a_machine() {
    let text = |f: &String| {
        !f.ends_with("Cargo.lock") && !f.starts_with(HERE) && std::fs::read_to_string(root().join(f)).is_ok()
    };
    check_all(&files().into_iter().filter(text).collect::<Vec<_>>(), |_, text| no_machine_traces(text));
    let bad = [concat!("cd /wo", "rk/x"), concat!("/ro", "ot/.cargo"), "/home/me/x"];
    self_test(no_machine_traces, &bad, &["/srv/x", "~/x", "/home/<user>", "network/x"]);
}

#[test]
fn nothing_is_left_open() {
    let others = rust_files().into_iter().filter(|f| !f.starts_with(HERE)).collect::<Vec<_>>();
    check_all(&others, |_, text| todo_names_issue(text));
    self_test(
        todo_names_issue,
        &[concat!("// TO", "DO: later"), concat!("FIX", "ME")],
        &[concat!("// TO", "DO(#12): later")],
    );
}

#[test]
fn readme_keeps_its_word() {
    let readme = read("README.md");
    assert_eq!(readme_commands(&readme), Vec::<String>::new());
    self_test(
        readme_commands,
        &[
            "    holdfast frobnicate",
            "    ./no-such-script",
            "    cargo run --bin holdfast -- backup --frob x",
        ],
        &["    holdfast backup --tag x /data", "    cargo build --release"],
    );
    let tests = "./test";
    assert!(commands(&readme).contains(&tests), "README names the command that runs all tests");
    assert!(read(".ci/run").contains(tests), ".ci/run calls the README's test command");
}

#[test]
fn ci_scripts_can_be_run() {
    use std::os::unix::fs::PermissionsExt as _;
    for script in [
        "test",
        ".ci/run",
        ".ci/packages",
        ".ci/versitygw",
        ".ci/prometheus",
        "image/build",
        "tests/cluster/run",
    ] {
        let data = std::fs::metadata(root().join(script)).expect("the script is there");
        let mode = data.permissions().mode();
        assert!(mode & 0o111 == 0o111, "{script} is not executable");
        assert!(read(script).starts_with("#!/usr/bin/env bash\n"), "{script} is no bash script");
    }
}
