#!/bin/bash
# Measures Holdfast beside restic, kopia and borg on the data sets; README.md beside this file tells how to read the rows.
# It must never leave a set changed: whatever ends it, the change of 1 % is taken back, after a crash by the next run.
usage="usage: compare.sh [-n ROUNDS] [-t 'TOOL...'] [-o ROWS.tsv] SET...
  -n  rounds; the tools take turns within each (default 1)
  -t  of holdfast restic kopia borg (default: holdfast, and those of the others that are on PATH)
  -o  file to which the rows are appended too (default WORK/rows.tsv)
environment: DATA (folder of the sets), WORK (room for repositories and restored files), KEEP=1 (don't remove them),
  HOLDFAST and DATASETS (programs; default: those of target/release)"
set -u -o pipefail
die() { echo "compare.sh: $*" >&2; exit 2; }

rounds=1 tools='' rows=''
while getopts n:t:o: option; do
  case $option in
    n) rounds=$OPTARG ;;
    t) tools=$OPTARG ;;
    o) rows=$OPTARG ;;
    *) die "$usage" ;;
  esac
done
shift $((OPTIND - 1))
[ $# -ge 1 ] || die "$usage"
[ "$rounds" -ge 1 ] 2>/dev/null || die "rounds: $rounds is not a number above 0"
data=$(realpath -e "${DATA:?set DATA to the folder of the sets}") || exit 2
work=$(realpath -m "${WORK:?set WORK to a folder for repositories}")
target=${CARGO_TARGET_DIR:-$(dirname "$(realpath "$0")")/../target}/release
holdfast=${HOLDFAST:-$target/holdfast} datasets=${DATASETS:-$target/datasets}
rows=${rows:-$work/rows.tsv}
[ -x /usr/bin/time ] || die "no /usr/bin/time; install the package time"
[ -x "$datasets" ] || die "no $datasets; run: cargo build --release -p benches"
if [ -z "$tools" ]; then
  tools=holdfast
  for tool in restic kopia borg; do command -v $tool >/dev/null && tools="$tools $tool"; done
fi
for tool in $tools; do
  case $tool in
    holdfast) [ -x "$holdfast" ] || die "no $holdfast; run: cargo build --release" ;;
    restic | kopia | borg) command -v "$tool" >/dev/null || die "no $tool on PATH" ;;
    *) die "unknown tool $tool" ;;
  esac
done
for set in "$@"; do
  case $set in D1 | D2 | D3 | D4) ;; *) die "unknown set $set" ;; esac
  [ -d "$data/$set" ] || die "no $data/$set; run: $datasets make --data $data $set"
done
mkdir -p "$work/logs" || exit 2
exec 9>>"$data/.compare.lock" # the measured tool holds it too: one that outlives a killed run keeps the next run away
flock -n 9 || die "another run works on $data"

child='' set='' tool='' failed=0
repository() { echo "$work/$set.$tool/repository"; }
restored() { echo "$work/$set.$tool/restored"; }

stop_child() { # the whole process group of the step: TERM, ten seconds later KILL
  [ -n "$child" ] || return 0
  kill -TERM -- "-$child" 2>/dev/null
  for _ in $(seq 100); do kill -0 -- "-$child" 2>/dev/null || break; sleep 0.1; done
  kill -KILL -- "-$child" 2>/dev/null
  child=''
}
change() { (trap '' INT TERM HUP; exec setsid -w "$datasets" "$1" --data "$data" "$set") >>"$work/logs/change.log" 2>&1; }
clean() { # takes the change back and removes what the tool made
  [ -n "$set" ] || return 0
  change revert || die "$set is still changed, see $work/logs/change.log; run: $datasets revert --data $data $set"
  [ -n "${KEEP:-}" ] || [ -z "$tool" ] || rm -rf "${work:?}/$set.$tool"
}
finish() { local code=$?; trap '' INT TERM HUP; trap - EXIT; stop_child; clean; exit $code; }
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

settle() { sync; sleep "${SETTLE_SECONDS:-3}"; } # files changed a moment ago are read again by careful tools
cold() { settle; if [ -w /proc/sys/vm/drop_caches ]; then echo 3 >/proc/sys/vm/drop_caches; fi; }

mib() { find "$1" -type f -printf '%s\n' 2>/dev/null | awk '{sum += $1} END {printf "%.2f", sum / 1048576}'; }
step() { # NAME COMMAND...: runs and measures it, prints the row; the command has a session of its own so that it can be stopped
  local name=$1 log code figures load; shift
  log=$work/logs/$tool.$set.$name.log
  load=$(cut -d' ' -f1 /proc/loadavg)
  setsid /usr/bin/time -q -o "$work/logs/time" -f '%e %U %S %M' "$@" >"$log" 2>&1 </dev/null &
  child=$!
  wait $child; code=$?
  child=''
  figures=$(awk 'END {printf "%.2f\t%.2f\t%.1f", $1, $2 + $3, $4 / 1024}' "$work/logs/time")
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$tool" "$set" "$name" "$figures" "$(mib "$(repository)")" "$round" "$code" "$load" |
    tee -a "$rows"
  [ $code = 0 ] || { failed=1; echo "compare.sh: $tool $set $name: exit code $code, see $log" >&2; }
  return $code
}

