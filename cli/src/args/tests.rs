//! The table of command lines: what is accepted, what is refused.

use clap::{CommandFactory as _, Parser as _};

use super::{Cli, Command, LogFormat, OutputFormat};

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(["holdfast"].into_iter().chain(line.split_whitespace()))
}

#[test]
fn clap_finds_no_fault() {
    Cli::command().debug_assert();
}

#[test]
fn accepted() {
    for line in [
        "init --repo file:///r --key-file k",
        "--repo file:///r init",
        "backup a b c --exclude *.o --exclude-file f --exclude-caches --tag t --read-all",
        "backup a --volume db --zstd-level 19 --memory 1GiB --threads 4 --limit-upload 10MiB",
        "snapshots --volume db --output json",
        "ls latest",
        "ls latest:/etc -r -l",
        "ls latest etc/ssh --volume db",
        "cat ab12:etc/passwd",
        "find latest *.db passwd --long",
        "diff ab12 latest --volume db",
        "restore latest t",
        "restore latest:etc t --existing if-changed --include *.conf --volume db",
        "verify",
        "verify --quick",
        "verify latest --against /data",
        "verify --no-quarantine",
        "scrub --budget 10GiB --share 5 --older-than 30d --no-quarantine",
        "restore-test --volume db --volume web --scratch /tmp --budget 1GiB",
        "restore-test --volumes 3",
        "restore-test --volume db --against /data",
        "repair index --all --dry-run",
        "repair snapshots ab12 cd34 --forget --dry-run --volume db",
        "audit --since 30d --kind gc --last 5",
        "stats --output yaml --log-format json -vv",
        "stats --detail",
        "stats --between ab12 latest --top 5 --volume db",
        "stats --would-free ab12 cd34",
        "stats --would-free --keep-daily 7 --keep-last 2",
        "copy --to s3://b/p --to-key-file k",
        "copy latest ab12 --to /r --to-passphrase-file p --to-domain d --volume db --newest 3 --retry-partial",
        "mirror --to s3://b/p",
        "lock --days 30 --dry-run",
        "policy agent --repo s3://b/p --domain d --principal a --principal b --no-conditions --locks",
        "mirror --to /r --delete --max-share 80 --compare-bytes --memory 64MiB",
        "completions bash",
        "standalone /data --once",
        "standalone /data --data-dir /srv/holdfast --once --zstd-level 3",
        "standalone /data /etc --max-age-seconds 600 --listen 127.0.0.1:0 --http-listen 127.0.0.1:0",
        "agent --config agent.yaml",
        "agent --volume db=/data --volume /etc --restore-root /srv --state-dir s --coordinator http://127.0.0.1:1",
        "node --node-name n --kubelet-root /k --host-path /data --host-path /srv --state-dir /s --confine off --coordinator https://c:1",
        "mover --node-name n --pod-uid u --state-dir /s --token-file t --tls-ca-file c",
        "volume-worker",
        "coordinator --listen 0.0.0.0:1 --tls-cert-file c --tls-key-file k --agent-token-file t",
        "coordinator --config coordinator.yaml",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn refused() {
    for line in [
        "",
        "nonsense",
        "backup",
        "backup a --zstd-level 0",
        "backup a --zstd-level 20",
        "backup a --memory 1MiB",
        "backup a --memory lots",
        "backup a --limit-upload 1",
        "restore latest",
        "restore latest t --existing sometimes",
        "node --confine perhaps",
        "verify latest --quick --against /data",
        "verify --against /data",
        "find latest",
        "scrub --share 0",
        "scrub --older-than soon",
        "restore-test --against /data",
        "repair",
        "repair all",
        "diff ab12",
        "stats --output xml",
        "stats --between ab12",
        "stats --detail --would-free ab12",
        "stats --top 3",
        "copy",
        "copy --to /r --to-key-file k --to-passphrase-file p",
        "mirror",
        "lock --days 0",
        "policy",
        "policy admin",
        "mirror --to /r --max-share 80",
        "stats -q -v",
        "init --domain Upper",
        "completions cobol",
        "standalone",
        "standalone /data --max-age-seconds 0",
        "standalone /data --once --max-age-seconds 60",
        "standalone /data --once --listen 127.0.0.1:1",
        "standalone /data --once --restore-root /srv",
        "agent --volume =/data",
        "coordinator --listen nowhere",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn global_flags_come_before_or_after_the_command() {
    for line in ["--output json --log-format json -v stats", "stats --output json --log-format json -v"] {
        let global = parse(line).unwrap().global;
        assert_eq!(
            (global.output, global.log_format, global.verbose),
            (OutputFormat::Json, LogFormat::Json, 1)
        );
    }
}

#[test]
fn defaults() {
    match parse("backup a").unwrap().command {
        Command::Backup(args) => {
            assert_eq!(args.tuning.zstd_level(), 2);
            assert_eq!(args.tuning.memory_bytes(), 256 << 20);
            assert_eq!(args.tuning.threads(), 0);
            assert!(args.tuning.given().is_empty());
        }
        other => panic!("{other:?}"),
    }
}

/// Every command, flag and environment variable, and what `docs/cli.md` says of them.
mod docs {
    use clap::{Arg, CommandFactory as _};

    use crate::args::Cli;

    const DOC: &str = include_str!("../../../docs/cli.md");

    /// The part of the document under the heading that has the name, perhaps beside others: ``## `a` and `b` ``.
    fn section<'a>(doc: &'a str, name: &str) -> Option<&'a str> {
        let name = format!("`{name}`");
        let headings = doc.match_indices("\n## `").map(|(at, _)| &doc[at + 1..]);
        let (_, rest) = headings.filter_map(|h| h.split_once('\n')).find(|(h, _)| h.contains(&name))?;
        Some(&rest[..rest.find("\n## ").unwrap_or(rest.len())])
    }

    fn missing_in(text: &str, arg: &Arg) -> Option<String> {
        let long = arg.get_long().map(|l| format!("`--{l}"));
        let short = arg.get_short().map(|s| format!("`-{s}"));
        let env = arg.get_env().map(|e| format!("`{}`", e.to_string_lossy()));
        let words = [long, short, env].into_iter().flatten();
        words.filter(|w| !text.contains(w.as_str())).reduce(|a, b| a + ", " + &b)
    }

    /// What the document lacks, and the flags that it names and that do not exist.
    fn faults(doc: &str) -> Vec<String> {
        let root = Cli::command();
        let mut faults = Vec::new();
        let mut known: Vec<String> = Vec::new();
        let mut check = |name: &str, args: Vec<&Arg>| {
            let Some(text) = section(doc, name) else {
                faults.push(format!("no section `{name}`"));
                return;
            };
            for arg in args {
                known.extend(arg.get_long().map(|l| format!("--{l}")));
                if let Some(lacking) = missing_in(text, arg) {
                    faults.push(format!("{name}: {lacking}"));
                }
            }
        };
        let own = |a: &&Arg| !matches!(a.get_id().as_str(), "help" | "version");
        check("holdfast", root.get_arguments().filter(own).collect());
        for command in root.get_subcommands().filter(|c| c.get_name() != "help" && !c.is_hide_set()) {
            let below = command.get_subcommands().flat_map(|c| c.get_arguments());
            let args = command.get_arguments().chain(below).filter(own).filter(|a| !a.is_global_set());
            check(command.get_name(), args.collect());
        }
        known.extend(["--help", "--version"].map(str::to_owned));
        let named = doc.split('`').skip(1).step_by(2).filter(|w| w.starts_with("--"));
        let named = named.map(|w| w.split([' ', '=']).next().unwrap_or(w));
        faults.extend(named.filter(|w| !known.iter().any(|k| k == w)).map(|w| format!("{w} does not exist")));
        faults
    }

    #[test]
    fn cli_md_is_in_step() {
        assert_eq!(faults(DOC), Vec::<String>::new());
    }

    #[test]
    fn each_fault_is_found() {
        let without = |word: &str| faults(&DOC.replace(word, "x"));
        assert!(without("`--read-all`").iter().any(|f| f.contains("--read-all")));
        assert!(without("`HOLDFAST_REPO`").iter().any(|f| f.contains("HOLDFAST_REPO")));
        assert!(without("\n## `verify`").iter().any(|f| f.contains("verify")));
        assert!(faults(&format!("{DOC} `--gone`")).iter().any(|f| f.contains("--gone")));
    }
}
