#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Breaks a deployment on purpose and checks that nothing was lost, done twice or left stuck;
# faults/README.rst says how.
#
#   tools/faults.sh [--parallel] [--sensitivity] [OPTION...]    see tools/faults.sh --help
#
#   --parallel    both databases at the same time: takes less time, and the times that it tells are
#                 those of a machine with two of everything
#   --sensitivity then put in each bug, every other one on each database, and see it caught
#   --again       run once more what failed without violating an invariant (see faults/README.rst)
#
# Docker is only borrowed; a broker and a database are started for each run and ended with it.

set -euo pipefail
# shellcheck source=tools/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$REPO"

# Its daemons run as users of their own, who must be able to enter.
WORK=$(mktemp -d)
chmod 755 "$WORK"
KINDS=(mysql postgresql)
PARALLEL=
SENSITIVITY=
JSON=
OPTIONS=()

own_services() { # KIND COMMAND: of the broker and the database of one run
    local names=(rabbitmq mariadb)
    [ "$1" = mysql ] || names=(rabbitmq postgresql)
    [ "$2" != env ] || names=()
    CONTAINER_SERVICE_SERVICES_DIR=$WORK/$1 "$SERVICES" "$2" "${names[@]}"
}

clean_up() {
    local status=$? kind
    trap - EXIT
    set +e
    end_job
    for kind in "${KINDS[@]}"; do
        [ ! -d "$WORK/$kind" ] || own_services "$kind" stop
    done
    stop_services
    as_root rm -rf "$WORK"
    exit "$status"
}

parse() {
    local kind=both seed=
    while [ $# -gt 0 ]; do
        case $1 in
            --parallel) PARALLEL=1 ;;
            --sensitivity) SENSITIVITY=1 ;;
            --database|--seed|--json)
                [ $# -gt 1 ] || die "$1 what?"
                case $1 in
                    --database) kind=$2 ;;
                    --seed) seed=$2 ;;
                    --json) JSON=$(realpath "$2") ;;
                esac
                shift ;;
            *) OPTIONS+=("$1") ;;
        esac
        shift
    done
    case $kind in
        mysql|postgresql) KINDS=("$kind") ;;
        both) ;;
        *) die "--database is mysql, postgresql or both" ;;
    esac
    OPTIONS+=(--seed "${seed:-$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')}")
}

harm() { # KIND: a whole run on one kind of database
    local exports options=("${OPTIONS[@]}")
    [ -z "$JSON" ] || options+=(--json "${JSON%.json}-$1.json")
    if [ -n "$SENSITIVITY" ]; then
        local part=1
        [ "$1" = "${KINDS[0]}" ] || part=2
        options+=(--then-bugs "$part/${#KINDS[@]}")
    fi
    exports=$(own_services "$1" env)
    eval "$exports"
    export CS_FAULTS_OWN_SERVICES=1
    # It cleans up after itself.
    exec "$VENV/bin/python" -m faults --database "$1" "${options[@]}"
}

# One kind after the other, or all at once and what they print one after the other.
harm_all() {
    local kind status=0 jobs=()
    trap 'kill "${jobs[@]}" 2>/dev/null; wait; exit 143' TERM
    for kind in "${KINDS[@]}"; do
        if [ -n "$PARALLEL" ]; then
            harm "$kind" >"$WORK/$kind.out" &
        else
            harm "$kind" > >(tee "$WORK/$kind.out") &
        fi
        jobs+=($!)
        [ -n "$PARALLEL" ] || wait $! || status=1
    done
    [ -z "$PARALLEL" ] || for kind in "${!KINDS[@]}"; do
        wait "${jobs[$kind]}" || status=1
        cat "$WORK/${KINDS[$kind]}.out"
    done
    return "$status"
}

main() {
    case " $* " in
        *' --help '*|*' -h '*|*' --list '*)
            ensure_venv
            "$VENV/bin/python" -m faults "$@"
            return ;;
    esac
    parse "$@"
    begin_run clean_up
    ensure_venv
    # For the clocks that are wrong.
    have cc || apt_install gcc libc6-dev
    start_services docker
    provide_image "$WORK"
    local kind status=0
    for kind in "${KINDS[@]}"; do
        own_services "$kind" start || die 'broker and database cannot be started (see above)'
    done
    step 'doing harm'
    run_job harm_all || status=$?
    [ "${#KINDS[@]}" = 1 ] || sum_up
    return "$status"
}

# The last line of a run on one kind says how it went; this is the same for all of them.
sum_up() {
    local kind passed=0 failed=0 more fewer
    for kind in "${KINDS[@]}"; do
        if read -r more _ fewer _ < <(tail -n 1 "$WORK/$kind.out" | grep -x '[0-9]* passed, [0-9]* failed'); then
            passed=$((passed + more)) failed=$((failed + fewer))
        else
            echo "FAILED  the run on $kind did not come to its end"
            failed=$((failed + 1))
        fi
    done
    echo
    echo "$passed passed, $failed failed"
}

main "$@"