init() {
  case $tool in
    holdfast) "$holdfast" init ;;
    restic) restic -q init ;;
    kopia) kopia repository create filesystem --path "$(repository)" && kopia policy set --global --compression=zstd-fastest ;;
    borg) borg init -e repokey-blake2 ;;
  esac >"$work/logs/$tool.$set.init.log" 2>&1 </dev/null
}
backup() { # NAME of the step
  case $tool in
    holdfast) step "$1" "$holdfast" backup "$data/$set" ;;
    restic) step "$1" restic backup "$data/$set" ;;
    kopia) step "$1" kopia snapshot create --no-progress "$data/$set" ;;
    borg) step "$1" borg create "::$1" "$data/$set" ;;
  esac
}
restore() {
  local id
  case $tool in
    holdfast) step restore "$holdfast" restore latest "$(restored)" ;;
    restic) step restore restic restore latest --target "$(restored)" ;;
    kopia)
      id=$(kopia snapshot list --json -n 1 "$data/$set" 2>/dev/null | grep -o '"id":"[^"]*"' | head -n 1 | cut -d'"' -f4)
      step restore kopia snapshot restore --no-progress "${id:-none}" "$(restored)" ;;
    borg) step restore env -C "$(restored)" borg extract ::changed ;;
  esac
}
restored_set() { # some tools restore below the path that was backed up
  case $tool in holdfast | kopia) restored ;; *) echo "$(restored)$data/$set" ;; esac
}
environment() { # every tool has caches and settings of its own, new for each measurement
  local home=$work/$set.$tool
  export HOLDFAST_REPO=file://$home/repository HOLDFAST_KEY_FILE=$home/key HOLDFAST_CACHE_DIR=$home/cache
  export RESTIC_REPOSITORY=$home/repository RESTIC_PASSWORD=pw RESTIC_CACHE_DIR=$home/cache
  export KOPIA_PASSWORD=pw KOPIA_CONFIG_PATH=$home/kopia.config KOPIA_CACHE_DIRECTORY=$home/cache KOPIA_LOG_DIR=$home/logs
  export KOPIA_CHECK_FOR_UPDATES=false BORG_REPO=$home/repository BORG_PASSPHRASE=pw BORG_BASE_DIR=$home/cache
}
rest() { # Holdfast reads again what changed within the two minutes before a backup; a set that was just made or put back would count
  while [ -n "$(find "$data/$set" -newerct '130 seconds ago' -print -quit)" ]; do sleep 5; done
}
measure() { # all steps of $tool on $set
  rm -rf "${work:?}/$set.$tool"
  mkdir -p "$(restored)" "$work/$set.$tool/cache"
  environment
  init || { failed=1; echo "compare.sh: $tool init failed, see $work/logs/$tool.$set.init.log" >&2; return; }
  [ "$tool" != holdfast ] || rest
  cold
  backup first || return
  settle
  backup unchanged
  change apply || die "the change of $set failed, see $work/logs/change.log"
  settle
  backup changed || return
  settle
  restore && step diff diff -r --no-dereference "$data/$set" "$(restored_set)"
}
notes() {
  echo "# $(date -u +%FT%TZ) $(uname -sr) $(nproc) CPUs $(awk '/MemTotal/ {printf "%.0f MiB", $2 / 1024}' /proc/meminfo)"
  [ -w /proc/sys/vm/drop_caches ] || echo "# not root: caches were warm at the first backup"
  for tool in $tools; do
    case $tool in
      holdfast) echo "# holdfast: $("$holdfast" --version 2>&1 | head -n 1)" ;;
      restic) echo "# restic: $(restic version | head -n 1)" ;;
      *) echo "# $tool: $($tool --version 2>&1 | head -n 1)" ;;
    esac
  done
  for set in "$@"; do echo "# $set: $(mib "$data/$set") MiB"; done
  printf '# tool\tset\tstep\twall s\tCPU s\tpeak MiB\trepository MiB\tround\texit code\tload before\n'
}

notes "$@" | tee -a "$rows"
order=$tools
for set in "$@"; do tool='' clean; done
for round in $(seq "$rounds"); do
  for set in "$@"; do
    for tool in $order; do measure; clean; done
  done
  # shellcheck disable=SC2086  # a list of words; another tool begins in the next round
  order=$(set -- $order; first=$1; shift; echo "$*" "$first")
done
set=''
exit $failed
